//! CHECK constraints, added after the load: those whose meaning can be kept, and those that stand in for a NOT NULL.
//!
//! Rows that SQLite holds against a constraint stay. The constraint is then added NOT VALID: it holds for what is written from
//! then on.

use super::draft::Draft;
use super::scope;
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::plan::Statement;
use crate::plan::expr::{self, Purpose};

pub(super) fn add_all(draft: &mut Draft<'_>) {
    let source = draft.source;
    for check in &source.checks {
        let made = draft.checks.len();
        let what = match &check.name {
            Some(name) => format!("check {}", ident(name)),
            None => format!("check ({})", check.expression),
        };
        match expr::translate(&check.expression, &scope::of(draft), Purpose::Check) {
            Ok(translated) if translated.sql == "true" => {
                draft.note(format!("{what}: the target's types ensure it"));
            }
            Ok(translated) => {
                let wish = check.name.clone().unwrap_or_else(|| format!("{}_check", draft.target.name));
                add(draft, &wish, &translated.sql);
                draft.note(format!("{what}: kept"));
            }
            Err(refusal) => draft.drop_with("check_dropped", &what, &refusal.to_string()),
        }
        draft.made_as.push(draft.checks.get(made).map(|statement| statement.what.clone()));
    }
    for column in 0..source.columns.len() {
        keep_not_null(draft, column);
    }
}

/// A column that is NOT NULL although NULLs are to come: SQLite let them in, or a value has no place in the target. The rows are
/// worth more than the constraint, which is kept for new ones.
fn keep_not_null(draft: &mut Draft<'_>, column: usize) {
    let nulls = draft.nulls_to_come(column);
    if !draft.source.columns[column].not_null || nulls == 0 {
        return;
    }
    let name = draft.columns.names[column].clone();
    let wish = format!("{}_{name}_not_null", draft.target.name);
    let constraint = draft.constraint_names.claim(&wish);
    let condition = format!("{} is not null", ident(&name));
    let sql = draft.alter(&format!("add constraint {} check ({condition}) not valid", ident(&constraint)));
    draft.checks.push(statement(draft, &constraint, sql, None));
    let subject = format!("{}.{}", draft.source.name, draft.source.columns[column].name);
    let text = format!(
        "it is NOT NULL, but up to {nulls} of its cells will be NULL in the target; new rows are held to it"
    );
    let remedy =
        format!("fill them, then: {}", draft.alter(&format!("validate constraint {}", ident(&constraint))));
    draft.findings.push(Finding::warning("not_null_relaxed", subject, text).with_remedy(remedy));
}

fn add(draft: &mut Draft<'_>, wish: &str, condition: &str) {
    let name = draft.constraint_names.claim(wish);
    let sql = draft.alter(&format!("add constraint {} check ({condition})", ident(&name)));
    let fallback = format!("{sql} not valid");
    let statement = statement(draft, &name, sql, Some(fallback));
    draft.checks.push(statement);
}

fn statement(draft: &Draft<'_>, name: &str, sql: String, fallback: Option<String>) -> Statement {
    let what = format!("constraint {} on {}", ident(name), ident(&draft.target.name));
    Statement { what, sql, fallback, required: false }
}
