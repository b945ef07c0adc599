//! Columns in which SQLite takes one class of values alone (those of a STRICT table, and an INTEGER PRIMARY KEY) and the target values that
//! come back in another: the first of these that the application writes there after the switch halts the way back.

use super::route::{ColumnRoute, Route};
use super::unspelt::{Probe, probes};
use crate::canon::Back;
use crate::model::cell::Class;
use crate::model::finding::Finding;
use crate::model::schema::{SqliteColumn, SqliteTable};
use crate::model::types::Type;

pub fn classes_refused_back(route: &Route, source: &SqliteTable) -> Option<Finding> {
    let columns: Vec<String> = route.columns.iter().filter_map(|column| refused(column, source)).collect();
    if columns.is_empty() {
        return None;
    }
    let text = format!(
        "SQLite takes values of one class alone in columns of which the target takes more: {}; one that is written there after the switch \
         halts the way back",
        columns.join(", ")
    );
    let remedy = "give the target's columns the type that holds what SQLite's do and no more (bigint for integers), or keep such values out \
                  by a CHECK of the target";
    Some(Finding::warning("reverse_classes", &route.source, text).with_remedy(remedy))
}

/// The column's name, and which values of its type come back in a class that SQLite refuses there.
fn refused(column: &ColumnRoute, source: &SqliteTable) -> Option<String> {
    let at = source.columns.iter().position(|found| Some(&found.name) == column.source.as_ref())?;
    let taken = match source.rowid_alias() {
        Some(alias) if alias == at => &[Class::Integer][..],
        _ if source.strict => taken(&source.columns[at])?,
        _ => return None,
    };
    let comes_as = |bytes: &[u8]| match column.codec.back(column.affinity, bytes, &mut Vec::new()) {
        Back::Spelt(cell) => cell.class(),
        Back::Foreign(cell) => cell.as_cell().class(),
    };
    let all = probes(&column.codec.ty).into_iter().chain(fraction(&column.codec.ty));
    let kinds: Vec<&str> =
        all.filter(|(_, bytes)| !taken.contains(&comes_as(bytes))).map(|(kind, _)| kind).collect();
    (!kinds.is_empty()).then(|| format!("{} ({})", column.target, kinds.join(", ")))
}

/// A number becomes a text where SQLite asks for one.
fn taken(column: &SqliteColumn) -> Option<&'static [Class]> {
    match column.declared.to_ascii_uppercase().as_str() {
        "INT" | "INTEGER" => Some(&[Class::Integer]),
        "REAL" => Some(&[Class::Integer, Class::Real]),
        "TEXT" => Some(&[Class::Integer, Class::Real, Class::Text]),
        "BLOB" => Some(&[Class::Blob]),
        _ => None,
    }
}

/// What the spelling of no column has to do with.
fn fraction(ty: &Type) -> Option<Probe> {
    let bytes = match ty {
        Type::Float4 => 1.5f32.to_be_bytes().to_vec(),
        Type::Float8 => 1.5f64.to_be_bytes().to_vec(),
        _ => return None,
    };
    Some(("fractions", bytes))
}
