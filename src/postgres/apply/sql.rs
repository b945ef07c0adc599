//! The statements that change one table of the target, by its route. Pure text: names enter quoted, values never.
//!
//! All of them delete by key first and insert afterwards, so that a unique value may move between rows of one batch.

use crate::model::name::{ident, ident_list};
use crate::model::types::Type;
use crate::plan::route::{ColumnRoute, Identity, Route};
use std::ops::Range;

/// The route's key columns, by index. Rows without a key are not followed, so that there is always one.
pub fn key_of(route: &Route) -> &[usize] {
    match &route.identity {
        Identity::Columns(key) => key,
        Identity::WholeRow => panic!("table {} has no key and is not followed row by row", route.target),
    }
}

/// Deletes the row with one key.
pub fn delete(route: &Route) -> String {
    delete_where(route, 1)
}

fn delete_where(route: &Route, first: usize) -> String {
    let key = key_of(route).iter().map(|column| &route.columns[*column]).zip(first..);
    let terms: Vec<String> =
        key.map(|(column, number)| is_same(column, &ident(&column.target), &format!("${number}"))).collect();
    format!("delete from {} where {}", route.target.sql(), terms.join(" and "))
}

/// Inserts one row.
pub fn insert(route: &Route) -> String {
    format!("{} values ({})", insert_into(route), values(route, 1))
}

fn values(route: &Route, first: usize) -> String {
    let values: Vec<String> =
        (first..first + route.columns.len()).map(|number| format!("${number}")).collect();
    values.join(", ")
}

/// The word that a BEGIN leaves for as long as its transaction lasts.
const BEGUN: &str = "current_setting('liteferry.batch') = 'begun'";

/// A statement that fails by itself where it touches no row, or nothing was begun, and else answers with one.
pub fn surely(statement: &str) -> String {
    format!("with touched as ({statement} returning 1) select 1 / count(*) from touched where {BEGUN}")
}

/// A statement that does nothing where nothing was begun. It ends with its conditions.
pub fn if_begun(statement: &str) -> String {
    format!("{statement} and {BEGUN}")
}

/// How many parameters the statement takes that moves the position.
pub const ADVANCE_VALUES: usize = 10;

/// In one statement: `advance` moves the position, and the row with a key is written anew; it fails by itself where either cannot be.
/// The parameters are those of `advance`, the key and the row. Each part waits for what the one before it gives.
pub fn put_single(advance: &str, route: &Route) -> String {
    let (take, key) = (take_part(advance, route), key_of(route).len());
    let row = values(route, ADVANCE_VALUES + key + 1);
    format!(
        "{take}, written as ({} select {row} from moved where (select count(*) from gone) >= 0 returning 1) \
         select 1 / count(*) from written",
        insert_into(route)
    )
}

/// The same without a row. It does not see a row that came while it waited for the position: whoever locks that and writes rows moves it.
pub fn take_single(advance: &str, route: &Route) -> String {
    format!("{} select 1 / count(*) from moved", take_part(advance, route))
}

fn take_part(advance: &str, route: &Route) -> String {
    let delete = delete_where(route, ADVANCE_VALUES + 1);
    format!(
        "with moved as ({advance} returning 1), \
         gone as ({delete} and (select count(*) from moved) = 1 returning 1)"
    )
}

/// Tables of the session in which one table's changes gather. `number` tells those of different routes apart.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'r> {
    pub route: &'r Route,
    pub number: u32,
}

