//! The token that requests bear: made once, kept in a file that only we may read, and shown nowhere. Another one in the file holds at once,
//! and the one before it no more.

use crate::engine::follows::{Challenge, Holder};
use crate::model::fault::Fault;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

pub struct Token {
    /// What is compared takes the same time whatever was guessed.
    digest: [u8; 32],
    holder: Holder,
}

/// The token that a file holds at the moment.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// Nothing where the file, as it was then, could not be read.
    token: Option<Token>,
    stamp: Option<Stamp>,
}

/// What tells one state of a file from another.
type Stamp = (u64, u64, i64, i64);

/// 128 bits in hexadecimal.
const LETTERS_MIN: usize = 32;
const FILE_BYTES_MAX: u64 = 4096;
const SCHEME: &[u8] = b"bearer ";

impl TokenFile {
    pub fn open(path: &Path) -> Result<TokenFile, Fault> {
        let known = Known { token: Some(Token::open(path)?), stamp: None };
        Ok(TokenFile { path: path.to_owned(), known: Mutex::new(known) })
    }

    /// `authorization` is the header's value. While the file cannot be read nobody bears its token.
    pub fn is_borne_by(&self, authorization: &[u8]) -> bool {
        self.now().token.as_ref().is_some_and(|token| token.is_borne_by(authorization))
    }

    /// That we hold it, for a client that will not show its own to anybody else.
    pub fn proof(&self, host: &[u8], challenge: &Challenge) -> Option<String> {
        self.now().token.as_ref().map(|token| token.holder.proof(host, challenge))
    }

    fn now(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the file is read: what comes in between is seen the next time.
        let stamp = stamp(&self.path);
        if stamp.is_none() || stamp != known.stamp {
            let token = Token::open(&self.path);
            if let Err(fault) = &token {
                tracing::warn!(
                    code = fault.code,
                    remedy = fault.remedy,
                    "the token cannot be read: no order is taken"
                );
            }
            *known = Known { token: token.ok(), stamp };
        }
        known
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

impl Token {
    /// Reads the token, or makes one where the file is absent.
    pub fn open(path: &Path) -> Result<Token, Fault> {
        let doing = || format!("read the token file {}", path.display());
        let unusable = |error: io::Error| {
            Fault::fatal("token_file_unusable", doing())
                .with_remedy("http.token_file names a file that liteferry's user may read, or make.")
                .with_source(error)
        };
        match make(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(unusable)?,
        }
        let file = File::open(path).map_err(unusable)?;
        let metadata = file.metadata().map_err(unusable)?;
        if !metadata.is_file() {
            return Err(unusable(io::Error::other("it is not a file")));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(Fault::fatal("token_file_exposed", doing())
                .with_remedy(format!("Others may read it: run `chmod 0600 {}`.", path.display())));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unusable)?;
        let token = text.trim();
        if token.len() < LETTERS_MIN || token.contains(|letter: char| !letter.is_ascii_graphic()) {
            return Err(Fault::fatal("token_file_unusable", doing())
                .with_remedy(format!("The token must be {LETTERS_MIN} letters or more on one line; remove the file, and one is made.")));
        }
        Ok(Token { digest: digest(token.as_bytes()), holder: Holder::of(token) })
    }

    /// `authorization` is the header's value.
    pub fn is_borne_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, token)) = authorization.split_at_checked(SCHEME.len()) else { return false };
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(digest(token).ct_eq(&self.digest))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(..)")
    }
}

/// Fails where the file is there already: a token in use is never replaced.
fn make(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let letters: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(format!("{letters}\n").as_bytes())?;
    file.sync_all()
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::{Permissions, read_to_string, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_for_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let made = Token::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let text = read_to_string(&path).unwrap();
        assert_eq!(Token::open(&path).unwrap().digest, made.digest);
        let other = dir.path().join("other");
        Token::open(&other).unwrap();
        assert_ne!(read_to_string(&other).unwrap(), text);
        assert!(made.is_borne_by(format!("Bearer {}", text.trim()).as_bytes()));
        assert!(made.is_borne_by(format!("bearer {}", text.trim()).as_bytes()));
        for wrong in ["", "Bearer", "Bearer ", "Basic x", text.trim(), &format!("Bearer {text}"), "Bearer  x"]
        {
            assert!(!made.is_borne_by(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!format!("{made:?}").contains(text.trim()));
    }

    #[test]
    fn another_token_in_the_file_holds_at_once_and_the_one_before_it_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = TokenFile::open(&path).unwrap();
        let bears = |token: &str| file.is_borne_by(format!("Bearer {}", token.trim()).as_bytes());
        let first = read_to_string(&path).unwrap();
        assert!(bears(&first));
        let second = "y".repeat(LETTERS_MIN);
        write(&path, &second).unwrap();
        assert!(bears(&second) && !bears(&first));
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(!bears(&second) && !bears(&first), "others may know it");
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(bears(&second));
        std::fs::remove_file(&path).unwrap();
        assert!(!bears(&second), "it is made anew");
        assert!(bears(&read_to_string(&path).unwrap()));
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_too_little_is_refused() {
        let long = "x".repeat(LETTERS_MIN);
        for (mode, text, expected) in [
            (0o600, long.as_str(), Ok(())),
            (0o400, &format!("{long}\n"), Ok(())),
            (0o640, &long, Err("token_file_exposed")),
            (0o604, &long, Err("token_file_exposed")),
            (0o600, "", Err("token_file_unusable")),
            (0o600, &long[1..], Err("token_file_unusable")),
            (0o600, &format!("{long} {long}"), Err("token_file_unusable")),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("token");
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let opened = Token::open(&path).map(|_| ()).map_err(|fault| fault.code);
            assert_eq!(opened, expected, "{mode:o} {text:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Token::open(dir.path()).unwrap_err().code, "token_file_unusable");
        assert_eq!(Token::open(&dir.path().join("none/token")).unwrap_err().code, "token_file_unusable");
    }
}
