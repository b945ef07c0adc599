//! Widening, in `create` mode: the wider type of a column to which values came that its type does not hold, and what would not be the same
//! under it.
//!
//! A column gives way only to a type that holds every value of it, that all its present values can be turned into, and under which every
//! index, check, default, foreign key and view is what it is now. Otherwise it stays, and says why. Never a column of a table's key.

use super::create;
use super::overrides::Overrides;
use super::route::{ColumnRoute, Identity, Route};
use super::survey::Survey;
use super::typing::{self, Decision};
use super::{Plan, Statement, TablePlan};
use crate::canon::{Codec, Form};
use crate::model::name::ident;
use crate::model::schema::{SqliteSchema, SqliteTable};
use crate::model::types::Type;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a decision rests on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub schema: &'a SqliteSchema,
    /// Of all values of the table in question.
    pub survey: &'a Survey,
    pub target_schema: &'a str,
    pub overrides: &'a Overrides,
    /// Every table as it crosses now.
    pub routes: &'a [&'a Route],
}

/// A table under its wider columns.
#[derive(Clone, Debug)]
pub struct Wider {
    pub route: Route,
    pub statement: Statement,
    /// `n: bigint becomes text`, one line a column.
    pub said: Vec<String>,
}

/// A column that stays as it is, by its name in SQLite.
#[derive(Debug, PartialEq, Eq)]
pub struct Stays {
    pub column: String,
    pub why: Why,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// The operator has said which type it has.
    Set,
    /// No type that we would choose holds all of its values.
    NoType,
    InKey,
    /// What the target holds cannot be turned into the type by itself.
    NotConverted(Type),
    /// What would be lost, or other than it is.
    Depends(String),
}

impl fmt::Display for Stays {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match &self.why {
            Why::Set => write!(out, "{column}: its type is set in types.column"),
            Why::NoType => write!(out, "{column}: no type holds all of its values"),
            Why::InKey => write!(out, "{column}: it belongs to the table's key"),
            Why::NotConverted(ty) => {
                write!(out, "{column}: {} would hold its values, but is not wider", ty.sql())
            }
            Why::Depends(what) => write!(out, "{column}: {what} would not be the same"),
        }
    }
}