impl Stage<'_> {
    /// The columns' types alone: what the target refuses is refused by the target, where the constraint has its name.
    pub fn make(&self) -> String {
        let (keys, columns) = (ident_list(key_names(self.route)), columns(self.route));
        let (number, target) = (self.number, self.route.target.sql());
        format!(
            "create temporary table liteferry_keys_{number} on commit delete rows as select {keys} from {target} with no data;
             create temporary table liteferry_rows_{number} on commit delete rows as select {columns} from {target} with no data"
        )
    }

    pub fn unmake(&self) -> String {
        let number = self.number;
        format!("drop table pg_temp.liteferry_keys_{number}, pg_temp.liteferry_rows_{number}")
    }

    pub fn copy_keys(&self) -> String {
        let (keys, table) = (ident_list(key_names(self.route)), self.keys());
        format!("copy {table} ({keys}) from stdin (format binary)")
    }

    pub fn copy_rows(&self) -> String {
        let (columns, table) = (columns(self.route), self.rows());
        format!("copy {table} ({columns}) from stdin (format binary)")
    }

    pub fn delete(&self) -> String {
        let (target, keys) = (self.route.target.sql(), self.keys());
        format!("delete from {target} as target using {keys} as gone where {}", self.same("target", "gone"))
    }

    /// Key by key: nobody knows how few the stage holds, and a plan that guesses may read the whole table.
    pub fn delete_by_index(&self) -> String {
        let delete = self.delete();
        format!(
            "set local enable_hashjoin = off; set local enable_mergejoin = off; {delete}; \
             set local enable_hashjoin to default; set local enable_mergejoin to default"
        )
    }

    pub fn count_keys(&self) -> String {
        let (keys, table) = (ident_list(key_names(self.route)), self.keys());
        format!("select count(*) from (select distinct {keys} from {table}) as each")
    }

    /// Of rows with one key, which are then the same, the first stays.
    pub fn drop_repeated_rows(&self) -> String {
        let (rows, same) = (self.rows(), self.same("again", "first"));
        format!("delete from {rows} as again using {rows} as first where {same} and again.ctid > first.ctid")
    }

    pub fn insert_all(&self) -> String {
        format!("{} select {} from {}", insert_into(self.route), columns(self.route), self.rows())
    }

    pub fn insert_some(&self, rows: &Range<usize>) -> String {
        let row = self.row_number();
        format!("{} where {row} >= {} and {row} < {}", self.insert_all(), rows.start, rows.end)
    }

    /// Numbers what has gathered, so that `insert_some` finds its rows.
    pub fn number_rows(&self) -> String {
        let (rows, row) = (self.rows(), self.row_number());
        format!(
            "alter table {rows} add column {row} bigint generated always as identity; create index on {rows} ({row})"
        )
    }

    /// The first row's number, and the one after the last row's.
    pub fn numbers(&self) -> String {
        let row = self.row_number();
        format!("select coalesce(min({row}), 0), coalesce(max({row}) + 1, 0) from {}", self.rows())
    }

    pub fn copy_row_out(&self, row: usize) -> String {
        let (columns, rows, number) = (columns(self.route), self.rows(), self.row_number());
        format!("copy (select {columns} from {rows} where {number} = {row}) to stdout (format binary)")
    }

    fn keys(&self) -> String {
        format!("pg_temp.liteferry_keys_{}", self.number)
    }

    pub fn rows(&self) -> String {
        format!("pg_temp.liteferry_rows_{}", self.number)
    }

    /// The name of a column beside the table's own.
    fn row_number(&self) -> String {
        let mut name = String::from("liteferry_row");
        while self.route.columns.iter().any(|column| column.target == name) {
            name.push('_');
        }
        ident(&name)
    }

    fn same(&self, one: &str, other: &str) -> String {
        let term = |column: &usize| {
            let column = &self.route.columns[*column];
            let name = ident(&column.target);
            is_same(column, &format!("{one}.{name}"), &format!("{other}.{name}"))
        };
        key_of(self.route).iter().map(term).collect::<Vec<_>>().join(" and ")
    }
}

