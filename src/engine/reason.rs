//! Why something is not as it should be, as the status, an answer and the page tell it: a stable code, a sentence, and what to do.

use crate::model::fault::Fault;
use serde_json::{Value, json};
use std::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: &'static str,
    pub sentence: String,
    pub remedy: String,
}

impl Reason {
    pub fn new(code: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) -> Reason {
        Reason { code, sentence: sentence.into(), remedy: remedy.into() }
    }

    /// What failed, with all its causes.
    pub fn of(fault: &Fault) -> Reason {
        let mut sentence = format!("cannot {}", fault.doing);
        let mut cause = fault.source();
        while let Some(error) = cause {
            sentence.push_str(&format!(", because {error}"));
            cause = error.source();
        }
        Reason::new(fault.code, sentence, &fault.remedy)
    }

    pub fn to_json(&self) -> Value {
        json!({ "code": self.code, "sentence": self.sentence, "remedy": self.remedy })
    }
}
