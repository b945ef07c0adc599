//! The two spellings in which libpq takes connection parameters: `postgres://` URLs and `key=value` text.
//!
//! Text to named values and nothing more: it knows no defaults, reads no environment, and never repeats a value in an error,
//! because a mistyped URL may hold the password anywhere.

use std::collections::BTreeMap;

/// Every parameter that is understood, with the environment variable that stands in for it.
pub const PARAMETERS: [(&str, &str); 15] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("is neither a postgres:// URL nor key=value text")]
    Unrecognised,
    #[error("is malformed: {0}")]
    Malformed(&'static str),
    #[error("has the parameter {0:?}, which is not known here")]
    UnknownParameter(String),
    #[error("has {name}={value:?}; {wanted}")]
    Value { name: &'static str, value: String, wanted: &'static str },
    #[error("names no user; give one as postgres://user@…, or in PGUSER")]
    NoUser,
}

/// What the text itself says, by parameter name.
pub type Given = BTreeMap<&'static str, String>;

pub fn read(text: &str) -> Result<Given, TargetError> {
    let text = text.trim();
    let scheme = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let given = match scheme {
        Some(rest) => read_url(rest)?,
        None if text.contains("://") => return Err(TargetError::Unrecognised),
        None if text.contains('=') => read_pairs(text)?,
        None => return Err(TargetError::Unrecognised),
    };
    if given.values().any(|value| value.contains('\0')) {
        return Err(TargetError::Malformed("a value holds a NUL"));
    }
    Ok(given)
}

fn read_url(rest: &str) -> Result<Given, TargetError> {
    let mut given = Given::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, places) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    for (name, text) in [("user", user), ("password", password), ("dbname", dbname)] {
        if !text.is_empty() {
            put(&mut given, name, decoded(text)?)?;
        }
    }
    if !places.is_empty() {
        let places = places.split(',').map(place).collect::<Result<Vec<_>, _>>()?;
        let (hosts, ports): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        given.insert("host", hosts.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            given.insert("port", ports.join(","));
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or(TargetError::Malformed("a parameter has no = sign"))?;
        put(&mut given, &decoded(name)?, decoded(value)?)?;
    }
    Ok(given)
}

/// `name`, `name:port`, `[address]` or `[address]:port`.
fn place(text: &str) -> Result<(String, String), TargetError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) =
                rest.split_once(']').ok_or(TargetError::Malformed("a [ in a host name is not closed"))?;
            match tail.strip_prefix(':') {
                Some(port) => (host, port),
                None if tail.is_empty() => (host, ""),
                None => return Err(TargetError::Malformed("only :port may follow an address in brackets")),
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    Ok((decoded(host)?, decoded(port)?))
}

/// `%41` is `A`; a plus sign stays one, as in libpq.
fn decoded(text: &str) -> Result<String, TargetError> {
    const MALFORMED: TargetError = TargetError::Malformed("a % is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(MALFORMED) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| MALFORMED)?);
    }
    String::from_utf8(bytes).map_err(|_| TargetError::Malformed("a %-encoded value is not UTF-8"))
}

/// `name = value`, with single quotes around values that hold spaces, and a backslash before a quote or a backslash.
fn read_pairs(text: &str) -> Result<Given, TargetError> {
    let mut given = Given::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=').ok_or(TargetError::Malformed("a parameter has no = sign"))?;
        let (value, tail) = pair_value(tail.trim_start())?;
        put(&mut given, name.trim_end(), value)?;
        rest = tail.trim_start();
    }
    Ok(given)
}

/// The value at the start of the text, and what follows it.
fn pair_value(text: &str) -> Result<(String, &str), TargetError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            space if space.is_whitespace() && !quoted => return Ok((value, &text[at..])),
            other => value.push(other),
        }
    }
    if quoted { Err(TargetError::Malformed("a quote is not closed")) } else { Ok((value, "")) }
}

fn put(given: &mut Given, name: &str, value: String) -> Result<(), TargetError> {
    let known = PARAMETERS.iter().find(|(known, _)| *known == name);
    let (known, _) = known.ok_or_else(|| TargetError::UnknownParameter(name.to_owned()))?;
    given.insert(known, value);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let given = read(text).unwrap();
        let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(given, expected, "{text}");
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        check("postgres://", &[]);
        check("postgresql://h", &[("host", "h")]);
        check(
            "postgres://u@h1:5433,h2/db",
            &[("dbname", "db"), ("host", "h1,h2"), ("port", "5433,"), ("user", "u")],
        );
        check("postgres://[::1]:1,[fe80::2]/", &[("host", "::1,fe80::2"), ("port", "1,")]);
        check(
            "postgres://u:p%40s+s@%2Frun%2Fpg/d%20b",
            &[("dbname", "d b"), ("host", "/run/pg"), ("password", "p@s+s"), ("user", "u")],
        );
        check("postgres://u:p@ss@h", &[("host", "h"), ("password", "p@ss"), ("user", "u")]);
        check(
            "postgres:///db?host=/run/pg&sslmode=verify-full&options=-c%20geqo%3Doff",
            &[("dbname", "db"), ("host", "/run/pg"), ("options", "-c geqo=off"), ("sslmode", "verify-full")],
        );
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        check("host=h  port = 5433 user=u", &[("host", "h"), ("port", "5433"), ("user", "u")]);
        check(r"password='it\'s \\ a' dbname=''", &[("dbname", ""), ("password", r"it's \ a")]);
        check(r"password=a\ b user=u", &[("password", "a b"), ("user", "u")]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_repeating_it() {
        for (text, expected) in [
            ("mysql://h/db", TargetError::Unrecognised),
            ("somewhere", TargetError::Unrecognised),
            ("postgres://h/db?nonsense=1", TargetError::UnknownParameter("nonsense".into())),
            ("host=h colour=red", TargetError::UnknownParameter("colour".into())),
            ("postgres://h/db?sslmode", TargetError::Malformed("a parameter has no = sign")),
            ("host=h user", TargetError::Malformed("a parameter has no = sign")),
            ("host='h", TargetError::Malformed("a quote is not closed")),
            ("postgres://[::1/db", TargetError::Malformed("a [ in a host name is not closed")),
            ("postgres://[::1]x/", TargetError::Malformed("only :port may follow an address in brackets")),
            ("postgres://u%4@h", TargetError::Malformed("a % is not followed by two hexadecimal digits")),
            ("postgres://u%é1@h", TargetError::Malformed("a % is not followed by two hexadecimal digits")),
            ("postgres://u%ff@h", TargetError::Malformed("a %-encoded value is not UTF-8")),
            ("postgres://u%00@h", TargetError::Malformed("a value holds a NUL")),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }
}
