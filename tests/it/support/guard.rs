//! What ends a test's private server when the test process is gone, however it went.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A static is never dropped, so a child stops the server: it waits for the end of its input, which comes even when this process
/// is killed, and takes the server's number from the server's own note. Ctrl-C reaches it too and must not end it early.
const GUARD: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -INT "$pid" 2>/dev/null
tries=0
while [ -e "$1/data/postmaster.pid" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf "$1"
"#;

/// Its input ends with our process, and then it clears away.
pub fn guard(dir: &Path) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).arg(dir).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be started")
}
