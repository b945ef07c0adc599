//! The way back in PostgreSQL: puts capture and guards on the target's tables, lets them fire or rest, and takes them out.
//!
//! Every function works in the session it is given, and in its transaction where one is open; it never commits one. What is there is
//! read from the catalog, never assumed, so that tables and partitions which came or went are no surprise.

use super::connect::Session;
use super::fault;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::model::name::PgName;
use crate::plan::reverse::{
    self, CAPTURE_ROWS, CAPTURE_TRUNCATE, Firing, GUARD, GUARD_ROWS, Watched, capture_prefix, guard_name,
};
use crate::plan::route::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::try_join;
use tokio_postgres::types::{ToSql, Type};

/// How one kind of triggers stands, over all tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Some table lacks its own.
    Missing,
    Off,
    On,
    /// Some fire and some do not.
    Mixed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub capture: State,
    pub guards: State,
    /// The tables, and parts of tables, that lack a trigger of their capture.
    pub uncaptured: BTreeSet<PgName>,
}

/// What of the way back is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Capture,
    Guards,
}

/// Which side the application writes to: what has to fire in PostgreSQL follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Sqlite,
    Postgres,
}

impl Written {
    fn parts(self) -> [(Part, Firing); 2] {
        match self {
            Written::Sqlite => [(Part::Guards, Firing::Always), (Part::Capture, Firing::Never)],
            Written::Postgres => [(Part::Capture, Firing::Always), (Part::Guards, Firing::Never)],
        }
    }
}

/// A trigger that is there.
struct Found {
    table: PgName,
    trigger: String,
    enabled: String,
    /// From the table that this is a partition of.
    inherited: bool,
}

/// A table, or something that it is made of.
struct Member {
    /// The table.
    of: String,
    name: PgName,
    /// Whether row triggers of the table are handed on to it.
    handed_on: bool,
    /// Whether statements that name another table reach it, which is above what is ours.
    from_above: bool,
}

impl Member {
    fn wants(&self) -> impl Iterator<Item = (PgName, String)> {
        let triggers = reverse::TRIGGERS.iter().filter(|trigger| self.from_above || **trigger != GUARD_ROWS);
        triggers.map(|trigger| (self.name.clone(), (*trigger).to_owned()))
    }
}

/// A table on which not everything is where it should be.
pub struct Touched {
    pub route: Arc<Route>,
    /// Something that was there has been touched.
    is_amiss: bool,
    /// What lacks its own triggers, as whatever is made after `validate` does.
    newcomers: Vec<PgName>,
}

const TRIGGERS: &str = include_str!("sql/reverse_triggers.sql");
const PARTITIONS: &str = include_str!("sql/partitions.sql");
const FUNCTIONS: &str = "select p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'liteferry' and (starts_with(p.proname, $1) or p.proname = $2)";

const UNWRITTEN: &str = include_str!("sql/unwritten.sql");

/// Puts in what is missing, at rest; what fires goes on firing. The functions are always made anew, for a table's key may have changed.
pub async fn install(
    session: &Session,
    migration: i64,
    tables: &BTreeMap<i64, Arc<Route>>,
) -> Result<(), Fault> {
    let there = names(&found(session, migration).await?);
    run(session, &reverse::guard_function(migration), "make the guard").await?;
    for (id, route) in tables {
        let watched = Watched { migration, id: *id, route };
        let doing = format!("put the way back on table {}", route.target);
        run(session, &watched.capture_function(), &doing).await?;
        let lacks = |table: &PgName, trigger: &str| !there.contains(&(table.clone(), trigger.to_owned()));
        for Member { name, handed_on, from_above, .. } in members(session, [route]).await? {
            // A child by plain inheritance is handed nothing.
            if !handed_on && lacks(&name, CAPTURE_ROWS) {
                run(session, &watched.row_trigger(&name), &doing).await?;
            }
            if lacks(&name, CAPTURE_TRUNCATE) {
                run(session, &watched.truncate_trigger(&name), &doing).await?;
            }
            if lacks(&name, GUARD) {
                run(session, &reverse::guard_trigger(migration, &name), &doing).await?;
            }
            if from_above && !handed_on && lacks(&name, GUARD_ROWS) {
                run(session, &reverse::row_guard_trigger(migration, &name), &doing).await?;
            }
        }
    }
    // A row trigger is handed on to partitions as it was made, which is before it rests.
    for one in found(session, migration).await?.iter().filter(|one| is_new(one, &there)) {
        set_one(session, one, Firing::Never).await?;
    }
    Ok(())
}

/// Lets parts of it fire, or rest, on every table that has them.
pub async fn set_parts(session: &Session, migration: i64, parts: &[(Part, Firing)]) -> Result<(), Fault> {
    let found = found(session, migration).await?;
    let statement = |one: &Found| {
        let (_, due) = parts.iter().find(|(part, _)| part.holds(&one.trigger))?;
        (one.enabled != enabled_word(*due)).then(|| reverse::fire(&one.table, &one.trigger, *due))
    };
    // One round trip, however many tables: the application's writers may be waiting.
    let all: Vec<String> = found.iter().filter_map(statement).collect();
    run(session, &all.join("; "), "set the triggers of the way back").await
}

