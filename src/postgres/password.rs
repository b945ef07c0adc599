//! Passwords: kept where no text shows them, and found in PostgreSQL's own password file.
//!
//! A file is read anew at each connection, so that a rotated password is picked up. PostgreSQL's own is refused where others may read it,
//! as libpq does; a file that holds nothing but the password is its keeper's to guard, who may be a container's.

use crate::model::fault::Fault;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A text that is sent, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Whom a password is for, in the terms of the password file.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// A host name, or the directory of a Unix socket.
    pub host: &'a str,
    pub port: u16,
    pub dbname: &'a str,
    pub user: &'a str,
}

/// PostgreSQL's own password file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passfile {
    /// By `PGPASSFILE` or in the URL.
    Named(PathBuf),
    /// `.pgpass` in the directory that `HOME` names.
    OfHome(PathBuf),
}

/// Directories that packagers build libpq to look in by default; the password file calls a socket there `localhost`.
const DEFAULT_SOCKET_DIRS: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the driver that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// The password that is all the file's first line holds.
pub fn first_line(file: &Path) -> Result<Secret, Fault> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Secret::new(text.lines().next().unwrap_or_default())),
        Err(error) => {
            let doing = format!("read the password file {}", file.display());
            Err(Fault::fatal("password_file_unreadable", doing)
                .with_remedy(
                    "target.password_file names a text file that the user whom liteferry runs as may read.",
                )
                .with_source(error))
        }
    }
}

/// The password that the file holds for this login. A missing file, or none that matches, is no fault; nor is a home that is closed to us,
/// as another user's is whose `HOME` came along.
pub fn look_up(passfile: &Passfile, login: Login<'_>) -> Result<Option<Secret>, Fault> {
    let (Passfile::Named(path) | Passfile::OfHome(path)) = passfile;
    let doing = || format!("read the password file {}", path.display());
    let mut file = match (File::open(path), passfile) {
        (Ok(file), _) => file,
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        (Err(error), Passfile::OfHome(_)) => {
            tracing::debug!(%error, "the password file {} cannot be read", path.display());
            return Ok(None);
        }
        (Err(error), Passfile::Named(_)) => {
            return Err(Fault::fatal("password_file_unreadable", doing())
                .with_remedy("Make the file readable for the user that liteferry runs as.")
                .with_source(error));
        }
    };
    let unreadable = |error| {
        Fault::fatal("password_file_unreadable", doing())
            .with_remedy("PGPASSFILE names a text file in PostgreSQL's pgpass format.")
            .with_source(error)
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    let found = find(&text, login);
    if found.is_some() && shown_to_others(&metadata) {
        return Err(Fault::fatal("password_file_exposed", doing())
            .with_remedy(format!("Others may read it: run `chmod 0600 {}`.", path.display())));
    }
    Ok(found)
}

/// Whether group or others have any right to a file that holds a secret.
pub fn shown_to_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 != 0
}

/// The first line that matches decides.
fn find(text: &str, login: Login<'_>) -> Option<Secret> {
    let host = if DEFAULT_SOCKET_DIRS.contains(&login.host) { "localhost" } else { login.host };
    let port = login.port.to_string();
    let wanted = [host, &port, login.dbname, login.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            rest = after_field(rest, wanted)?;
        }
        let password = unescaped(rest);
        (!password.is_empty()).then_some(Secret(password))
    })
}

/// What follows the first field and its colon, where that field is `*` or the wanted text.
fn after_field<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    let mut escaped = false;
    let end = line.find(|next| {
        let ends = next == ':' && !escaped;
        escaped = next == '\\' && !escaped;
        ends
    })?;
    let field = &line[..end];
    (field == "*" || unescaped(field) == wanted).then(|| &line[end + 1..])
}

fn unescaped(field: &str) -> String {
    let mut chars = field.chars();
    let mut plain = String::with_capacity(field.len());
    while let Some(next) = chars.next() {
        plain.push(if next == '\\' { chars.next().unwrap_or('\\') } else { next });
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const LOGIN: Login<'_> = Login { host: "db.example", port: 5432, dbname: "app", user: "ann" };

    #[test]
    fn the_first_matching_line_gives_the_password() {
        let socket = Login { host: "/var/run/postgresql", ..LOGIN };
        for (text, login, expected) in [
            ("db.example:5432:app:ann:s3cret", LOGIN, Some("s3cret")),
            ("*:*:*:*:any\ndb.example:5432:app:ann:late", LOGIN, Some("any")),
            ("# db.example:5432:app:ann:no\n*:*:*:ann:yes\r\n", LOGIN, Some("yes")),
            (r"*:*:*:*:a\:b\\c:d", LOGIN, Some(r"a:b\c:d")),
            (r"db\.example:5432:a\pp:ann:odd", LOGIN, Some("odd")),
            ("db.example:5433:app:ann:no", LOGIN, None),
            ("db.example:5432:app:ann", LOGIN, None),
            ("db.example:5432:app:ann:", LOGIN, None),
            ("*x:*:*:*:no", LOGIN, None),
            ("", LOGIN, None),
            ("localhost:5432:app:ann:local", socket, Some("local")),
            ("/var/run/postgresql:5432:app:ann:no", socket, None),
        ] {
            assert_eq!(find(text, login).as_ref().map(Secret::expose), expected, "{text}");
        }
    }

    #[test]
    fn a_file_of_one_password_is_read_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        assert_eq!(first_line(&path).unwrap_err().code, "password_file_unreadable");
        for text in ["one", "two \nthree\n", "four\r\n", ""] {
            fs::write(&path, text).unwrap();
            assert_eq!(first_line(&path).unwrap().expose(), text.lines().next().unwrap_or_default());
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        let look_up = |path: &Path| look_up(&Passfile::Named(path.to_owned()), LOGIN);
        assert_eq!(look_up(&path).unwrap(), None);
        fs::write(&path, "*:*:*:ann:s3cret").unwrap();
        for (mode, code) in [(0o600, None), (0o400, None), (0o640, Some("password_file_exposed"))] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(look_up(&path).err().map(|fault| fault.code), code, "{mode:o}");
        }
        assert_eq!(look_up(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_home_that_is_closed_to_us_holds_no_password_for_us() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join(".pgpass");
        assert_eq!(look_up(&Passfile::OfHome(below.clone()), LOGIN).unwrap(), None);
        assert_eq!(look_up(&Passfile::Named(below), LOGIN).unwrap_err().code, "password_file_unreadable");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", Secret::new("canary")).contains("canary"));
    }
}
