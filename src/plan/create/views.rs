//! Views, created after everything else, each after those that it reads. One that cannot be translated is reported, never fatal: broken
//! views exist.

use super::Ground;
use super::draft::Draft;
use super::scope;
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident, ident_list};
use crate::model::schema::SqliteView;
use crate::plan::Statement;
use crate::plan::expr::ScopeColumn;
use crate::plan::naming::Names;
use crate::plan::parse::Refusal;
use crate::plan::view::{self, TranslatedView, ViewTable, ViewTables};

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
                Ok(TranslatedView { query, mut columns }) => {
                    statements.push(statement(&target, &call(&mut columns, names), &query));
                    readable.views.push((&view.name, ViewTable { sql: target.sql(), columns }));
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

/// Gives the columns their names in the target, and what stands behind the view's own name for it.
fn call(columns: &mut [ScopeColumn], names: &Names) -> String {
    let mut space = names.space();
    let called: Vec<String> = columns.iter().map(|column| space.claim(&column.name)).collect();
    let as_they_were = columns.iter().map(|column| &column.name).eq(&called);
    for (column, name) in columns.iter_mut().zip(&called) {
        column.sql = ident(name);
    }
    if as_they_were { String::new() } else { format!(" ({})", ident_list(called.iter().map(String::as_str))) }
}

fn statement(target: &PgName, columns: &str, query: &str) -> Statement {
    Statement {
        what: format!("view {}", ident(&target.name)),
        sql: format!("create view {}{columns} as {query}", target.sql()),
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
