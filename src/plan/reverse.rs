//! The way back: what notes, in PostgreSQL, which rows the application changes there, and what keeps its writes out until it may write.
//!
//! Pure text. As in SQLite, keys are logged and rows are read later; a function per table logs, and one per migration refuses. All
//! that is made here rests until it is set to fire, and bears our name.

use crate::canon::{Codec, Form, Zone};
use crate::model::name::{PgName, ident, literal};
use crate::model::schema::Affinity;
use crate::model::types::Type;
use crate::plan::capture::CONTROL;
use crate::plan::route::{ColumnRoute, Identity, Route, ScanOrder};

/// A table of the target whose changes are to be noted, by the number that SQLite's triggers know it by too.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'r> {
    pub migration: i64,
    pub id: i64,
    pub route: &'r Route,
}

/// Whether a trigger fires. Always means whatever role the session is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firing {
    Always,
    Never,
}

/// The canary's number. Tables are numbered from 1 on.
pub const CANARY: i64 = 0;

/// Notes rows one by one; partitions are handed it on.
pub const CAPTURE_ROWS: &str = "liteferry_capture";
/// Notes that a whole table was emptied.
pub const CAPTURE_TRUNCATE: &str = "liteferry_truncate";
/// Refuses writes.
pub const GUARD: &str = "liteferry_guard";
/// Refuses rows that come by a statement which names a table above this one. Where nothing stands above, no statement does.
pub const GUARD_ROWS: &str = "liteferry_guard_rows";
/// All of them, with what makes them of a table's own.
pub const TRIGGERS: [&str; 4] = [CAPTURE_ROWS, CAPTURE_TRUNCATE, GUARD, GUARD_ROWS];

impl Watched<'_> {
    /// The function that notes the table's changed keys. It runs as its owner, for the application may not write where we keep them; and in
    /// our encoding, for a key's bytes are those that are sent, and the application's session may be sent other letters.
    pub fn capture_function(&self) -> String {
        let (old, new) = (self.key("old"), self.key("new"));
        let note = |key: &str| {
            let (migration, id) = (self.migration, self.id);
            format!(
                "insert into liteferry.reverse_change (migration_id, tbl, key) values ({migration}, {id}, {key});"
            )
        };
        let body = format!(
            "begin
    if tg_op = 'TRUNCATE' then
        {}
        return null;
    end if;
    if tg_op <> 'INSERT' then
        {}
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and {new} <> {old}) then
        {}
    end if;
    return null;
end",
            note("null"),
            note(&old),
            note(&new),
        );
        let name = self.function().sql();
        format!(
            "create or replace function {name}() returns trigger language plpgsql security definer \
             set search_path = pg_catalog, pg_temp set client_encoding = 'UTF8' as {}; revoke all on function {name}() from public",
            literal(&body)
        )
    }

    /// On the table itself, which hands it on to its partitions, or on a child of it by plain inheritance.
    pub fn row_trigger(&self, table: &PgName) -> String {
        let (name, function) = (table.sql(), self.function().sql());
        format!(
            "create trigger {CAPTURE_ROWS} after insert or update or delete on {name} for each row execute function {function}(); \
             {}",
            fire(table, CAPTURE_ROWS, Firing::Never)
        )
    }

    /// On the table, and on each of its partitions, where statements arrive that name those.
    pub fn truncate_trigger(&self, table: &PgName) -> String {
        let function = self.function().sql();
        format!(
            "create trigger {CAPTURE_TRUNCATE} after truncate on {} for each statement execute function {function}(); {}",
            table.sql(),
            fire(table, CAPTURE_TRUNCATE, Firing::Never)
        )
    }

    pub fn function(&self) -> PgName {
        PgName::new("liteferry", format!("{}{}", capture_prefix(self.migration), self.id))
    }

    fn key(&self, of: &str) -> String {
        let Identity::Columns(key) = &self.route.identity else {
            panic!("table {} has no key and is not followed row by row", self.route.target)
        };
        let names: Vec<String> =
            key.iter().map(|column| format!("{of}.{}", ident(&self.route.columns[*column].target))).collect();
        format!("record_send(row({}))", names.join(", "))
    }
}

/// How the names of a migration's capture functions begin.
pub fn capture_prefix(migration: i64) -> String {
    format!("capture_{migration}_")
}

pub fn guard_name(migration: i64) -> PgName {
    PgName::new("liteferry", format!("guard_{migration}"))
}

/// Refuses with what a read-only server says, so that the application's driver takes it for one.
pub fn guard_function(migration: i64) -> String {
    let body = "begin
    raise exception using errcode = 'read_only_sql_transaction',
        message = format('liteferry: table %I.%I takes no writes here yet', tg_table_schema, tg_table_name),
        hint = 'The application still writes to SQLite; liteferry status tells when that changes.';
end";
    let name = guard_name(migration).sql();
    format!(
        "create or replace function {name}() returns trigger language plpgsql \
         set search_path = pg_catalog, pg_temp as {}; revoke all on function {name}() from public",
        literal(body)
    )
}

/// On the table, and on each of its partitions.
pub fn guard_trigger(migration: i64, table: &PgName) -> String {
    guard(migration, table, (GUARD, "insert or update or delete or truncate", "statement"))
}

/// On the table, which hands it on to its partitions, or on a child of it by plain inheritance.
pub fn row_guard_trigger(migration: i64, table: &PgName) -> String {
    guard(migration, table, (GUARD_ROWS, "insert or update or delete", "row"))
}

