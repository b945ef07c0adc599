//! Generated columns: plain ones in the target, since PostgreSQL takes no values for a column that it computes, and what was not
//! sent could not be proved. Says so, with the statement that makes the target compute them from then on.
//!
//! It never promises a statement whose values could be others than SQLite's; `validate` proves them afterwards.

use super::draft::Draft;
use super::scope;
use crate::model::finding::Finding;
use crate::model::schema::Generated;
use crate::model::types::Type;
use crate::plan::expr::{self, ExprType, Purpose, Scope};

pub(super) fn add_all(draft: &mut Draft<'_>) {
    let source = draft.source;
    for (column, described) in source.columns.iter().enumerate() {
        let Some(generated) = &described.generated else { continue };
        draft.note(format!(
            "column {}: generated as ({}) in SQLite, a plain column here with the values computed there",
            described.name, generated.expression
        ));
        let subject = format!("{}.{}", source.name, described.name);
        let text = format!(
            "SQLite computes it as ({}); here it is a plain column, which a new row leaves empty unless it is told",
            generated.expression
        );
        let remedy = computed(draft, column, generated).unwrap_or_else(|| {
            "let the application fill it, or create what computes it by hand after the copy".to_owned()
        });
        draft.findings.push(Finding::warning("generated_plain", subject, text).with_remedy(remedy));
    }
}

/// The statement that makes the target compute the column as SQLite did, where that is certain.
fn computed(draft: &Draft<'_>, column: usize, generated: &Generated) -> Option<String> {
    let all = scope::of(draft).columns.into_iter().zip(&draft.source.columns);
    // PostgreSQL computes no column from another one that it computes.
    let given = all.filter(|(_, described)| described.generated.is_none());
    let scope = Scope { columns: given.map(|(column, _)| column).collect() };
    let translated = expr::translate(&generated.expression, &scope, Purpose::Generated).ok()?;
    if !gives(&translated.ty, draft.ty(column)) {
        return None;
    }
    let (name, ty) = (draft.column_sql(column), &draft.decisions[column].type_sql);
    let not_null = if draft.is_not_null(column) { " not null" } else { "" };
    let action = format!(
        "drop column {name}, add column {name} {ty} generated always as ({}) stored{not_null}",
        translated.sql
    );
    Some(format!(
        "after the copy, and before its indexes and views are needed, which go with it: {}; then liteferry validate",
        draft.alter(&action)
    ))
}

/// Whether the expression's values are the column's without a conversion.
fn gives(expression: &ExprType, column: &Type) -> bool {
    match expression {
        ExprType::Boolean => *column == Type::Bool,
        ExprType::Integer => matches!(column, Type::Int8),
        ExprType::Float => *column == Type::Float8,
        ExprType::Numeric => *column == Type::Numeric(None),
        ExprType::Text => *column == Type::Text,
        ExprType::Bytea => *column == Type::Bytea,
        ExprType::Null => false,
        ExprType::Column(ty) => ty == column,
    }
}
