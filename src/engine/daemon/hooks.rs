//! Hooks: what else is told when the writes move, and may veto it beforehand. A command is run by the shell, a callback is sent a POST.
//!
//! Nothing of the settings' secrets is handed on, and what a hook prints goes nowhere: its word is its exit status.

use crate::engine::reason::Reason;
use crate::settings::{Hook, Hooks};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// May veto.
    BeforeSwitch,
    AfterSwitch,
    /// May veto.
    BeforeRollback,
    AfterRollback,
}

impl Moment {
    pub fn word(self) -> &'static str {
        match self {
            Moment::BeforeSwitch => "before_switch",
            Moment::AfterSwitch => "after_switch",
            Moment::BeforeRollback => "before_rollback",
            Moment::AfterRollback => "after_rollback",
        }
    }

    fn may_veto(self) -> bool {
        match self {
            Moment::BeforeSwitch | Moment::BeforeRollback => true,
            Moment::AfterSwitch | Moment::AfterRollback => false,
        }
    }

    pub fn from_word(word: &str) -> Option<Moment> {
        let all = [Moment::BeforeSwitch, Moment::AfterSwitch, Moment::BeforeRollback, Moment::AfterRollback];
        all.into_iter().find(|moment| moment.word() == word)
    }

    fn hook(self, hooks: &Hooks) -> Option<&Hook> {
        match self {
            Moment::BeforeSwitch => hooks.before_switch.as_ref(),
            Moment::AfterSwitch => hooks.after_switch.as_ref(),
            Moment::BeforeRollback => hooks.before_rollback.as_ref(),
            Moment::AfterRollback => hooks.after_rollback.as_ref(),
        }
    }
}

/// Calls the hook of a moment, if there is one; its refusal, its failure and its silence are all a no.
pub async fn call(hooks: &Hooks, moment: Moment) -> Result<(), Reason> {
    let Some(hook) = moment.hook(hooks) else { return Ok(()) };
    tracing::info!(hook = moment.word(), "calling the hook");
    let called = async {
        match hook {
            Hook::Command(command) => run(command, moment).await,
            Hook::Callback(url) => post(url, moment).await,
        }
    };
    let answer = match tokio::time::timeout(hooks.timeout, called).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("gave no answer within {} ms", hooks.timeout.as_millis())),
    };
    answer.map_err(|why| {
        Reason::new(
            "hook_refused",
            format!("the hook {} {why}", moment.word()),
            "See what the hook itself logged, and try again.",
        )
    })
}

/// Everybody on the machine sees a process's arguments, and nobody but its user its environment: the command goes there.
async fn run(command: &str, moment: Moment) -> Result<(), String> {
    let mut shell = tokio::process::Command::new("sh");
    for name in OUR_SECRETS {
        shell.env_remove(name);
    }
    let mut child = shell
        .args(["-c", "eval \"$LITEFERRY_HOOK\""])
        .env("LITEFERRY_HOOK", command)
        .env("LITEFERRY_MOMENT", moment.word())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("could not be run: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let unanswered = Unanswered(group.filter(|_| moment.may_veto()));
    let status = child.wait().await.map_err(|error| format!("could not be waited for: {error}"))?;
    unanswered.has_answered();
    if status.success() { Ok(()) } else { Err(format!("said no ({status})")) }
}

/// All processes of a command that may veto, and has not answered yet. They are ended with it: what would still be done later, such as to
/// stop the application, would be done for a switch that has not begun. What it leaves behind once it has answered goes on, and so does
/// what is done after a decision, which holds.
struct Unanswered(Option<Pid>);

impl Unanswered {
    fn has_answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "nothing of the hook is left to be ended");
        }
    }
}

/// Variables that may hold PostgreSQL's password: a hook has its own, or none.
const OUR_SECRETS: [&str; 2] = ["PGPASSWORD", "LITEFERRY__TARGET__URL"];

/// The smallest request that does: the answer's status is all that is wanted.
async fn post(url: &Url, moment: Moment) -> Result<(), String> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("has no host to call".to_owned());
    };
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .map_err(|error| format!("could not be reached: {error}"))?;
    let body = format!("{{\"moment\":\"{}\"}}", moment.word());
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("could not be told: {error}"))?;
    let mut head = Vec::new();
    let read = AsyncReadExt::take(&mut stream, HEAD_MAX).read_to_end(&mut head).await;
    read.map_err(|error| format!("broke off: {error}"))?;
    let status = std::str::from_utf8(head.get(..12).unwrap_or_default()).unwrap_or_default();
    match status.strip_prefix("HTTP/1.1 ").or_else(|| status.strip_prefix("HTTP/1.0 ")) {
        Some(code) if code.starts_with('2') => Ok(()),
        Some(code) => Err(format!("said no (HTTP {code})")),
        None => Err("gave an answer that is not HTTP".to_owned()),
    }
}

const HEAD_MAX: u64 = 4_096;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// However busy the machine is.
    const LONG: Duration = Duration::from_secs(300);

    fn hooks(hook: Hook, timeout: Duration) -> Hooks {
        Hooks { before_switch: Some(hook), timeout, ..Hooks::none() }
    }

    async fn asked_for(hook: Hook, timeout: Duration) -> Result<(), String> {
        call(&hooks(hook, timeout), Moment::BeforeSwitch).await.map_err(|reason| reason.sentence)
    }

    async fn asked(hook: Hook) -> Result<(), String> {
        asked_for(hook, LONG).await
    }

    #[tokio::test]
    async fn a_command_says_yes_no_or_nothing() {
        let command = |text: &str| Hook::Command(text.to_owned());
        assert_eq!(call(&Hooks::none(), Moment::BeforeSwitch).await, Ok(()));
        assert_eq!(asked(command("test \"$LITEFERRY_MOMENT\" = before_switch")).await, Ok(()));
        assert!(asked(command("exit 3")).await.unwrap_err().contains("said no (exit status: 3)"));
        let late = asked_for(command("sleep 300"), Duration::from_millis(400)).await;
        assert!(late.unwrap_err().contains("no answer within 400 ms"));
        assert_eq!(call(&hooks(command("exit 3"), LONG), Moment::AfterSwitch).await, Ok(()));
    }

    #[tokio::test]
    async fn a_command_that_keeps_silent_does_nothing_later() {
        let dir = tempfile::tempdir().unwrap();
        let later = dir.path().join("later");
        let command =
            |ending: &str| Hook::Command(format!("(sleep 1; echo done >> {}) & {ending}", later.display()));
        asked_for(command("wait"), Duration::from_millis(200)).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!later.exists(), "it went on");
        asked(command("true")).await.unwrap();
        let written = async {
            while !later.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        };
        tokio::time::timeout(LONG, written).await.expect("what it leaves behind goes on");
    }

    #[tokio::test]
    async fn a_callback_answers_by_its_status() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", None),
            ("HTTP/1.1 409 Conflict\r\n\r\n", Some("said no (HTTP 409)")),
            ("what?", Some("not HTTP")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/switch?now=1", listener.local_addr().unwrap());
            let served = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = vec![0; 512];
                let read = stream.read(&mut seen).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&seen[..read]).into_owned()
            });
            let said = asked(Hook::Callback(Url::parse(&url).unwrap())).await;
            match expected {
                None => assert_eq!(said, Ok(())),
                Some(text) => assert!(said.unwrap_err().contains(text)),
            }
            let request = served.await.unwrap();
            assert!(request.starts_with("POST /switch?now=1 HTTP/1.1\r\n"), "{request}");
            assert!(request.ends_with("{\"moment\":\"before_switch\"}"), "{request}");
        }
    }
}
