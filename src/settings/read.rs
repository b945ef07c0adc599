//! Takes values out of the merged layers, one key at a time, checks them, and remembers what was wrong and what was used.
//! It stops at no problem: whoever mends settings wants to see all of them.

use super::{Effective, Problem};
use crate::canon::Reason;
use config::{File, FileFormat, Map, Source, Value, ValueKind};
use std::fmt::Display;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub struct Reader {
    sections: Map<String, Value>,
    /// Every key asked for, as `section.key`.
    known: Vec<String>,
    pub used: Vec<Effective>,
    pub problems: Vec<Problem>,
}

impl Reader {
    pub fn new(sections: Map<String, Value>, problems: Vec<Problem>) -> Reader {
        Reader { sections, known: Vec::new(), used: Vec::new(), problems }
    }

    /// Takes the key and reads it. After a problem the answer is a placeholder that nobody gets to see.
    pub fn take<T: Default>(&mut self, key: &str, read: impl Fn(&ValueKind) -> Result<T, String>) -> T {
        self.known.push(key.to_owned());
        let (section, name) = key.split_once('.').expect("keys are written section.key");
        let value = match self.sections.get_mut(section).map(|section| &mut section.kind) {
            Some(ValueKind::Table(table)) => table.remove(name),
            _ => None,
        };
        match value {
            Some(value) => self.read(key, &value, read),
            None => {
                self.problem(key, "has no value", "");
                T::default()
            }
        }
    }

    /// Takes a section, or a table inside one, whose keys are names from the databases, in the order of the names.
    pub fn take_named(&mut self, key: &str) -> Vec<(String, Value)> {
        let value = match key.split_once('.') {
            Some((section, name)) => match self.sections.get_mut(section).map(|section| &mut section.kind) {
                Some(ValueKind::Table(table)) => table.remove(name),
                _ => None,
            },
            None => self.sections.remove(key),
        };
        let Some(value) = value else { return Vec::new() };
        let origin = value.origin().unwrap_or_default().to_owned();
        let ValueKind::Table(table) = value.kind else {
            self.problem(key, "must be a section", &origin);
            return Vec::new();
        };
        let mut named: Vec<_> = table.into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named
    }

    pub fn read<T: Default>(
        &mut self,
        key: &str,
        value: &Value,
        read: impl Fn(&ValueKind) -> Result<T, String>,
    ) -> T {
        let origin = value.origin().unwrap_or_default().to_owned();
        match read(&value.kind) {
            Ok(result) => {
                self.used.push(Effective { key: key.to_owned(), value: shown(&value.kind), origin });
                result
            }
            Err(text) => {
                self.problem(key, &text, &origin);
                T::default()
            }
        }
    }

    pub fn problem(&mut self, key: &str, text: &str, origin: &str) {
        self.problems.push(Problem::new(key, text, origin));
    }

    /// Whatever nobody took is a key that does not exist.
    pub fn refuse_the_rest(&mut self) {
        let mut sections: Vec<_> = std::mem::take(&mut self.sections).into_iter().collect();
        sections.sort_by(|a, b| a.0.cmp(&b.0));
        for (section, value) in sections {
            let prefix = format!("{section}.");
            let siblings: Vec<&str> = self.known.iter().filter_map(|key| key.strip_prefix(&prefix)).collect();
            let origin = origin(&value);
            if siblings.is_empty() {
                self.problems.push(Problem::new(&section, "unknown section", &origin));
                continue;
            }
            let text = format!("unknown key; [{section}] has {}", siblings.join(", "));
            let ValueKind::Table(left) = value.kind else {
                self.problems.push(Problem::new(&section, "must be a section", &origin));
                continue;
            };
            let mut left: Vec<_> = left.into_iter().collect();
            left.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, value) in left {
                self.problem(&format!("{prefix}{name}"), &text, value.origin().unwrap_or_default());
            }
        }
    }
}

/// Where it comes from; of a section that layers were merged in, where the first of what it holds does.
fn origin(value: &Value) -> String {
    let within = || match &value.kind {
        ValueKind::Table(table) => table.values().map(origin).find(|origin| !origin.is_empty()),
        _ => None,
    };
    value.origin().map(str::to_owned).or_else(within).unwrap_or_default()
}

pub fn text(value: &ValueKind) -> Result<String, String> {
    match value {
        ValueKind::String(text) => Ok(text.clone()),
        _ => Err("must be text".into()),
    }
}

