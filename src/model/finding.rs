//! Findings: what `check` has to tell about a migration before anything is written.

use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// Something of the source has no counterpart in the target.
    Warning,
    /// The migration cannot start.
    Blocker,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Blocker => "blocker",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Stable, lower case with underscores; the same word in docs.
    pub code: &'static str,
    /// The table, column, index or setting it is about.
    pub subject: String,
    pub text: String,
    /// What to do about it; empty where nothing needs doing.
    pub remedy: String,
}

impl Finding {
    pub fn note(code: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, subject, text)
    }

    pub fn warning(code: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, subject, text)
    }

    pub fn blocker(code: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding::new(Severity::Blocker, code, subject, text)
    }

    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = remedy.into();
        self
    }

    fn new(
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) -> Finding {
        Finding { severity, code, subject: subject.into(), text: text.into(), remedy: String::new() }
    }
}

/// What is told of many subjects in the same words stands together, where it was told first: a schema of forty tables has the same to say
/// of each empty column.
pub fn said_once<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<Vec<&'f Finding>> {
    let words =
        |finding: &Finding| (finding.severity, finding.code, finding.text.clone(), finding.remedy.clone());
    let mut told: Vec<Vec<&Finding>> = Vec::new();
    let mut places = HashMap::new();
    for finding in findings {
        let place = *places.entry(words(finding)).or_insert(told.len());
        match told.get_mut(place) {
            Some(alike) => alike.push(finding),
            None => told.push(vec![finding]),
        }
    }
    told
}

/// More than a person reads are counted.
const SUBJECTS_MAX: usize = 50;

/// Of findings that are told together.
pub fn subjects(alike: &[&Finding]) -> String {
    let named: Vec<&str> = alike.iter().take(SUBJECTS_MAX).map(|finding| finding.subject.as_str()).collect();
    let named = named.join(", ");
    match alike.len().saturating_sub(SUBJECTS_MAX) {
        0 => named,
        others => format!("{named} and {others} more (`--json` names all)"),
    }
}

/// Names in one sentence; the others are counted.
const NAMES_MAX: usize = 5;

pub fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let mut listed = names.take(NAMES_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        listed.push_str(&format!(" and {more} more"));
    }
    listed
}
