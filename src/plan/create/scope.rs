//! The columns of a table as expressions see them.

use super::draft::Draft;
use crate::model::cell::Class;
use crate::model::schema::Storage;
use crate::plan::expr::{Scope, ScopeColumn};

pub(super) fn of(draft: &Draft<'_>) -> Scope {
    Scope { columns: (0..draft.source.columns.len()).map(|column| column_of(draft, column)).collect() }
}

fn column_of(draft: &Draft<'_>, column: usize) -> ScopeColumn {
    let source = &draft.source.columns[column];
    let survey = draft.column_survey(column);
    let is_met =
        |class: &Class| *class != Class::Null && survey.is_none_or(|survey| survey.count(*class) > 0);
    ScopeColumn {
        qualifier: draft.source.name.clone(),
        name: source.name.clone(),
        affinity: source.affinity,
        collation: source.collation.clone(),
        sql: draft.column_sql(column),
        ty: draft.ty(column).clone(),
        form: draft.decisions[column].codec.form,
        classes: Class::ALL.into_iter().filter(is_met).collect(),
        integers: survey.and_then(|survey| survey.integers),
        unique: match draft.source.storage {
            Storage::Rowid { alias, .. } => alias == Some(column),
            Storage::WithoutRowid { .. } => draft.source.primary_key == [column],
        },
    }
}
