//! Where PostgreSQL is and how it is reached: one description, read from a libpq URL or `key=value` text and PostgreSQL's own
//! environment variables, from which every connection is made.
//!
//! Nothing here opens a file or a socket, and no text made here holds a password.

use super::connect::abandoned::Abandoned;
use super::conninfo::{self, Given, PARAMETERS, TargetError};
use super::password::{Passfile, Secret};
use super::pooler::OwnSessions;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Target {
    /// Tried in this order.
    pub hosts: Vec<Host>,
    pub user: String,
    pub dbname: String,
    /// Stands before every other password: its first line, as it is whenever a connection is made.
    pub password_file: Option<PathBuf>,
    /// Stands before PostgreSQL's own password file.
    pub password: Option<Secret>,
    pub passfile: Option<Passfile>,
    /// `None`: verified TLS, except for sockets and loopback addresses. See `Target::tls_for`.
    pub tls: Option<TlsMode>,
    /// The only authorities trusted; without it, the system's.
    pub ca_file: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificate>,
    pub channel_binding: ChannelBinding,
    pub unguarded_password: UnguardedPassword,
    pub session: SessionAttrs,
    pub application_name: String,
    /// Settings sent with the connection's first message.
    pub options: Vec<(String, String)>,
    /// For one address, from its first packet until the session can be used.
    pub connect_timeout: Duration,
    pub own_sessions: OwnSessions,
    pub abandoned: Abandoned,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub place: Place,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name or an address.
    Tcp(String),
    /// The directory of a Unix socket.
    Socket(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// The chain must be good; the certificate's name may be any. For servers reached by another name than their own.
    VerifyCa,
    /// Chain and name. `require` means this too: encryption to an unknown peer protects nothing.
    VerifyFull,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// What is done about a server that asks over TCP without TLS for what gives the password away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnguardedPassword {
    Refuse,
    /// The operator says that nobody listens on the way, and nobody else answers.
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAttrs {
    Any,
    ReadWrite,
}

const DEFAULT_PORT: u16 = 5432;
/// Where Debian's and Red Hat's packages put the socket, and where everybody else does.
const DEFAULT_SOCKET_DIRS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(600);
const APPLICATION_NAME: &str = "liteferry";

/// Whether the text itself has a password. One that cannot be read has none that would be used.
pub fn holds_password(text: &str) -> bool {
    let names = |given: Given| given.get("password").is_some_and(|password| !password.is_empty());
    conninfo::read(text).is_ok_and(names)
}

impl Target {
    /// `env` looks up an environment variable; what the text does not say is taken from there, as libpq does.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Target, TargetError> {
        let given = conninfo::read(text)?;
        let words = Words { given: &given, env };
        let hosts = words.hosts()?;
        let user = words.get("user").or_else(|| env("USER").filter(|user| !user.is_empty()));
        let user = user.ok_or(TargetError::NoUser)?;
        let of_home = || {
            let home = env("HOME").filter(|home| !home.is_empty())?;
            Some(Passfile::OfHome(Path::new(&home).join(".pgpass")))
        };
        let named = |path: String| Passfile::Named(PathBuf::from(path));
        Ok(Target {
            dbname: words.get("dbname").unwrap_or_else(|| user.clone()),
            user,
            password_file: None,
            password: words.get("password").map(Secret::new),
            passfile: words.get("passfile").map(named).or_else(of_home),
            tls: words.get("sslmode").map(|word| TlsMode::from_word(&word)).transpose()?,
            ca_file: words.get("sslrootcert").filter(|path| path != "system").map(PathBuf::from),
            client_certificate: words.client_certificate()?,
            channel_binding: words.channel_binding()?,
            unguarded_password: UnguardedPassword::Refuse,
            session: words.session(hosts.len())?,
            application_name: words.get("application_name").unwrap_or_else(|| APPLICATION_NAME.to_owned()),
            options: words.options()?,
            connect_timeout: words.connect_timeout()?,
            own_sessions: OwnSessions::default(),
            abandoned: Abandoned::default(),
            hosts,
        })
    }

    /// A server on this machine, through the socket in `dir`.
    pub fn local(dir: &Path, user: &str, dbname: &str) -> Target {
        Target {
            hosts: vec![Host { place: Place::Socket(dir.to_owned()), port: DEFAULT_PORT }],
            user: user.to_owned(),
            dbname: dbname.to_owned(),
            password_file: None,
            password: None,
            passfile: None,
            tls: None,
            ca_file: None,
            client_certificate: None,
            channel_binding: ChannelBinding::Prefer,
            unguarded_password: UnguardedPassword::Refuse,
            session: SessionAttrs::Any,
            application_name: APPLICATION_NAME.to_owned(),
            options: Vec::new(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            own_sessions: OwnSessions::default(),
            abandoned: Abandoned::default(),
        }
    }

    /// How this host is spoken to: sockets in plain; TCP as the operator says, else verified unless it stays on this machine.
    pub fn tls_for(&self, host: &Host) -> TlsMode {
        match (&host.place, self.tls) {
            (Place::Socket(_), _) => TlsMode::Disable,
            (Place::Tcp(_), Some(mode)) => mode,
            (Place::Tcp(name), None) if is_loopback(name) => TlsMode::Disable,
            (Place::Tcp(_), None) => TlsMode::VerifyFull,
        }
    }

    /// Whether what this host asks at the login is looked at before it is answered.
    pub fn guards_password(&self, host: &Host) -> bool {
        match host.place {
            Place::Socket(_) => false,
            Place::Tcp(_) => {
                self.tls_for(host) == TlsMode::Disable && self.unguarded_password == UnguardedPassword::Refuse
            }
        }
    }

    /// The target as a URL without its password: for reports, for logs, and for `psql`.
    pub fn describe(&self) -> String {
        let user = encoded(&self.user);
        let dbname = encoded(&self.dbname);
        let all_tcp = self.hosts.iter().all(|host| matches!(host.place, Place::Tcp(_)));
        if all_tcp {
            return format!("postgres://{user}@{}/{dbname}", self.joined(Host::to_string));
        }
        let places = self.joined(|host| encoded(&host.place.to_string()));
        let ports = self.joined(|host| host.port.to_string());
        format!("postgres://{user}@/{dbname}?host={places}&port={ports}")
    }

    fn joined(&self, text: impl Fn(&Host) -> String) -> String {
        self.hosts.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.describe())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(name) if name.contains(':') => write!(out, "[{name}]"),
            Place::Tcp(name) => out.write_str(name),
            Place::Socket(dir) => write!(out, "{}", dir.display()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(_) => write!(out, "{}:{}", self.place, self.port),
            Place::Socket(dir) => write!(out, "{}", dir.join(format!(".s.PGSQL.{}", self.port)).display()),
        }
    }
}

impl TlsMode {
    pub fn from_word(word: &str) -> Result<TlsMode, TargetError> {
        match word {
            "disable" => Ok(TlsMode::Disable),
            "require" | "verify-full" => Ok(TlsMode::VerifyFull),
            "verify-ca" => Ok(TlsMode::VerifyCa),
            other => Err(TargetError::Value {
                name: "sslmode",
                value: other.to_owned(),
                wanted: "it must be disable, require, verify-ca or verify-full: the others fall back to plain text in silence",
            }),
        }
    }
}

/// The parameters of the text, and the environment's where the text is silent. Empty means not given, as in libpq.
struct Words<'a> {
    given: &'a Given,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Words<'_> {
    fn get(&self, name: &'static str) -> Option<String> {
        let given = self.given.get(name).cloned().filter(|value| !value.is_empty());
        given.or_else(|| {
            let (_, variable) = PARAMETERS.iter().find(|(known, _)| *known == name)?;
            (self.env)(variable).filter(|value| !value.is_empty())
        })
    }

    fn hosts(&self) -> Result<Vec<Host>, TargetError> {
        let names = self.get("host").unwrap_or_else(|| DEFAULT_SOCKET_DIRS.join(","));
        let names: Vec<&str> = names.split(',').collect();
        let ports = self.get("port").unwrap_or_default();
        let ports = ports.split(',').map(port).collect::<Result<Vec<_>, _>>()?;
        if ports.len() != 1 && ports.len() != names.len() {
            return Err(TargetError::Malformed("there are neither one port nor as many as hosts"));
        }
        let ports = ports.iter().cycle();
        names
            .into_iter()
            .zip(ports)
            .map(|(name, port)| Ok(Host { place: place(name)?, port: *port }))
            .collect()
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, TargetError> {
        match (self.get("sslcert"), self.get("sslkey")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Ok(Some(ClientCertificate { certificate: certificate.into(), key: key.into() }))
            }
            (Some(_), None) | (None, Some(_)) => {
                Err(TargetError::Malformed("sslcert and sslkey belong together"))
            }
        }
    }

    fn channel_binding(&self) -> Result<ChannelBinding, TargetError> {
        let Some(value) = self.get("channel_binding") else { return Ok(ChannelBinding::Prefer) };
        match value.as_str() {
            "disable" => Ok(ChannelBinding::Disable),
            "prefer" => Ok(ChannelBinding::Prefer),
            "require" => Ok(ChannelBinding::Require),
            _ => Err(TargetError::Value {
                name: "channel_binding",
                value,
                wanted: "it must be disable, prefer or require",
            }),
        }
    }

    /// Of several hosts the one that takes writes is meant, unless the operator says otherwise.
    fn session(&self, hosts: usize) -> Result<SessionAttrs, TargetError> {
        let Some(value) = self.get("target_session_attrs") else {
            let several = self.get("host").is_some() && hosts > 1;
            return Ok(if several { SessionAttrs::ReadWrite } else { SessionAttrs::Any });
        };
        match value.as_str() {
            "any" => Ok(SessionAttrs::Any),
            "read-write" | "primary" => Ok(SessionAttrs::ReadWrite),
            _ => Err(TargetError::Value {
                name: "target_session_attrs",
                value,
                wanted: "it must be any, read-write or primary: a migration writes",
            }),
        }
    }

    fn connect_timeout(&self) -> Result<Duration, TargetError> {
        let Some(value) = self.get("connect_timeout") else { return Ok(DEFAULT_CONNECT_TIMEOUT) };
        let seconds = value.parse().ok().map(Duration::from_secs);
        seconds.filter(|wait| !wait.is_zero() && *wait <= CONNECT_TIMEOUT_MAX).ok_or(TargetError::Value {
            name: "connect_timeout",
            value,
            wanted: "it must be a number of seconds from 1 to 600",
        })
    }

    /// `-c name=value`, `-cname=value` or `--name=value`, with a backslash before a space that belongs to the value.
    fn options(&self) -> Result<Vec<(String, String)>, TargetError> {
        let text = self.get("options").unwrap_or_default();
        let refused = || TargetError::Value {
            name: "options",
            value: text.clone(),
            wanted: "only -c name=value and --name=value are taken",
        };
        let mut words = shell_words(&text).into_iter();
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
                Some("") => words.next().ok_or_else(refused)?,
                Some(setting) => setting.to_owned(),
                None => return Err(refused()),
            };
            let (name, value) = setting.split_once('=').ok_or_else(refused)?;
            options.push((name.to_owned(), value.to_owned()));
        }
        Ok(options)
    }
}

