//! Columns that the application renamed in `create` mode, so that the target renames them too and keeps what stands on them: keys, indexes,
//! constraints.
//!
//! SQLite tells of no renaming. A column counts as renamed where another name of the same affinity stands at the place of one that is gone,
//! and no column came or went beside. Whether it held the same values is for whoever compares the table afterwards.

use super::Statement;
use super::route::{ColumnRoute, Route, ScanOrder};
use crate::model::name::ident;
use crate::model::schema::SqliteTable;

/// The route under the table's names of today, and what brings the target's to those that `fresh` gives them.
pub fn renamed(route: &Route, table: &SqliteTable, fresh: &Route) -> (Route, Vec<Statement>) {
    let mut now = route.clone();
    let carried: Vec<usize> =
        (0..route.columns.len()).filter(|at| route.columns[*at].source.is_some()).collect();
    if carried.len() != table.columns.len() {
        return (now, Vec::new());
    }
    let mut statements = Vec::new();
    for (at, described) in carried.into_iter().zip(&table.columns) {
        let before = &route.columns[at];
        let was = before.source.as_deref().filter(|name| table.column(name).is_none());
        let came = column_of(route, &described.name).is_none() && before.affinity == described.affinity;
        let Some((was, called)) = was.filter(|_| came).zip(column_of(fresh, &described.name)) else {
            continue;
        };
        statements.push(rename(route, before, called));
        now.scan = scan_under(now.scan, (was, &described.name));
        now.columns[at].source = Some(described.name.clone());
        now.columns[at].target.clone_from(&called.target);
    }
    (now, statements)
}

fn column_of<'r>(route: &'r Route, name: &str) -> Option<&'r ColumnRoute> {
    route.columns.iter().find(|column| column.source.as_deref() == Some(name))
}

fn rename(route: &Route, before: &ColumnRoute, called: &ColumnRoute) -> Statement {
    let (target, was, is) = (route.target.sql(), ident(&before.target), ident(&called.target));
    Statement {
        what: format!("name of column {}.{}", route.target, called.target),
        sql: format!("alter table {target} rename column {was} to {is}"),
        fallback: None,
        required: true,
    }
}

fn scan_under(scan: ScanOrder, (was, is): (&str, &str)) -> ScanOrder {
    let called = |name: String| if name == was { is.to_owned() } else { name };
    match scan {
        ScanOrder::Rowid { name, column } => ScanOrder::Rowid { name: called(name), column },
        ScanOrder::Key { names, order } => {
            ScanOrder::Key { names: names.into_iter().map(called).collect(), order }
        }
        ScanOrder::Whole => ScanOrder::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::create;
    use crate::plan::overrides::Overrides;
    use crate::plan::samples::{self, keyed};

    /// What the target renames, and under which names the table is read then.
    fn check(before: &[&str], after: &[&str], expected: (&[&str], &[&str])) {
        let route_of = |columns: &[&str]| {
            let schema = samples::schema(vec![keyed("t", columns)]);
            let plan = create::plan(&schema, None, "public", &Overrides::default());
            plan.tables.into_iter().next().expect("one table").route
        };
        let (route, statements) = renamed(&route_of(before), &keyed("t", after), &route_of(after));
        let said: Vec<&str> = statements
            .iter()
            .filter_map(|statement| statement.sql.strip_prefix("alter table \"public\".\"t\" rename column "))
            .collect();
        let read: Vec<&str> = route.columns.iter().filter_map(|column| column.source.as_deref()).collect();
        assert_eq!((said.as_slice(), read.as_slice()), expected, "{before:?} {after:?}");
    }

    #[test]
    fn a_name_in_the_place_of_another_is_the_same_column() {
        let abc = &["id INTEGER", "a INTEGER", "b TEXT"];
        check(abc, &["id INTEGER", "c INTEGER", "b TEXT"], (&["\"a\" to \"c\""], &["id", "c", "b"]));
        check(
            abc,
            &["no INTEGER", "a INTEGER", "d TEXT"],
            (&["\"id\" to \"no\"", "\"b\" to \"d\""], &["no", "a", "d"]),
        );
    }

    #[test]
    fn what_may_be_another_column_is_none_of_the_old_ones() {
        let abc = &["id INTEGER", "a INTEGER", "b TEXT"];
        for after in [
            &["id INTEGER", "b TEXT", "c INTEGER"][..],
            &["id INTEGER", "c TEXT", "b TEXT"],
            &["id INTEGER", "b TEXT"],
            &["id INTEGER", "c INTEGER", "b TEXT", "d"],
            &["id INTEGER", "b INTEGER", "a TEXT"],
        ] {
            check(abc, after, (&[], &["id", "a", "b"]));
        }
    }
}