/// What becomes of these columns of a followed table, which the target calls so. Nothing where none becomes wider.
pub fn wider(ground: Ground<'_>, route: &Route, columns: &BTreeSet<String>) -> (Option<Wider>, Vec<Stays>) {
    let Some(table) = ground.schema.tables.iter().find(|table| table.name == route.source) else {
        return (None, Vec::new());
    };
    let mut standing = Standing::of(ground, route.clone(), &BTreeSet::new());
    let mut widened = BTreeSet::new();
    let (mut actions, mut said, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    for (at, column) in route.columns.iter().enumerate() {
        let Some(name) = column.source.as_ref().filter(|_| columns.contains(&column.target)) else {
            continue;
        };
        let decision = decided(ground, table, name);
        let exact = decision.as_ref().filter(|decision| decision.misfits == 0);
        let judged = match exact {
            Some(decision) if is_no_question_of(column, decision) => continue,
            Some(decision) => standing.widen(ground, (at, decision), &widened),
            None if is_set(ground, table, name) => Err(Why::Set),
            None => Err(Why::NoType),
        };
        match judged {
            Ok(action) => {
                let codec = &standing.route.columns[at].codec;
                widened.insert(at);
                said.push(format!("{name}: {} becomes {}", shown(&column.codec), shown(codec)));
                actions.extend(action);
            }
            Err(why) => stay.push(Stays { column: name.clone(), why }),
        }
    }
    let wider = (!said.is_empty()).then(|| Wider {
        statement: Statement {
            what: format!("wider columns of {}", route.target),
            sql: altering(route, &actions),
            fallback: None,
            required: true,
        },
        route: standing.route,
        said,
    });
    (wider, stay)
}

fn is_set(ground: Ground<'_>, table: &SqliteTable, column: &str) -> bool {
    ground.overrides.column(&table.name, column).is_some_and(|own| own.type_sql.is_some())
}

/// Its cells fit by now, or another column of their rows does not fit. What text does not hold, bytes alone do.
fn is_no_question_of(column: &ColumnRoute, decision: &Decision) -> bool {
    let narrower = column.codec.ty == Type::Text && !matches!(decision.codec.ty, Type::Text | Type::Bytea);
    decision.codec == Codec { came_back: None, ..column.codec.clone() } || narrower
}

fn shown(codec: &Codec) -> String {
    match codec.form {
        Form::Native => codec.ty.sql(),
        form => format!("{} ({form})", codec.ty.sql()),
    }
}

/// Nobody waits behind us for a lock that somebody else holds.
fn altering(route: &Route, actions: &[String]) -> String {
    let wait = format!("set local lock_timeout = '{LOCK_WAIT_MS}ms'");
    match actions {
        [] => wait,
        actions => format!("{wait}; alter table {} {}", route.target.sql(), actions.join(", ")),
    }
}

/// Readers of the table wait as long as we do. After a second PostgreSQL looks for a deadlock, and ends a transaction of the application.
const LOCK_WAIT_MS: u32 = 500;

fn decided(ground: Ground<'_>, table: &SqliteTable, column: &str) -> Option<Decision> {
    let at = table.column(column)?;
    let seen = ground.survey.tables.get(&table.name)?.columns.get(at)?;
    Some(typing::decide(table, at, Some(seen), ground.overrides))
}

/// The table as it would cross, and what the plan makes of the whole schema then.
struct Standing {
    route: Route,
    plan: Plan,
}

impl Standing {
    /// `seen`: columns of the route whose values of today count. Of all others that the target has, it is taken that they fit it.
    fn of(ground: Ground<'_>, route: Route, seen: &BTreeSet<usize>) -> Standing {
        let others = || ground.routes.iter().copied().filter(|other| other.source != route.source);
        let stated = ground.overrides.as_it_stands(others().chain([&route]));
        let mut survey = Survey::as_it_crosses(ground.schema, others().chain([&route]));
        let now = ground.survey.tables.get(&route.source).map_or(&[][..], |table| &table.columns);
        if let Some(table) = ground.schema.tables.iter().find(|table| table.name == route.source)
            && let Some(taken) = survey.tables.get_mut(&route.source)
        {
            for column in seen.iter().filter_map(|at| table.column(route.columns[*at].source.as_ref()?)) {
                if let (Some(taken), Some(now)) = (taken.columns.get_mut(column), now.get(column)) {
                    taken.clone_from(now);
                }
            }
        }
        let plan = create::plan(ground.schema, Some(&survey), ground.target_schema, &stated);
        Standing { route, plan }
    }

    /// Takes the column's wider type, and gives what is to be altered.
    fn widen(
        &mut self,
        ground: Ground<'_>,
        (column, decision): (usize, &Decision),
        widened: &BTreeSet<usize>,
    ) -> Result<Option<String>, Why> {
        if self.route.identity == Identity::WholeRow || self.is_in_key(column) {
            return Err(Why::InKey);
        }
        let (now, name) = (&self.route.columns[column], ident(&self.route.columns[column].target));
        let using = match now.codec.ty == decision.codec.ty {
            true => None,
            false => {
                let using = converted(&now.codec.ty, &decision.codec.ty, &name);
                Some(using.ok_or_else(|| Why::NotConverted(decision.codec.ty.clone()))?)
            }
        };
        let mut route = self.route.clone();
        let wider = &mut route.columns[column];
        wider.codec = decision.codec.clone().as_came_back_to(&wider.codec);
        wider.type_sql.clone_from(&decision.type_sql);
        wider.type_oid = decision.codec.ty.builtin_oid().unwrap_or(0);
        let seen = widened.iter().copied().chain([column]).collect();
        let after = Standing::of(ground, route, &seen);
        if let Some(lost) = lost(&self.plan, &after.plan) {
            return Err(Why::Depends(lost));
        }
        let fills = (self.fill(column), after.fill(column));
        let action = using.map(|using| retyped(&name, &decision.type_sql, (&using, fills))).transpose()?;
        *self = after;
        Ok(action)
    }

    fn is_in_key(&self, column: usize) -> bool {
        match &self.route.identity {
            Identity::Columns(key) => key.contains(&column),
            Identity::WholeRow => false,
        }
    }

    fn fill(&self, column: usize) -> &str {
        let table = self.plan.tables.iter().find(|table| table.route.source == self.route.source);
        let source = &self.route.columns[column].source;
        let at = |table: &TablePlan| table.route.columns.iter().position(|one| one.source == *source);
        let found = table.and_then(|table| table.fills.get(at(table)?));
        found.map_or("", String::as_str)
    }
}

/// PostgreSQL turns no default into another type's: it is taken away and given anew.
fn retyped(name: &str, type_sql: &str, (using, fills): (&str, (&str, &str))) -> Result<String, Why> {
    let alter = format!("alter column {name}");
    let retype = format!("{alter} type {type_sql} using {using}");
    match fills {
        ("", "") => Ok(retype),
        (_, fill) => match fill.strip_prefix(" default ") {
            Some(default) => Ok(format!("{alter} drop default, {retype}, {alter} set default {default}")),
            None => Err(Why::Depends("its default".to_owned())),
        },
    }
}

/// The first thing that stands in the one plan and not so in the other.
fn lost(before: &Plan, after: &Plan) -> Option<String> {
    let standing: BTreeMap<&str, &str> =
        made(after).map(|one| (one.what.as_str(), one.sql.as_str())).collect();
    let is_lost = |one: &&Statement| standing.get(one.what.as_str()) != Some(&one.sql.as_str());
    made(before).find(is_lost).map(|one| one.what.clone())
}

fn made(plan: &Plan) -> impl Iterator<Item = &Statement> {
    plan.tables.iter().flat_map(TablePlan::after_load).chain(&plan.views)
}

/// What a wider type holds of a narrower one's value, where there is such a thing. What it holds otherwise than SQLite does is compared, and
/// read again, as is every row of the table.
fn converted(from: &Type, to: &Type, name: &str) -> Option<String> {
    let whole = matches!(from, Type::Int2 | Type::Int4 | Type::Int8 | Type::Bool);
    let number = whole || matches!(from, Type::Float4 | Type::Float8 | Type::Numeric(_));
    let bytes = matches!(from, Type::Bytea);
    let widens = match to {
        Type::Text => !bytes && *from != Type::Text,
        Type::Numeric(None) => number,
        Type::Float8 => whole || *from == Type::Float4,
        Type::Int8 => whole && *from != Type::Int8,
        Type::Int4 => matches!(from, Type::Bool | Type::Int2),
        Type::Int2 => *from == Type::Bool,
        Type::Bool | Type::Float4 | Type::Numeric(Some(_)) | Type::Varchar(_) | Type::Bpchar(_) => false,
        Type::Citext | Type::Bytea | Type::Date | Type::Time(_) | Type::Timestamp(_) => false,
        Type::Timestamptz(_) | Type::Interval(_) | Type::Uuid | Type::Json | Type::Jsonb => false,
        Type::Inet | Type::Cidr | Type::Macaddr | Type::Oid => false,
        Type::Enum(_) | Type::Array { .. } | Type::Other(_) => false,
    };
    let number_of = if *from == Type::Bool { format!("{name}::integer") } else { name.to_owned() };
    widens.then(|| format!("{number_of}::{}", to.sql()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::cell::Cell::{self, Blob, Integer, Null, Real, Text};
    use crate::model::schema::{Deferrable, FkAction, IndexOrigin, SqliteCheck, SqliteForeignKey};
    use crate::plan::overrides::ColumnOverride;
    use crate::plan::samples::{self, index, keyed, part};

    /// A table `t` whose column `v` holds the first values at setup, and all of them now.
    fn widened(
        table: &SqliteTable,
        more: &[SqliteTable],
        (first, later): (&[Cell<'static>], &[Cell<'static>]),
    ) -> String {
        widened_under(&Overrides::default(), (table, more), (first, later))
    }

    fn widened_under(
        overrides: &Overrides,
        (table, more): (&SqliteTable, &[SqliteTable]),
        (first, later): (&[Cell<'static>], &[Cell<'static>]),
    ) -> String {
        let schema = samples::schema(std::iter::once(table).chain(more).cloned().collect());
        let surveyed = |cells: &[Cell<'static>]| {
            let width = table.columns.len();
            let row = |cell: &Cell<'static>| {
                let mut row = vec![Null; width];
                (row[0], row[1]) = (Integer(1), *cell);
                row
            };
            let rows: Vec<Vec<Cell<'_>>> = cells.iter().map(row).collect();
            let rows: Vec<&[Cell<'_>]> = rows.iter().map(Vec::as_slice).collect();
            samples::survey(&schema, &[("t", &rows)], overrides)
        };
        let plan = create::plan(&schema, Some(&surveyed(first)), "public", overrides);
        let routes: Vec<&Route> = plan.tables.iter().map(|table| &table.route).collect();
        let survey = surveyed(&[first, later].concat());
        let ground =
            Ground { schema: &schema, survey: &survey, target_schema: "public", overrides, routes: &routes };
        let all = table.columns.iter().map(|column| column.name.clone()).collect();
        let (wider, stay) = wider(ground, routes[0], &all);
        let altered = wider.map(|wider| {
            let alter = wider.statement.sql.split("; ").nth(1).unwrap_or("nothing altered");
            alter.replace("alter table \"public\".\"t\" ", "").replace("alter column \"v\" ", "")
        });
        altered.into_iter().chain(stay.iter().map(Stays::to_string)).collect::<Vec<_>>().join(" | ")
    }

    fn of(declared: &str) -> SqliteTable {
        keyed("t", &["id INTEGER", &format!("v {declared}"), "w INTEGER"])
    }

    const TEXT: &str = "type text collate \"C\" using \"v\"::text";

    #[test]
    fn a_column_gives_way_to_what_the_copy_would_have_chosen() {
        let cases: [(&str, &[Cell<'static>], &[Cell<'static>], &str); 12] = [
            ("INTEGER", &[Integer(1)], &[Integer(i64::MAX)], ""),
            ("INTEGER", &[Integer(1)], &[Real(1.5)], "type double precision using \"v\"::double precision"),
            ("INTEGER", &[Integer(i64::MAX)], &[Real(1.5)], "type numeric using \"v\"::numeric"),
            ("INTEGER", &[Integer(1)], &[Text(b"x")], TEXT),
            ("BOOLEAN", &[Integer(1)], &[Integer(2)], "type smallint using \"v\"::integer::smallint"),
            ("BOOLEAN", &[Integer(1)], &[Integer(1 << 40)], "type bigint using \"v\"::integer::bigint"),
            ("BOOLEAN", &[Integer(1)], &[Text(b"x")], "type text collate \"C\" using \"v\"::integer::text"),
            ("DATE", &[Text(b"2024-02-29")], &[Text(b"soon")], TEXT),
            ("UUID", &[Text(b"12345678-1234-5678-1234-567812345678")], &[Text(b"none")], TEXT),
            ("JSON", &[Text(b"{}")], &[Text(b"{a:1}")], TEXT),
            ("REAL", &[Real(0.5)], &[Text(b"x")], TEXT),
            ("TEXT", &[Text(b"a")], &[Blob(b"\0")], "v: no type holds all of its values"),
        ];
        for (declared, first, later, expected) in cases {
            assert_eq!(widened(&of(declared), &[], (first, later)), expected, "{declared} {later:?}");
        }
    }

    #[test]
    fn the_operators_word_for_a_type_holds() {
        let own = ColumnOverride { type_sql: Some("bigint".to_owned()), form: None, zone: None };
        let set = Overrides { columns: [("t.v".to_owned(), own)].into(), ..Overrides::default() };
        let later: (&[Cell<'static>], &[Cell<'static>]) = (&[Integer(1)], &[Text(b"x")]);
        assert_eq!(widened_under(&set, (&of("INTEGER"), &[]), later), "v: its type is set in types.column");
    }

    #[test]
    fn a_default_comes_along() {
        let mut table = of("INTEGER");
        table.columns[1].default = Some("7".to_owned());
        let drop = "drop default, ";
        assert_eq!(
            widened(&table, &[], (&[Integer(1)], &[Text(b"x")])),
            format!("{drop}{TEXT}, set default '7'")
        );
    }

    #[test]
    fn what_would_be_lost_keeps_a_column_as_it_is() {
        let later = || (&[Integer(1)][..], &[Text(b"x")][..]);
        let mut plain = of("INTEGER");
        plain.indexes.push(index("plain", IndexOrigin::Created, vec![part(1)]));
        assert_eq!(
            widened(&plain, &[], later()),
            TEXT,
            "an index of the same words is built anew by PostgreSQL"
        );
        let mut folded = of("INTEGER");
        folded.indexes.push(index("folded", IndexOrigin::Created, vec![part(1)]));
        folded.indexes[0].parts[0].collation = "NOCASE".to_owned();
        assert_eq!(widened(&folded, &[], later()), "v: index \"folded\" on \"t\" would not be the same");
        let mut checked = of("BOOLEAN");
        checked.checks.push(SqliteCheck { name: Some("on".to_owned()), expression: "v = 1".to_owned() });
        let kept = widened(&checked, &[], (&[Integer(1)], &[Integer(2)]));
        assert!(kept.contains("\"on\"") && kept.ends_with("would not be the same"), "{kept}");
    }

    #[test]
    fn a_column_that_refers_to_another_or_finds_rows_stays() {
        let key = SqliteForeignKey {
            name: None,
            columns: vec![1],
            parent: "p".to_owned(),
            parent_columns: Vec::new(),
            on_update: FkAction::NoAction,
            on_delete: FkAction::NoAction,
            deferrable: Deferrable::No,
        };
        let mut child = of("INTEGER");
        child.foreign_keys.push(key);
        let parent = keyed("p", &["id INTEGER"]);
        let kept = widened(&child, &[parent], (&[Integer(1)], &[Text(b"x")]));
        assert!(kept.contains("foreign key") && kept.ends_with("would not be the same"), "{kept}");
        let mut keyed_by_it = of("INT");
        keyed_by_it.storage = crate::model::schema::Storage::WithoutRowid {
            order: vec![crate::model::schema::KeyOrder {
                column: 1,
                collation: "BINARY".to_owned(),
                descending: false,
            }],
        };
        keyed_by_it.primary_key = vec![1];
        let kept = widened(&keyed_by_it, &[], (&[Integer(1)], &[Text(b"x")]));
        assert_eq!(kept, "v: it belongs to the table's key");
    }
}
