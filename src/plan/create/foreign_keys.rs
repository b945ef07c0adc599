//! Foreign keys, added after the load and after every table's indexes.
//!
//! One is created only where PostgreSQL would compare the same columns by the same rule; otherwise it is dropped and reported.
//! Rows that point nowhere stay: the key is then added NOT VALID.

use super::Ground;
use super::draft::Draft;
use crate::model::name::{ident, ident_list};
use crate::model::schema::{Deferrable, FkAction, SqliteForeignKey, SqliteSchema, SqliteTable};
use crate::model::types::Type;
use crate::plan::Statement;

/// A foreign key whose two sides were found.
struct Link {
    parent: usize,
    parent_columns: Vec<usize>,
}

pub(super) fn add_all(drafts: &mut [Draft<'_>], Ground { schema, overrides, .. }: Ground<'_>) {
    for child in 0..drafts.len() {
        let source = drafts[child].source;
        for key in &source.foreign_keys {
            let what = described(&drafts[child], key);
            let is_left_out =
                |column: &usize| overrides.leaves_key_out(&source.name, &source.columns[*column].name);
            if key.columns.iter().any(is_left_out) {
                drafts[child].note(format!("{what}: left out by tables.no_foreign_key"));
                continue;
            }
            match link(drafts, schema, child, key) {
                Ok(link) => add(drafts, child, key, &link),
                Err(why) => drafts[child].drop_with("foreign_key_dropped", &what, &why),
            }
        }
    }
}

fn link(
    drafts: &[Draft<'_>],
    schema: &SqliteSchema,
    child: usize,
    key: &SqliteForeignKey,
) -> Result<Link, String> {
    let named = |draft: &Draft<'_>| draft.source.name.eq_ignore_ascii_case(&key.parent);
    let Some(parent) = drafts.iter().position(named) else {
        return Err(match schema.table(&key.parent) {
            Some(_) => "its parent table is left out by the settings".to_owned(),
            None => format!("its parent table {} does not exist", ident(&key.parent)),
        });
    };
    let parent_columns = parent_columns(drafts[parent].source, key)?;
    if parent_columns.len() != key.columns.len() {
        return Err("it has not as many columns as the parent's key".to_owned());
    }
    let draft = &drafts[parent];
    for parent_column in &parent_columns {
        let collation = &draft.source.columns[*parent_column].collation;
        if draft.is_textual(*parent_column) && !collation.eq_ignore_ascii_case("binary") {
            return Err(format!("the parent's column compares by {collation}, and PostgreSQL by bytes"));
        }
    }
    if !draft.unique.iter().any(|unique| is_same_set(unique, &parent_columns)) {
        return Err(format!("the parent's columns are not a unique key of {} here", ident(&key.parent)));
    }
    for (child_column, parent_column) in key.columns.iter().zip(&parent_columns) {
        let (from, to) = (drafts[child].ty(*child_column), draft.ty(*parent_column));
        if !is_comparable(from, to) {
            let name = &drafts[child].source.columns[*child_column].name;
            return Err(format!("{} is {} and the parent's column {}", ident(name), from.sql(), to.sql()));
        }
    }
    Ok(Link { parent, parent_columns })
}

pub(super) fn parent_columns(parent: &SqliteTable, key: &SqliteForeignKey) -> Result<Vec<usize>, String> {
    if key.parent_columns.is_empty() {
        return Ok(parent.primary_key.clone());
    }
    let find = |name: &String| {
        let missing = || format!("its parent table has no column {}", ident(name));
        parent.column(name).ok_or_else(missing)
    };
    key.parent_columns.iter().map(find).collect()
}

fn is_same_set(one: &[usize], other: &[usize]) -> bool {
    one.len() == other.len() && one.iter().all(|column| other.contains(column))
}

/// Whether PostgreSQL finds an equality for the two types that means what SQLite's does.
pub(super) fn is_comparable(child: &Type, parent: &Type) -> bool {
    let integer = |ty: &Type| matches!(ty, Type::Int2 | Type::Int4 | Type::Int8);
    let text = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(_));
    child == parent
        || integer(child) && (integer(parent) || matches!(parent, Type::Numeric(_)))
        || text(child) && text(parent)
        || matches!((child, parent), (Type::Numeric(_), Type::Numeric(_)))
}

fn add(drafts: &mut [Draft<'_>], child: usize, key: &SqliteForeignKey, link: &Link) {
    let parent = &drafts[link.parent];
    let columns_of = |draft: &Draft<'_>, columns: &[usize]| {
        ident_list(columns.iter().map(|column| draft.columns.names[*column].as_str()))
    };
    let references = format!("{} ({})", parent.target.sql(), columns_of(parent, &link.parent_columns));
    let draft = &mut drafts[child];
    let list = columns_of(draft, &key.columns);
    let joined =
        key.columns.iter().map(|column| draft.columns.names[*column].as_str()).collect::<Vec<_>>().join("_");
    let wish = key.name.clone().unwrap_or_else(|| format!("{}_{joined}_fkey", draft.target.name));
    let name = draft.constraint_names.claim(&wish);
    let sql = draft.alter(&format!(
        "add constraint {} foreign key ({list}) references {references}{}{}{}",
        ident(&name),
        action("update", key.on_update),
        action("delete", key.on_delete),
        deferrable(key.deferrable),
    ));
    let fallback = format!("{sql} not valid");
    let validate = draft.alter(&format!("validate constraint {}", ident(&name)));
    let what = described(draft, key);
    draft.note(format!(
        "{what}: kept; where rows point nowhere it is added NOT VALID: repair them, then: {validate}"
    ));
    draft.foreign_keys.push(Statement {
        what: format!("foreign key {} on {}", ident(&name), ident(&draft.target.name)),
        sql,
        fallback: Some(fallback),
        required: false,
    });
}

fn described(child: &Draft<'_>, key: &SqliteForeignKey) -> String {
    let columns = key.columns.iter().map(|column| child.source.columns[*column].name.as_str());
    format!("foreign key ({}) to {}", columns.collect::<Vec<_>>().join(", "), ident(&key.parent))
}

fn action(event: &str, action: FkAction) -> String {
    match action {
        FkAction::NoAction => String::new(),
        FkAction::Restrict | FkAction::Cascade | FkAction::SetNull | FkAction::SetDefault => {
            format!(" on {event} {}", action.sql().to_ascii_lowercase())
        }
    }
}

fn deferrable(deferrable: Deferrable) -> &'static str {
    match deferrable {
        Deferrable::No => "",
        Deferrable::InitiallyImmediate => " deferrable initially immediate",
        Deferrable::InitiallyDeferred => " deferrable initially deferred",
    }
}