pub fn text_not_empty(value: &ValueKind) -> Result<String, String> {
    match text(value)? {
        empty if empty.is_empty() => Err("must not be empty".into()),
        text => Ok(text),
    }
}

/// Empty text means: not set.
pub fn optional<T>(
    read: impl Fn(&ValueKind) -> Result<T, String>,
) -> impl Fn(&ValueKind) -> Result<Option<T>, String> {
    move |value| match value {
        ValueKind::String(text) if text.is_empty() => Ok(None),
        given => read(given).map(Some),
    }
}

pub fn file_path(value: &ValueKind) -> Result<PathBuf, String> {
    text_not_empty(value).map(PathBuf::from)
}

/// The environment and the command line give numbers as text.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&ValueKind) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let number = match value {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number)) {
            Some(number) => Ok(number),
            None => Err(format!("must be a whole number from {} to {}", range.start(), range.end())),
        }
    }
}

/// A list, or text with commas between its items.
/// A number and its unit: `90s`, `30m`, `24h`, `7d`.
pub fn duration(value: &ValueKind) -> Result<Duration, String> {
    let text = text(value)?;
    let wrong =
        || "must be a number and a unit, such as 90s, 30m, 24h or 7d, and more than nothing".to_owned();
    let (digits, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds) {
        Some(total) if total > 0 => Ok(Duration::from_secs(total)),
        _ => Err(wrong()),
    }
}

pub fn flag(value: &ValueKind) -> Result<bool, String> {
    match value {
        ValueKind::Boolean(value) => Ok(*value),
        ValueKind::String(word) if word == "true" => Ok(true),
        ValueKind::String(word) if word == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub fn list(value: &ValueKind) -> Result<Vec<String>, String> {
    match value {
        ValueKind::Array(items) => items.iter().map(|item| text_not_empty(&item.kind)).collect(),
        ValueKind::String(text) if text.starts_with("[\"") || text.starts_with("['") => as_in_a_file(text),
        ValueKind::String(text) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        _ => Err("must be a list of text".into()),
    }
}

pub fn reasons(value: &ValueKind) -> Result<Vec<Reason>, String> {
    let named = |word: String| Reason::ACCEPTABLE.into_iter().find(|reason| reason.word() == word);
    let known = || format!("takes {} only", Reason::ACCEPTABLE.map(Reason::word).join(", "));
    list(value)?.into_iter().map(|word| named(word).ok_or_else(known)).collect()
}

/// `["a", "b"]`, as every paper writes a list: taken for names between commas it would name nothing.
fn as_in_a_file(text: &str) -> Result<Vec<String>, String> {
    let read = File::from_str(&format!("list = {text}"), FileFormat::Toml).collect();
    match read.ok().and_then(|mut table| table.remove("list")).map(|list| list.kind) {
        Some(kind @ ValueKind::Array(_)) => list(&kind),
        _ => Err("must be a list of text: a, b or [\"a\", \"b\"]".into()),
    }
}

/// A list of host names, each with or without a port, in lower case. Patterns would let in what nobody thought of.
pub fn host_names(value: &ValueKind) -> Result<Vec<String>, String> {
    let names: Vec<String> = list(value)?.iter().map(|name| name.to_ascii_lowercase()).collect();
    match names.iter().find(|name| !is_host(name)) {
        Some(bad) => Err(format!("`{bad}` is not a host or host:port")),
        None => Ok(names),
    }
}

/// `name`, `1.2.3.4` or `[1::2]`, with or without `:port`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let known = |letter: char| letter.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&letter);
            !host.is_empty() && host.chars().all(known)
        }
    };
    is_host
        && port
            .is_none_or(|port| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&ValueKind) -> Result<T, String> {
    move |value| {
        let given = text(value)?;
        words.iter().find(|(word, _)| *word == given).map(|(_, choice)| *choice).ok_or_else(|| {
            format!("must be one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "))
        })
    }
}

/// A value with a spelling of its own, told apart by its type.
pub fn spelled<T: FromStr<Err: Display>>(value: &ValueKind) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// No name: it may stand for several addresses, or for another one tomorrow.
pub fn listener(value: &ValueKind) -> Result<SocketAddr, String> {
    text(value)?.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8475".to_owned())
}

fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::Array(items) => {
            items.iter().map(|item| item.kind.to_string()).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
