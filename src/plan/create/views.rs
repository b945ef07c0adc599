//! Views, created after everything else, each after those that it reads. One that cannot be translated is reported, never fatal: broken
//! views exist.

use super::Ground;
use super::draft::Draft;
use super::scope;
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::model::schema::SqliteView;
use crate::plan::Statement;
use crate::plan::naming::Names;
use crate::plan::parse::Refusal;
use crate::plan::view::{self, ViewTable, ViewTables};

/// What a view may read: the tables of the plan, and the views that stand by now.
struct Readable<'a> {
    drafts: &'a [Draft<'a>],
    views: Vec<(&'a str, ViewTable)>,
}

pub(super) fn translated(
    drafts: &[Draft<'_>],
    ground: Ground<'_>,
    names: &Names,
    findings: &mut Vec<Finding>,
) -> Vec<Statement> {
    let mut readable = Readable { drafts, views: Vec::new() };
    let mut statements = Vec::new();
    let mut open: Vec<&SqliteView> = ground.schema.views.iter().collect();
    // One may read another that was made after it.
    let refused = loop {
        let mut refused: Vec<(&SqliteView, Refusal)> = Vec::new();
        for view in &open {
            let target = PgName::new(ground.target_schema, names.of(&view.name));
            match view::translate_view(&view.sql, &readable) {
                Ok(translated) => {
                    let table = ViewTable { sql: target.sql(), columns: translated.columns };
                    readable.views.push((&view.name, table));
                    statements.push(statement(&target, &translated.query));
                }
                Err(refusal) => refused.push((view, refusal)),
            }
        }
        if refused.len() == open.len() {
            break refused;
        }
        open = refused.into_iter().map(|(view, _)| view).collect();
    };
    findings.extend(refused.into_iter().map(|(view, refusal)| {
        let finding = Finding::warning("view_dropped", &view.name, format!("it is not created: {refusal}"));
        finding.with_remedy("write it anew for PostgreSQL if the application reads it")
    }));
    statements
}

fn statement(target: &PgName, query: &str) -> Statement {
    Statement {
        what: format!("view {}", ident(&target.name)),
        sql: format!("create view {} as {query}", target.sql()),
        fallback: None,
        required: false,
    }
}

impl ViewTables for Readable<'_> {
    fn table(&self, name: &str) -> Option<ViewTable> {
        let draft = self.drafts.iter().find(|draft| draft.source.name.eq_ignore_ascii_case(name));
        if let Some(draft) = draft {
            return Some(ViewTable { sql: draft.target.sql(), columns: scope::of(draft).columns });
        }
        let (_, view) = self.views.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(view.clone())
    }
}