fn guard(migration: i64, table: &PgName, (name, events, each): (&str, &str, &str)) -> String {
    format!(
        "create trigger {name} before {events} on {} for each {each} \
         when (pg_catalog.current_setting('liteferry.writer', true) is distinct from 'liteferry') execute function {}(); {}",
        table.sql(),
        guard_name(migration).sql(),
        fire(table, name, Firing::Never)
    )
}

/// Sets one trigger of one table, its partitions apart.
pub fn fire(table: &PgName, trigger: &str, firing: Firing) -> String {
    let firing = match firing {
        Firing::Always => "enable always",
        Firing::Never => "disable",
    };
    format!("alter table only {} {firing} trigger {}", table.sql(), ident(trigger))
}

pub fn drop_trigger(table: &PgName, trigger: &str) -> String {
    format!("drop trigger if exists {} on {}", ident(trigger), table.sql())
}

pub fn drop_function(function: &PgName) -> String {
    format!("drop function if exists {}()", function.sql())
}

/// How the canary crosses: its word goes into the one row of our own table in SQLite.
pub fn canary_route() -> Route {
    let column = |source: &str, target: &str, ty: Type, affinity| ColumnRoute {
        source: Some(source.to_owned()),
        affinity,
        target: target.to_owned(),
        type_oid: ty.builtin_oid().expect("a built-in type"),
        type_sql: ty.sql(),
        codec: Codec::new(ty, Form::Native, Zone::Utc),
        not_null: true,
    };
    Route {
        source: CONTROL.to_owned(),
        target: PgName::new("liteferry", "canary"),
        columns: vec![
            column("one", "one", Type::Int8, Affinity::Integer),
            column("canary", "word", Type::Text, Affinity::Text),
        ],
        scan: ScanOrder::Rowid { name: "rowid".to_owned(), column: Some(0) },
        identity: Identity::Columns(vec![0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(keys: &[&str]) -> Route {
        let column =
            |name: &&str| ColumnRoute { target: (*name).to_owned(), ..canary_route().columns[0].clone() };
        Route {
            target: PgName::new("s", "T \"x\""),
            columns: keys.iter().map(column).collect(),
            identity: Identity::Columns((0..keys.len()).collect()),
            ..canary_route()
        }
    }

    #[test]
    fn a_function_notes_the_keys_of_what_changes() {
        let route = route(&["id", "it's $$ \"q\""]);
        let watched = Watched { migration: 7, id: 3, route: &route };
        assert_eq!(
            watched.capture_function(),
            "create or replace function \"liteferry\".\"capture_7_3\"() returns trigger language plpgsql security definer \
             set search_path = pg_catalog, pg_temp set client_encoding = 'UTF8' as 'begin
    if tg_op = ''TRUNCATE'' then
        insert into liteferry.reverse_change (migration_id, tbl, key) values (7, 3, null);
        return null;
    end if;
    if tg_op <> ''INSERT'' then
        insert into liteferry.reverse_change (migration_id, tbl, key) values (7, 3, record_send(row(old.\"id\", old.\"it''s $$ \"\"q\"\"\")));
    end if;
    if tg_op = ''INSERT'' or (tg_op = ''UPDATE'' and record_send(row(new.\"id\", new.\"it''s $$ \"\"q\"\"\")) <> record_send(row(old.\"id\", old.\"it''s $$ \"\"q\"\"\"))) then
        insert into liteferry.reverse_change (migration_id, tbl, key) values (7, 3, record_send(row(new.\"id\", new.\"it''s $$ \"\"q\"\"\")));
    end if;
    return null;
end'; revoke all on function \"liteferry\".\"capture_7_3\"() from public"
        );
    }

    #[test]
    fn every_trigger_rests_when_it_is_made() {
        let route = route(&["id"]);
        let watched = Watched { migration: 7, id: 3, route: &route };
        let table = r#""s"."T ""x""""#;
        assert_eq!(
            watched.row_trigger(&route.target),
            format!(
                r#"create trigger liteferry_capture after insert or update or delete on {table} for each row execute function "liteferry"."capture_7_3"(); alter table only {table} disable trigger "liteferry_capture""#
            )
        );
        assert_eq!(
            watched.truncate_trigger(&route.target),
            format!(
                r#"create trigger liteferry_truncate after truncate on {table} for each statement execute function "liteferry"."capture_7_3"(); alter table only {table} disable trigger "liteferry_truncate""#
            )
        );
        assert_eq!(
            guard_trigger(7, &route.target),
            format!(
                r#"create trigger liteferry_guard before insert or update or delete or truncate on {table} for each statement when (pg_catalog.current_setting('liteferry.writer', true) is distinct from 'liteferry') execute function "liteferry"."guard_7"(); alter table only {table} disable trigger "liteferry_guard""#
            )
        );
        assert_eq!(
            fire(&route.target, GUARD, Firing::Always),
            format!(r#"alter table only {table} enable always trigger "liteferry_guard""#)
        );
        assert_eq!(
            drop_trigger(&route.target, GUARD),
            format!(r#"drop trigger if exists "liteferry_guard" on {table}"#)
        );
        assert_eq!(drop_function(&guard_name(7)), r#"drop function if exists "liteferry"."guard_7"()"#);
    }
}
