//! Faults: what went wrong while doing input or output, of which class, and what a person should do.

use std::error::Error;
use std::fmt;
use std::io;

/// Decides, in one place, what is done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// Passes by itself: retried with back-off.
    Transient,
    /// A commit whose answer was lost: look before doing anything.
    Unknown,
    /// A value the target refused: ledger or halt, as configured.
    Data,
    /// Retrying cannot help: halt with a stable code and a remedy.
    Fatal,
}

impl FaultClass {
    pub fn word(self) -> &'static str {
        match self {
            FaultClass::Transient => "transient",
            FaultClass::Unknown => "unknown",
            FaultClass::Data => "data",
            FaultClass::Fatal => "fatal",
        }
    }
}

/// `doing` is a bare verb phrase ("load chunk"); `code` is stable and documented; no cell's value is in any text, but for the numbers of a
/// key.
#[derive(Debug)]
pub struct Fault {
    pub class: FaultClass,
    pub code: &'static str,
    pub doing: String,
    pub remedy: String,
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    pub fn new(class: FaultClass, code: &'static str, doing: impl Into<String>) -> Fault {
        Fault { class, code, doing: doing.into(), remedy: String::new(), source: None }
    }

    pub fn fatal(code: &'static str, doing: impl Into<String>) -> Fault {
        Fault::new(FaultClass::Fatal, code, doing)
    }

    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Fault {
        self.remedy = remedy.into();
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {} [{}]", self.doing, self.code)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// EMFILE and ENFILE: this process, or the machine, has no file left to open.
const NO_FILE_LEFT: [i32; 2] = [24, 23];
const MORE_FILES: &str = "Let the process open more files (`ulimit -n`, a service's LimitNOFILE; fs.file-max where the whole machine has none \
                          left): a daemon then goes on by itself.";

/// The fault of an error that says that no file is left to open, whichever file was asked for: files come free again.
pub fn out_of_files(doing: impl Into<String>, error: &io::Error) -> Option<Fault> {
    let number = error.raw_os_error().filter(|number| NO_FILE_LEFT.contains(number))?;
    let fault = Fault::new(FaultClass::Transient, "files_used_up", doing);
    Some(fault.with_remedy(MORE_FILES).with_source(io::Error::from_raw_os_error(number)))
}
