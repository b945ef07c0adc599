//! Refused rows told as findings: how many of each table the target refused, and by which of its rules.

use crate::canon::RefusedBy;
use crate::journal::store::{Refusal, Store};
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::name::literal;

/// One finding a table.
pub async fn refused_rows(store: &Store, migration: i64) -> Result<Vec<Finding>, Fault> {
    let refusals = store.refusals(migration).await?;
    Ok(refusals.chunk_by(|a, b| a.table == b.table).map(finding).collect())
}

fn finding(of_table: &[Refusal]) -> Finding {
    let table = &of_table[0].table;
    let rows: u64 = of_table.iter().map(|refusal| refusal.rows).sum();
    let rules: Vec<String> = of_table.iter().map(rule).collect();
    let text =
        format!("the target refused {rows} rows, which stand in the ledger whole: {}", rules.join(", "));
    let remedy = format!(
        "look at them: select * from liteferry.ledger where source_table = {} and reason like 'refused%'; mend them at the source, or the rule \
         at the target, then run the copy with --restart, and where it fills tables of yours with target.existing_rows = \"replace\" too",
        literal(table)
    );
    Finding::warning("rows_refused", table, text).with_remedy(remedy)
}

fn rule(refusal: &Refusal) -> String {
    let rows = refusal.rows;
    match RefusedBy::from_reason(&refusal.reason) {
        Some(RefusedBy { sqlstate, name: Some(name) }) => {
            format!("{rows} by \"{name}\" (SQLSTATE {sqlstate})")
        }
        Some(RefusedBy { sqlstate, name: None }) if sqlstate == "23514" => {
            format!("{rows} that no partition takes (SQLSTATE {sqlstate}, of no CHECK)")
        }
        Some(RefusedBy { sqlstate, name: None }) => format!("{rows} with SQLSTATE {sqlstate}"),
        None => format!("{rows} by a rule that was not recorded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_counts_rows_and_names_the_rules() {
        let refusal = |reason: &str, rows| Refusal { table: "it's".into(), reason: reason.into(), rows };
        let found = finding(&[
            refusal("refused:23505:t_v_key", 2),
            refusal("refused:22012", 1),
            refusal("refused:23514", 3),
            refusal("refused", 4),
        ]);
        assert_eq!(
            found.text,
            "the target refused 10 rows, which stand in the ledger whole: 2 by \"t_v_key\" (SQLSTATE 23505), 1 with SQLSTATE 22012, \
             3 that no partition takes (SQLSTATE 23514, of no CHECK), 4 by a rule that was not recorded"
        );
        assert!(found.remedy.contains("source_table = 'it''s' and"), "{}", found.remedy);
    }
}
