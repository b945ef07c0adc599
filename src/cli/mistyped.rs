//! A phase that is typed as if it were a command: what leads there.

use crate::phase::Phase;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

pub fn advised(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let Some(advice) = Phase::ALL.into_iter().find(|phase| phase.word() == typed).map(leads_to) else {
        return error;
    };
    // What merely looks like it.
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(advice)]));
    error
}

fn leads_to(phase: Phase) -> &'static str {
    match phase {
        Phase::Setup | Phase::Backfill => {
            "`liteferry run` begins with it, and goes on to dual-write by itself"
        }
        Phase::DualWrite => "`liteferry run` comes to it by itself; `liteferry rollback` leads back to it",
        Phase::Validate => "`liteferry phase validate` leads there; `liteferry validate` compares",
        Phase::Switch => {
            "`liteferry phase switch` moves the writes; `liteferry gates --to switch` says what stands in the way"
        }
        Phase::Cleanup | Phase::Done => "`liteferry cleanup` ends the migration",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn answer(typed: &str) -> Option<String> {
        Cli::try_parse_from(["liteferry", typed]).err().map(|error| advised(error).to_string())
    }

    #[test]
    fn whoever_types_a_phase_is_told_what_leads_there() {
        for phase in Phase::ALL {
            let told = answer(phase.word());
            let is_command = matches!(phase, Phase::Validate | Phase::Cleanup);
            assert_eq!(told.is_none(), is_command, "{told:?}");
            let tips: Vec<String> = told
                .iter()
                .flat_map(|told| told.lines())
                .filter(|line| line.contains("tip:"))
                .map(str::to_owned)
                .collect();
            let expected = (!is_command).then(|| format!("  tip: {}", leads_to(phase)));
            assert_eq!(tips, Vec::from_iter(expected), "{told:?}");
        }
        assert!(answer("stats").is_some_and(|told| told.contains("'status'")));
    }
}
