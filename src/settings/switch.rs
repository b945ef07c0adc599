//! What the operator decides about moving the writes: bounds of the switch, what else is told of it, and where the archive goes.
//! Whether these fit the application is for the gates to say, not for the settings.

use super::read::{Reader, choice, duration, file_path, number, optional, text_not_empty};
use config::ValueKind;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

#[derive(Clone, Debug)]
pub struct Switch {
    pub pause_budget_ms: u32,
    pub deadline_ms: u32,
    pub max_lag_ms: u32,
    pub validation_max_age: Duration,
    /// Of the application's connections, as the operator states it.
    pub busy_timeout_ms: u32,
    pub broken_keys: BrokenKeys,
}

/// Who else is told, and may veto what is about to begin.
#[derive(Clone, Debug)]
pub struct Hooks {
    pub before_switch: Option<Hook>,
    pub after_switch: Option<Hook>,
    pub before_rollback: Option<Hook>,
    pub after_rollback: Option<Hook>,
    pub timeout: Duration,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Hook {
    /// Run by `sh -c`.
    Command(String),
    /// Is sent a POST.
    Callback(Url),
}

#[derive(Clone, Debug)]
pub struct Cleanup {
    /// `None`: beside the database.
    pub archive: Option<PathBuf>,
}

/// What becomes of a foreign key that rows break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenKeys {
    /// The writes do not move before the rows are mended.
    #[default]
    Refuse,
    NotValid,
}

const BROKEN_KEYS: [(&str, BrokenKeys); 2] =
    [("refuse", BrokenKeys::Refuse), ("not-valid", BrokenKeys::NotValid)];

impl Switch {
    pub(super) fn read(from: &mut Reader) -> Switch {
        let switch = Switch {
            pause_budget_ms: from.take("switch.pause_budget_ms", number(1..=30_000)),
            deadline_ms: from.take("switch.deadline_ms", number(50..=30_000)),
            max_lag_ms: from.take("switch.max_lag_ms", number(10..=60_000)),
            validation_max_age: from.take("switch.validation_max_age", duration),
            busy_timeout_ms: from.take("switch.busy_timeout_ms", number(0..=600_000)),
            broken_keys: from.take("switch.broken_keys", choice(&BROKEN_KEYS)),
        };
        // A deadline that could not be read has its own problem.
        if switch.deadline_ms > 0 && switch.pause_budget_ms > switch.deadline_ms {
            let text = "must not be above switch.deadline_ms: no pause lasts longer than that";
            from.problem(
                "switch.pause_budget_ms",
                text,
                &format!("switch.deadline_ms is {}", switch.deadline_ms),
            );
        }
        switch
    }
}

impl Hooks {
    pub(super) fn read(from: &mut Reader) -> Hooks {
        Hooks {
            before_switch: from.take("hooks.before_switch", optional(hook)),
            after_switch: from.take("hooks.after_switch", optional(hook)),
            before_rollback: from.take("hooks.before_rollback", optional(hook)),
            after_rollback: from.take("hooks.after_rollback", optional(hook)),
            timeout: Duration::from_millis(from.take("hooks.timeout_ms", number(100..=600_000))),
        }
    }

    pub fn none() -> Hooks {
        Hooks {
            before_switch: None,
            after_switch: None,
            before_rollback: None,
            after_rollback: None,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Cleanup {
    pub(super) fn read(from: &mut Reader) -> Cleanup {
        Cleanup { archive: from.take("cleanup.archive", optional(file_path)) }
    }
}

/// A callback's address may bear a password, and a command anything.
impl fmt::Debug for Hook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Hook::Command(_) => "Command(..)",
            Hook::Callback(_) => "Callback(..)",
        })
    }
}

/// What looks like a URL is one, or a mistake; a shell would make something else of it.
fn hook(value: &ValueKind) -> Result<Hook, String> {
    let text = text_not_empty(value)?;
    if text.contains('\0') || text.trim().is_empty() {
        return Err("must be a command line, or an http URL".into());
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(|letter| letter.is_ascii_alphanumeric()))
    else {
        return Ok(Hook::Command(text));
    };
    match Url::parse(&text) {
        Ok(url) if scheme == "http" && url.has_host() => Ok(Hook::Callback(url)),
        Ok(_) if scheme == "https" => {
            Err("is called without TLS: give a command that calls it, such as curl -fsS -X POST".into())
        }
        Ok(_) | Err(_) => Err("must be an http URL, for it begins like a URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_a_command_or_a_url() {
        let read = |text: &str| hook(&ValueKind::String(text.into()));
        let command = |text: &str| Ok(Hook::Command(text.to_owned()));
        for text in ["systemctl stop app", "curl -X POST http://app/stop", "/bin/true", "a=1 b"] {
            assert_eq!(read(text), command(text));
        }
        for text in ["http://127.0.0.1:8080/stop", "http://ops.example/hook?x=1"] {
            assert!(matches!(read(text), Ok(Hook::Callback(url)) if url.as_str() == text), "{text}");
        }
        for text in ["ftp://host/x", "https://host/x", "http://", "http://[::1/x", "a\0b", " "] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(hook(&ValueKind::I64(1)).is_err());
    }
}
