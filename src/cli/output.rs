//! What goes to standard output and standard error. A reader who has gone (`| head -1`) is no fault, an output that takes no more is.
//!
//! The standard macros would panic in both cases: nothing in `cli` uses them.

use crate::model::fault::Fault;
use std::io::{ErrorKind, Write};

/// Prints a report, or a part of one.
pub fn say(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fault::fatal("output_unwritable", "write to standard output").with_source(error).with_remedy(
                "give the output a place that takes it; with --report FILE the report goes to a file",
            ))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells of a fault, or of progress.
pub fn complain(text: &str) {
    // Where this cannot be written, there is nobody left to be told.
    let _unheard = std::io::stderr().lock().write_all(text.as_bytes());
}