/// Lets fire what has to, and rest what has to.
pub async fn set(session: &Session, migration: i64, written: Written) -> Result<(), Fault> {
    set_parts(session, migration, &written.parts()).await
}

/// Takes out everything of the migration, and forgets what was noted. It is no fault if nothing is there.
pub async fn remove(session: &Session, migration: i64) -> Result<(), Fault> {
    for one in found(session, migration).await?.iter().filter(|one| !one.inherited) {
        let doing = format!("take the way back off table {}", one.table);
        run(session, &reverse::drop_trigger(&one.table, &one.trigger), &doing).await?;
    }
    let doing = "take the way back out";
    let failed = |error| fault::of(error, doing);
    let (prefix, guard) = (capture_prefix(migration), guard_name(migration).name);
    for row in session.query(FUNCTIONS, &[&prefix, &guard]).await.map_err(failed)? {
        run(session, &reverse::drop_function(&PgName::new("liteferry", row.get::<_, &str>(0))), doing)
            .await?;
    }
    for table in ["canary", "reverse", "reverse_change"] {
        let sql = format!("delete from liteferry.{table} where migration_id = $1");
        session.execute(&sql, &[&migration]).await.map_err(failed)?;
    }
    Ok(())
}

/// Whether everything is where it should be, and fires.
pub async fn standing(
    session: &Session,
    migration: i64,
    tables: &BTreeMap<i64, Arc<Route>>,
) -> Result<Standing, Fault> {
    let found = found(session, migration).await?;
    let there = names(&found);
    let members = members(session, tables.values()).await?;
    let wanted: Vec<(PgName, String)> = members.iter().flat_map(Member::wants).collect();
    let lacking = |part: Part| {
        let missing = wanted.iter().filter(|name| part.holds(&name.1) && !there.contains(*name));
        missing.map(|(table, _)| table.clone()).collect::<BTreeSet<PgName>>()
    };
    let state = |part: Part| {
        if !lacking(part).is_empty() {
            return State::Missing;
        }
        let of_part = || found.iter().filter(|one| part.holds(&one.trigger));
        let fires = |one: &Found| one.enabled == enabled_word(Firing::Always);
        match (of_part().any(fires), of_part().any(|one| !fires(one))) {
            (true, false) => State::On,
            (false, _) => State::Off,
            (true, true) => State::Mixed,
        }
    };
    Ok(Standing {
        capture: state(Part::Capture),
        guards: state(Part::Guards),
        uncaptured: lacking(Part::Capture),
    })
}

/// The tables on which somebody has touched it: capture that does not fire where it should notes nothing, a guard that rests lets strangers in.
/// So it is where a table has a part that was made since. A table that is gone, or bears another name, is none of them.
pub async fn touched(
    session: &Session,
    migration: i64,
    (tables, written): (&BTreeMap<i64, Arc<Route>>, Written),
) -> Result<BTreeMap<i64, Touched>, Fault> {
    let (found, members) = try_join!(found(session, migration), members(session, tables.values()))?;
    let there = names(&found);
    let parts = written.parts();
    let amiss = |one: &&Found| {
        parts.iter().any(|(part, due)| part.holds(&one.trigger) && one.enabled != enabled_word(*due))
    };
    let amiss: BTreeSet<&PgName> = found.iter().filter(amiss).map(|one| &one.table).collect();
    let lacks = |member: &&Member| member.wants().any(|name| !there.contains(&name));
    let mut lacking: BTreeMap<&str, Vec<PgName>> = BTreeMap::new();
    for member in members.iter().filter(lacks) {
        lacking.entry(&member.of).or_default().push(member.name.clone());
    }
    // A partition's name does not tell whose it is: it stands for all tables.
    let stray = amiss.iter().any(|table| !tables.values().any(|route| route.target == **table));
    let look = |(id, route): (&i64, &Arc<Route>)| {
        let newcomers = lacking.remove(route.target.sql().as_str()).unwrap_or_default();
        let is_amiss = stray || amiss.contains(&route.target) || newcomers.contains(&route.target);
        let route = Arc::clone(route);
        (is_amiss || !newcomers.is_empty()).then_some((*id, Touched { route, is_amiss, newcomers }))
    };
    Ok(tables.iter().filter_map(look).collect())
}