/// Where the target takes different values as equal (a collation that knows no case, 1.0 and 1.00), the bytes must be the same too: what
/// is another row to the source stays. The first term is what an index finds.
fn is_same(column: &ColumnRoute, one: &str, other: &str) -> String {
    let equal = format!("{one} {} {other}", equality(column));
    if !may_take_others_as_equal(&column.codec.ty) {
        return equal;
    }
    let text = |value| format!("{value}::pg_catalog.text collate pg_catalog.\"C\"");
    format!("{equal} and {} = {}", text(one), text(other))
}

/// The type's own operator, which alone an index of it serves: found by its name only, citext would be compared as text, row by row.
fn equality(column: &ColumnRoute) -> String {
    let schema = column.type_sql.strip_suffix(".citext").filter(|_| column.codec.ty == Type::Citext);
    schema.map_or_else(|| "=".to_owned(), |schema| format!("operator({schema}.=)"))
}

/// Of texts it is the collation that decides, which the route does not tell.
fn may_take_others_as_equal(ty: &Type) -> bool {
    match ty {
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Citext => true,
        Type::Numeric(None) | Type::Interval(_) | Type::Json | Type::Jsonb => true,
        Type::Array { .. } | Type::Other(_) => true,
        Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Bytea => false,
        Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_) => false,
        Type::Uuid | Type::Inet | Type::Cidr | Type::Macaddr | Type::Enum(_) | Type::Numeric(Some(_)) => {
            false
        }
        // SQLite takes the two zeros as equal itself.
        Type::Float4 | Type::Float8 => false,
    }
}

fn insert_into(route: &Route) -> String {
    format!("insert into {} ({}) overriding system value", route.target.sql(), columns(route))
}

fn columns(route: &Route) -> String {
    ident_list(route.columns.iter().map(|column| column.target.as_str()))
}

pub fn key_names(route: &Route) -> Vec<&str> {
    key_of(route).iter().map(|column| route.columns[*column].target.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Codec, Form, Zone};
    use crate::plan::samples::route;

    fn of_two_keys() -> Route {
        route(&["b", "a\"", "liteferry_row"], Identity::Columns(vec![1, 0]))
    }

    #[test]
    fn names_are_quoted_and_keys_stand_in_their_own_order() {
        let route = of_two_keys();
        assert_eq!(delete(&route), r#"delete from "s"."T" where "a""" = $1 and "b" = $2"#);
        assert_eq!(
            insert(&route),
            r#"insert into "s"."T" ("b", "a""", "liteferry_row") overriding system value values ($1, $2, $3)"#
        );
        let stage = Stage { route: &route, number: 7 };
        assert_eq!(
            stage.delete(),
            r#"delete from "s"."T" as target using pg_temp.liteferry_keys_7 as gone where target."a""" = gone."a""" and target."b" = gone."b""#
        );
        assert_eq!(
            stage.insert_some(&(3..5)),
            r#"insert into "s"."T" ("b", "a""", "liteferry_row") overriding system value select "b", "a""", "liteferry_row" from pg_temp.liteferry_rows_7 where "liteferry_row_" >= 3 and "liteferry_row_" < 5"#
        );
    }

    #[test]
    fn citext_is_found_by_its_own_operator() {
        let mut route = of_two_keys();
        let key = &mut route.columns[0];
        (key.codec, key.type_sql) =
            (Codec::new(Type::Citext, Form::Native, Zone::Utc), "\"X y\".citext".into());
        let statement = delete(&route);
        assert!(
            statement.contains(r#" and "b" operator("X y".=) $2 and "b"::pg_catalog.text"#),
            "{statement}"
        );
    }

    #[test]
    fn a_key_that_is_equal_in_other_bytes_is_another() {
        let mut route = of_two_keys();
        route.columns[0].codec = Codec::new(Type::Text, Form::Native, Zone::Utc);
        assert_eq!(
            delete(&route),
            r#"delete from "s"."T" where "a""" = $1 and "b" = $2 and "b"::pg_catalog.text collate pg_catalog."C" = $2::pg_catalog.text collate pg_catalog."C""#
        );
    }
}
