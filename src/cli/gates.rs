//! `gates`: what an order to change the phase would meet, and the same told by whoever was refused. It decides nothing.

use super::client::Client;
use super::output::say;
use super::session::load_settings;
use super::table::{cell, table};
use super::{Ending, Failure, Shared, print};
use crate::phase::Phase;
use crate::phase::machine::Command;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::Value;

#[derive(Debug, Args)]
pub struct GatesArgs {
    /// The phase to be led to; the next one of the way where none is named
    #[arg(long, value_name = "PHASE", value_parser = aims())]
    to: Option<String>,
}

pub async fn gates(shared: &Shared, args: &GatesArgs) -> Result<Ending, Failure> {
    let client = Client::new(&load_settings(shared)?);
    let query = args.to.as_ref().map(|to| format!("?to={to}")).unwrap_or_default();
    tell(shared, &client.get(&format!("/v1/gates{query}")).await?)
}

/// Phases that an order may lead to.
/// The way back is known by its command's name too.
pub fn aims() -> impl TypedValueParser<Value = String> {
    const WAY_BACK: &str = "rollback";
    let aims = Phase::ALL.into_iter().filter(|phase| Command::to(*phase).is_some());
    let value = |phase: Phase| {
        let value = PossibleValue::new(phase.word());
        if phase == Phase::DualWrite { value.alias(WAY_BACK) } else { value }
    };
    PossibleValuesParser::new(aims.map(value).collect::<Vec<_>>()).map(|typed| match typed.as_str() {
        WAY_BACK => Phase::DualWrite.word().to_owned(),
        _ => typed,
    })
}

/// Ends well where the order would be taken.
pub fn tell(shared: &Shared, outlook: &Value) -> Result<Ending, Failure> {
    say(&if shared.json { format!("{outlook:#}\n") } else { told(outlook) })?;
    Ok(if outlook["open"] == true { Ending::Well } else { Ending::Badly })
}

/// Of gates that the daemon has not looked at yet.
pub const UNREAD: &str = "gates_unread";

/// Gates that have no reading yet.
pub fn unknown(outlook: &Value) -> Vec<String> {
    let gates = outlook["gates"].as_array().into_iter().flatten();
    let unknown = gates.filter(|gate| gate["known"] == false).map(|gate| print::shown(&cell(&gate["name"])));
    let unread = (outlook["because"]["code"] == UNREAD).then(|| "the gates".to_owned());
    unread.into_iter().chain(unknown).collect()
}

pub fn told(outlook: &Value) -> String {
    let command = cell(&outlook["command"]);
    let phase = outlook["phase"].as_str().map(|phase| format!("the phase {phase}"));
    let phase = phase.unwrap_or_else(|| "a phase that is not known yet".to_owned());
    let mut out = format!("{} from {}\n\n", print::shown(&command), print::shown(&phase));
    out.push_str(&rows(&outlook["gates"]));
    let steps = outlook["steps"].as_array().map_or(&[][..], Vec::as_slice);
    for (at, step) in steps.iter().enumerate() {
        out.push_str(&format!("{}. {}\n", at + 1, print::shown(&cell(step))));
    }
    match &outlook["because"] {
        Value::Null => out.push_str("\nit would be tried now\n"),
        because => {
            let told = if because["code"] == UNREAD { "it is not known yet" } else { "it would be refused" };
            out.push_str(&format!("\n{told}: {}\n", print::shown(&cell(&because["sentence"]))));
            out.push_str(&remedy(&because["remedy"]));
        }
    }
    out
}

/// Gates with their readings; nothing where there are none.
pub fn rows(gates: &Value) -> String {
    let gates = gates.as_array().map_or(&[][..], Vec::as_slice);
    let cells = |gate: &Value| {
        let state = if gate["ok"] == true { "open" } else { "closed" };
        let [name, limit, reading] = ["name", "limit", "reading"].map(|field| cell(&gate[field]));
        vec![name, state.to_owned(), limit, reading]
    };
    if gates.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = gates.iter().map(cells).collect();
    let listed = table(&["gate", "", "limit", "reading"], &rows);
    let remedies = gates.iter().map(|gate| remedy(&gate["remedy"]));
    let told = listed.lines().zip(std::iter::once(String::new()).chain(remedies));
    let lines: String = told.map(|(line, remedy)| format!("{line}\n{remedy}")).collect();
    format!("{lines}\n")
}

pub fn remedy(remedy: &Value) -> String {
    let remedy = remedy.as_str().unwrap_or_default();
    if remedy.is_empty() { String::new() } else { format!("  → {}\n", print::shown(remedy)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn closed_gates_stand_in_a_table_with_what_to_do_below_them() {
        let gate = json!({ "name": "lag", "ok": false, "reading": "2 s", "limit": "1 s", "remedy": "Wait." });
        let open = json!({ "name": "a", "ok": true, "reading": "1", "limit": "1", "remedy": "" });
        let because = json!({ "code": "x", "sentence": "a gate is closed: lag", "remedy": "Wait." });
        let outlook = json!({ "command": "switch", "phase": "validate", "open": false, "because": because,
            "gates": [gate, open], "steps": ["One.", "T\u{1b}wo."] });
        let expected = "switch from the phase validate\n\n\
            gate          limit  reading\n\
            lag   closed  1 s    2 s\n  → Wait.\n\
            a     open    1      1\n\n\
            1. One.\n2. T\\u{1b}wo.\n\n\
            it would be refused: a gate is closed: lag\n  → Wait.\n";
        assert_eq!(told(&outlook), expected);
        let because = json!({ "code": "gates_unread", "sentence": "nobody looked", "remedy": "Wait." });
        let unknown = json!({ "command": "switch", "phase": "validate", "open": false, "because": because });
        assert_eq!(
            told(&unknown),
            "switch from the phase validate\n\n\nit is not known yet: nobody looked\n  → Wait.\n"
        );
        assert_eq!(rows(&json!([])), "");
    }
}

#[cfg(test)]
mod aim_tests {
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn the_way_back_may_be_asked_for_by_its_commands_name() {
        for (typed, known) in [("rollback", true), ("dual-write", true), ("switch", true), ("setup", false)] {
            for command in [["gates", "--to", typed].as_slice(), &["phase", typed]] {
                let args = ["liteferry"].iter().chain(command);
                assert_eq!(Cli::try_parse_from(args).is_ok(), known, "{command:?}");
            }
        }
    }
}
