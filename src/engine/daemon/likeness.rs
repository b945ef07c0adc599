//! Whether a table of the source is still what its route was made for. It looks at names, keys and kinds, and at no row.

use crate::model::schema::{Affinity, SqliteTable, Storage};
use crate::plan::Mode;
use crate::plan::route::{ColumnRoute, Identity, Route, ScanOrder};
use std::collections::{BTreeMap, BTreeSet};

pub fn is_same(mode: Mode, route: &Route, table: &SqliteTable) -> bool {
    same_key(mode, route, table) && same_columns(mode, route, table) && same_scan(route, table)
}

/// In `existing` mode the plan that was made anew has told which columns travel: not those that the settings leave out, or that the
/// target computes.
fn same_columns(mode: Mode, route: &Route, table: &SqliteTable) -> bool {
    match mode {
        Mode::Existing => true,
        Mode::Create => has_columns_of(route, table) && !takes_more_nulls(route, table),
    }
}

/// A column takes NULL that took none, which only a table that is made anew can come to.
fn takes_more_nulls(route: &Route, table: &SqliteTable) -> bool {
    let takes_null = |name: &str| table.columns.iter().any(|column| column.name == name && !column.not_null);
    refusing_null(route).filter_map(|column| column.source.as_deref()).any(takes_null)
}

/// The columns whose target takes no NULL, beside those of the key, which never does.
pub fn refusing_null(route: &Route) -> impl Iterator<Item = &ColumnRoute> {
    let key = key_names(route).unwrap_or_default();
    let is_of_key = move |column: &ColumnRoute| key.contains(&column.source.as_deref());
    route.columns.iter().filter(move |column| column.not_null && !is_of_key(column))
}

/// By name and affinity: what SQLite makes of a value that comes back is a matter of the column's.
fn has_columns_of(route: &Route, table: &SqliteTable) -> bool {
    let carried =
        route.columns.iter().filter_map(|column| Some((column.source.as_deref()?, column.affinity)));
    let of_route: BTreeMap<&str, Affinity> = carried.collect();
    let of_table: BTreeMap<&str, Affinity> =
        table.columns.iter().map(|column| (column.name.as_str(), column.affinity)).collect();
    of_route == of_table
}

/// Rows can be found by the key that they were found by.
fn same_key(mode: Mode, route: &Route, table: &SqliteTable) -> bool {
    let key: BTreeSet<Option<&str>> = key_names(route).unwrap_or_default().into_iter().collect();
    let is_by_rowid = key.contains(&None) && matches!(table.storage, Storage::Rowid { .. });
    match mode {
        Mode::Existing => {
            let place = |name: &Option<&str>| {
                table.columns.iter().position(|column| Some(column.name.as_str()) == *name)
            };
            let is_kept = || {
                key.iter()
                    .map(place)
                    .collect::<Option<Vec<usize>>>()
                    .is_some_and(|key| table.keeps_unique(&key))
            };
            is_by_rowid || is_kept()
        }
        Mode::Create => {
            let name = |at: &usize| Some(table.columns[*at].name.as_str());
            let declared: BTreeSet<Option<&str>> = table.primary_key.iter().map(name).collect();
            is_by_rowid || key == declared
        }
    }
}

/// Columns of its key and of its foreign keys that are of another kind under the same name. No type is ever made wider for them: made anew,
/// the table has the ones that such values call for.
fn ties_another_kind<'r>(route: &'r Route, table: &SqliteTable) -> Vec<&'r ColumnRoute> {
    let is_of_key = |at: &usize| match &route.identity {
        Identity::Columns(key) => key.contains(at),
        Identity::WholeRow => false,
    };
    let refers = |at: usize| table.foreign_keys.iter().any(|key| key.columns.contains(&at));
    let is_another = |(at, crossing): &(usize, &ColumnRoute)| {
        let place = table.columns.iter().position(|column| Some(&column.name) == crossing.source.as_ref());
        place.is_some_and(|place| {
            table.columns[place].affinity != crossing.affinity && (is_of_key(at) || refers(place))
        })
    };
    route.columns.iter().enumerate().filter(is_another).map(|(_, crossing)| crossing).collect()
}

/// Whether PostgreSQL has the same type for them all the same.
pub fn holds_ties(route: &Route, table: &SqliteTable, fresh: &Route) -> bool {
    ties_another_kind(route, table).into_iter().all(|tie| {
        let mut planned = fresh.columns.iter().filter(|planned| planned.source == tie.source);
        planned.all(|planned| planned.codec.ty == tie.codec.ty)
    })
}

/// It can be read on in the order that it was read in: made anew, a table may have lost its rowid, or its key may be the rowid no more.
pub fn same_scan(route: &Route, table: &SqliteTable) -> bool {
    let carries = |column: &Option<usize>| column.and_then(|at| route.columns[at].source.as_deref());
    match (&route.scan, &table.storage) {
        (ScanOrder::Rowid { name, column }, Storage::Rowid { rowid, alias }) => {
            let alias = alias.map(|alias| table.columns[alias].name.as_str());
            let is_reached = *rowid == Some(name.as_str()) || alias == Some(name);
            is_reached && carries(column).is_none_or(|carries| alias == Some(carries))
        }
        (ScanOrder::Rowid { .. }, Storage::WithoutRowid { .. }) => false,
        (ScanOrder::Key { .. }, _) => route.scan == ScanOrder::declared(table),
        (ScanOrder::Whole, _) => true,
    }
}

pub fn key_names(route: &Route) -> Option<Vec<Option<&str>>> {
    match &route.identity {
        Identity::Columns(columns) => {
            Some(columns.iter().map(|column| route.columns[*column].source.as_deref()).collect())
        }
        Identity::WholeRow => None,
    }
}
