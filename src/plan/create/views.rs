//! Views, created after everything else. One that cannot be translated is reported, never fatal: broken views exist.

use super::Ground;
use super::draft::Draft;
use super::scope;
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::plan::Statement;
use crate::plan::naming::Names;
use crate::plan::view::{self, ViewTable, ViewTables};

/// The tables of the plan, as views see them.
struct Drafts<'a>(&'a [Draft<'a>]);

pub(super) fn translated(
    drafts: &[Draft<'_>],
    ground: Ground<'_>,
    names: &Names,
    findings: &mut Vec<Finding>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    for view in &ground.schema.views {
        let target = PgName::new(ground.target_schema, names.of(&view.name));
        match view::translate_view(&view.sql, &Drafts(drafts)) {
            Ok(query) => statements.push(Statement {
                what: format!("view {}", ident(&target.name)),
                sql: format!("create view {} as {query}", target.sql()),
                fallback: None,
                required: false,
            }),
            Err(refusal) => {
                let finding =
                    Finding::warning("view_dropped", &view.name, format!("it is not created: {refusal}"));
                findings
                    .push(finding.with_remedy("write it anew for PostgreSQL if the application reads it"));
            }
        }
    }
    statements
}

impl ViewTables for Drafts<'_> {
    fn table(&self, name: &str) -> Option<ViewTable> {
        let draft = self.0.iter().find(|draft| draft.source.name.eq_ignore_ascii_case(name))?;
        Some(ViewTable { sql: draft.target.sql(), columns: scope::of(draft).columns })
    }
}