fn place(name: &str) -> Result<Place, TargetError> {
    match name {
        "" => Err(TargetError::Malformed("a host name is empty")),
        path if path.starts_with('/') => Ok(Place::Socket(PathBuf::from(path))),
        name => Ok(Place::Tcp(name.to_owned())),
    }
}

fn port(text: &str) -> Result<u16, TargetError> {
    match text.trim() {
        "" => Ok(DEFAULT_PORT),
        digits => match digits.parse() {
            Ok(0) | Err(_) => Err(TargetError::Malformed("a port is not a number from 1 to 65535")),
            Ok(port) => Ok(port),
        },
    }
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn shell_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => word.extend(chars.next()),
            space if space.is_whitespace() => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Everything but what a URL may hold anywhere, percent-encoded; slashes stay readable.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str, env: &[(&str, &str)]) -> Result<Target, TargetError> {
        let lookup = |name: &str| {
            env.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        Target::parse(text, &lookup)
    }

    #[test]
    fn a_target_is_described_without_its_password() {
        let env = [("PGPASSWORD", "canary"), ("USER", "os")];
        for (text, expected) in [
            ("postgres://u:canary@h/db", "postgres://u@h:5432/db"),
            ("postgres://u@h1:5433,h2/db?password=canary", "postgres://u@h1:5433,h2:5432/db"),
            ("postgres://[::1]", "postgres://os@[::1]:5432/os"),
            ("host=/run/pg user='a b' dbname=d", "postgres://a%20b@/d?host=/run/pg&port=5432"),
            ("postgres://u@h/db?host=/run/pg", "postgres://u@/db?host=/run/pg&port=5432"),
            ("postgres:///db", "postgres://os@/db?host=/var/run/postgresql,/tmp&port=5432,5432"),
        ] {
            let target = parse(text, &env).unwrap();
            assert_eq!(target.describe(), expected, "{text}");
            assert_eq!(target.password.as_ref().map(Secret::expose), Some("canary"), "{text}");
            assert!(!format!("{target:?}{target}").contains("canary"), "{text}");
            assert_eq!(holds_password(text), text.contains("canary"), "{text}");
            let again = parse(&target.describe(), &env).unwrap();
            assert_eq!((again.hosts, again.user, again.dbname), (target.hosts, target.user, target.dbname));
        }
    }

    #[test]
    fn the_environment_fills_what_the_text_leaves_open() {
        let env = [
            ("PGHOST", "h9"),
            ("PGPORT", "7"),
            ("PGUSER", "u9"),
            ("PGDATABASE", "d9"),
            ("PGPASSFILE", "/p"),
            ("HOME", "/h"),
            ("USER", "os"),
        ];
        let target = parse("postgres://", &env).unwrap();
        assert_eq!(target.describe(), "postgres://u9@h9:7/d9");
        assert_eq!(target.passfile, Some(Passfile::Named("/p".into())));
        let target = parse("postgres://u@h:1/d", &env[5..]).unwrap();
        assert_eq!(target.describe(), "postgres://u@h:1/d");
        assert_eq!(target.passfile, Some(Passfile::OfHome("/h/.pgpass".into())));
    }

    #[test]
    fn tls_is_verified_unless_the_server_is_on_this_machine() {
        use TlsMode::{Disable, VerifyCa, VerifyFull};
        for (text, expected) in [
            ("postgres://u@db.example/", VerifyFull),
            ("postgres://u@10.0.0.1/", VerifyFull),
            ("postgres://u@localhost/", Disable),
            ("postgres://u@127.8.8.8/", Disable),
            ("postgres://u@[::1]/", Disable),
            ("postgres://u@/?host=/tmp", Disable),
            ("postgres://u@/?host=/tmp&sslmode=verify-full", Disable),
            ("postgres://u@localhost/?sslmode=require", VerifyFull),
            ("postgres://u@localhost/?sslmode=verify-full", VerifyFull),
            ("postgres://u@db.example/?sslmode=verify-ca", VerifyCa),
            ("postgres://u@db.example/?sslmode=disable", Disable),
        ] {
            let target = parse(text, &[]).unwrap();
            assert_eq!(target.tls_for(&target.hosts[0]), expected, "{text}");
        }
    }

    #[test]
    fn of_several_hosts_the_writable_one_is_meant() {
        for (text, expected) in [
            ("postgres://u@a,b/", SessionAttrs::ReadWrite),
            ("postgres://u@a,b/?target_session_attrs=any", SessionAttrs::Any),
            ("postgres://u@a/", SessionAttrs::Any),
            ("postgres://u@a/?target_session_attrs=read-write", SessionAttrs::ReadWrite),
            ("postgres://u@/", SessionAttrs::Any),
        ] {
            assert_eq!(parse(text, &[]).unwrap().session, expected, "{text}");
        }
    }

    #[test]
    fn options_are_settings() {
        let target = parse(r"user=u options='-c geqo=off --a.b=x\\ y  -cjit=off'", &[]).unwrap();
        let expected = [("geqo", "off"), ("a.b", "x y"), ("jit", "off")];
        assert_eq!(target.options, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "postgres://h/db",
            "postgres://u@h:0/",
            "postgres://u@h:70000/",
            "postgres://u@a,b:1,c:2/?port=1,2",
            "postgres://u@a,,b/",
            "postgres://u@h/?sslmode=prefer",
            "postgres://u@h/?sslmode=allow",
            "postgres://u@h/?sslcert=/c",
            "postgres://u@h/?channel_binding=yes",
            "postgres://u@h/?target_session_attrs=standby",
            "postgres://u@h/?connect_timeout=0",
            "postgres://u@h/?connect_timeout=5s",
            "postgres://u@h/?options=-d%205",
            "postgres://u@h/?options=-c",
        ] {
            assert!(parse(text, &[]).is_err(), "{text}");
        }
    }
}