/// Of what was found touched the tables that may have been written to unnoted. Asked once everything is in its place again, in the same
/// transaction: nobody writes to these tables then.
pub async fn written_to(
    session: &Session,
    touched: &BTreeMap<i64, Touched>,
    written: Written,
) -> Result<BTreeMap<i64, Arc<Route>>, Fault> {
    let newcomers: Vec<String> =
        touched.values().flat_map(|one| one.newcomers.iter().map(PgName::sql)).collect();
    let rows = session.query(UNWRITTEN, &[&newcomers, &(written == Written::Sqlite)]).await;
    let rows = rows.map_err(|error| fault::of(error, "look whether new partitions were written to"))?;
    let unwritten: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let may_be_other =
        |one: &Touched| one.is_amiss || !one.newcomers.iter().all(|name| unwritten.contains(&name.sql()));
    let others = touched.iter().filter(|(_, one)| may_be_other(one));
    Ok(others.map(|(id, one)| (*id, Arc::clone(&one.route))).collect())
}

/// Begins a history of changes here as in SQLite, whose position it is; what was noted before it counts for nothing.
pub async fn begin_history(session: &Session, migration: i64, at: Position) -> Result<(), Fault> {
    let failed = |error| fault::of(error, "open the way back");
    let clear = "delete from liteferry.reverse_change where migration_id = $1";
    let begin = "insert into liteferry.reverse (migration_id, epoch, mark, nonce, timeline) values ($1, $2, $3, $4, liteferry.timeline())
        on conflict (migration_id) do update set epoch = excluded.epoch, mark = excluded.mark, nonce = excluded.nonce, timeline = excluded.timeline";
    let place: [&(dyn ToSql + Sync); 4] = [&migration, &at.epoch, &at.seq, &at.nonce];
    let place = place.map(|part| (part, Type::INT8));
    let done = try_join!(session.query_typed(clear, &place[..1]), session.query_typed(begin, &place));
    done.map(drop).map_err(failed)
}

/// Writes a new word for the canary, and gives it: once SQLite shows it, the whole way is open.
pub async fn send_canary(session: &Session, migration: i64) -> Result<String, Fault> {
    let sql = "insert into liteferry.canary (migration_id, word) values ($1, gen_random_uuid()::text)
        on conflict (migration_id) do update set word = excluded.word returning word";
    let row = session.query_one(sql, &[&migration]).await;
    row.map(|row| row.get(0)).map_err(|error| fault::of(error, "send the canary"))
}

impl Part {
    fn holds(self, trigger: &str) -> bool {
        match self {
            Part::Capture => trigger == CAPTURE_ROWS || trigger == CAPTURE_TRUNCATE,
            Part::Guards => trigger == GUARD || trigger == GUARD_ROWS,
        }
    }
}

async fn found(session: &Session, migration: i64) -> Result<Vec<Found>, Fault> {
    let (prefix, guard) = (capture_prefix(migration), guard_name(migration).name);
    let rows = session.query_typed(TRIGGERS, &[(&prefix, Type::TEXT), (&guard, Type::TEXT)]).await;
    let rows = rows.map_err(|error| fault::of(error, "look for the way back"))?;
    let found = |row: &tokio_postgres::Row| Found {
        table: PgName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)),
        trigger: row.get(2),
        enabled: row.get(3),
        inherited: row.get(4),
    };
    Ok(rows.iter().map(found).collect())
}

/// The tables and what they are made of: a statement that names a part fires no trigger of the whole. Of a table that is gone nothing.
async fn members(
    session: &Session,
    routes: impl IntoIterator<Item = &Arc<Route>>,
) -> Result<Vec<Member>, Fault> {
    let targets: Vec<String> = routes.into_iter().map(|route| route.target.sql()).collect();
    let rows = session.query_typed(PARTITIONS, &[(&targets, Type::TEXT_ARRAY)]).await;
    let rows =
        rows.map_err(|error| fault::of(error, format!("list the partitions of {}", targets.join(", "))))?;
    let member = |row: &tokio_postgres::Row| Member {
        of: row.get(0),
        name: PgName::new(row.get::<_, &str>(1), row.get::<_, &str>(2)),
        handed_on: row.get(3),
        from_above: row.get(4),
    };
    Ok(rows.iter().map(member).collect())
}

fn names(found: &[Found]) -> BTreeSet<(PgName, String)> {
    found.iter().map(|one| (one.table.clone(), one.trigger.clone())).collect()
}

fn is_new(one: &Found, before: &BTreeSet<(PgName, String)>) -> bool {
    one.enabled != enabled_word(Firing::Never) && !before.contains(&(one.table.clone(), one.trigger.clone()))
}

/// As `tgenabled` has it.
fn enabled_word(firing: Firing) -> &'static str {
    match firing {
        Firing::Always => "A",
        Firing::Never => "D",
    }
}

async fn set_one(session: &Session, one: &Found, firing: Firing) -> Result<(), Fault> {
    let doing = format!("set trigger {} of table {}", one.trigger, one.table);
    run(session, &reverse::fire(&one.table, &one.trigger, firing), &doing).await
}

/// Several statements at once are one transaction, where none is open.
async fn run(session: &Session, sql: &str, doing: &str) -> Result<(), Fault> {
    session.batch_execute(sql).await.map_err(|error| fault::of(error, doing))
}
