//! What stands in PostgreSQL for the way back: hostile names, partitions, roles.

use super::ground::Pair;
use liteferry::model::history::Position;
use liteferry::model::name::PgName;
use liteferry::plan::reverse::Firing;
use liteferry::postgres::capture::{self as there, Part, State};
use liteferry::sqlite::capture::{self, Origin};
use liteferry::sqlite::control::{self, Writes};
use std::collections::BTreeSet;

#[test]
fn guards_refuse_all_writes_but_ours_and_capture_is_told_to_stand() {
    let long = "n".repeat(60);
    let source = format!(
        "create table \"it's \"\"q\"\" $$\" (\"k $liteferry$ \"\"x\" integer primary key, v text); create table {long}é (id integer primary key);
         create table p (id int not null primary key, v text)"
    );
    let pair = Pair::created(&source);
    let standing =
        || pair.with_session(async |session| there::standing(session, pair.migration, &pair.routes).await);
    let set = |part, firing| {
        pair.with_session(async |session| there::set_parts(session, pair.migration, &[(part, firing)]).await);
    };
    assert_eq!((standing().capture, standing().guards), (State::On, State::Off));
    set(Part::Guards, Firing::Always);
    set(Part::Capture, Firing::Never);
    assert_eq!((standing().capture, standing().guards), (State::Off, State::On));
    let tables = pair.there("select quote_ident(relname) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace");
    assert_eq!(tables.len(), 3);
    pair.with_session(async |session| {
        for table in &tables {
            for sql in [
                format!("insert into public.{table} default values"),
                format!("delete from public.{table}"),
                format!("truncate public.{table}"),
            ] {
                let refused = session.batch_execute(&format!("begin; {sql}")).await.expect_err("guarded");
                assert_eq!(refused.code().map(|code| code.code()), Some("25006"), "{sql}");
                session.batch_execute("rollback").await.expect("rolled back");
            }
            session
                .batch_execute(&format!(
                    "begin; set local liteferry.writer = 'liteferry'; delete from public.{table}; commit"
                ))
                .await
                .expect("ours");
        }
        Ok(())
    });
    set(Part::Guards, Firing::Never);
    set(Part::Capture, Firing::Always);
    pair.app(&format!(
        "insert into {} values (1, 'x')",
        tables.iter().find(|name| name.contains('$')).expect("the hostile one")
    ));
    pair.way().drain();
    assert_eq!(pair.here("select v from \"it's \"\"q\"\" $$\""), ["x"]);
    pair.app("drop trigger liteferry_truncate on p");
    let lacks_it = BTreeSet::from([PgName::new("public", "p")]);
    assert_eq!((standing().capture, standing().uncaptured), (State::Missing, lacks_it));
    pair.with_session(async |session| there::install(session, pair.migration, &pair.routes).await);
    assert_eq!(standing().capture, State::Mixed, "what fired goes on, what is new rests");
    for _ in 0..2 {
        pair.with_session(async |session| there::remove(session, pair.migration).await);
    }
    let left = "select count(*) from pg_trigger where tgname like 'liteferry%' and tgrelid <> 'liteferry.canary'::regclass";
    assert_eq!(pair.there(left), ["0"]);
    assert_eq!(pair.there("select count(*) from pg_proc where proname ~ '^(guard|capture)_[0-9]'"), ["0"]);
    pair.app("delete from p");
}

#[test]
fn keys_are_noted_alike_whatever_letters_the_application_is_answered_in() {
    let pair = Pair::created(
        "create table kept (k text not null primary key, v text); insert into kept values ('é', 'one'), ('€', 'one'), ('ü', 'one'), ('Ã©', 'one')",
    );
    let mut way = pair.way();
    // It has no euro, and its bytes of the last one are those of another key.
    pair.app(
        r"set client_encoding = 'LATIN1'; update kept set v = 'two' where k = U&'\00E9'; update kept set v = 'two' where k = U&'\20AC';
          delete from kept where k = U&'\00FC'; insert into kept values (U&'\00DF', 'new'); update kept set v = 'two' where k = U&'\00C3\00A9'",
    );
    way.drain();
    assert_eq!(pair.here("select * from kept order by k"), ["Ã©|two", "ß|new", "é|two", "€|two"]);
    pair.is_equal();
}

#[test]
fn partitions_are_noted_and_guarded_by_their_own_names() {
    let pair = Pair::mapped(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (150, 'b')",
        "create table t (id bigint primary key, v text) partition by range (id);
         create table t1 partition of t for values from (0) to (100); create table t2 partition of t for values from (100) to (200)",
    );
    let mut way = pair.way();
    pair.app("update t set id = 120 where id = 1; insert into t1 values (5, 'five'); update t2 set v = 'B' where id = 150");
    way.drain();
    assert_eq!(pair.here("select * from t order by id"), ["5|five", "120|a", "150|B"]);
    pair.app("truncate t2");
    way.drain();
    assert_eq!(pair.here("select * from t order by id"), ["5|five"]);
    pair.with_session(async |session| {
        there::set_parts(session, pair.migration, &[(Part::Guards, Firing::Always)]).await
    });
    pair.with_session(async |session| {
        assert!(session.batch_execute("insert into public.t1 values (6, 'six')").await.is_err());
        Ok(())
    });
}

/// The application's role knows nothing of ours, and the owner of the tables is no superuser.
#[test]
fn an_application_without_rights_on_ours_is_noted_all_the_same() {
    let pair =
        Pair::created("create table t (id integer primary key, v text); insert into t values (1, 'a')");
    let (owner, app) = (format!("{}_owner", pair.db.name), format!("{}_app", pair.db.name));
    pair.with_session(async |session| there::remove(session, pair.migration).await);
    pair.app(&format!(
        "create role {owner}; create role {app}; grant usage on schema public to {owner}, {app}; alter table t owner to {owner};
         alter schema liteferry owner to {owner}; grant all on schema public to {owner};
         do $$ declare r record; begin
             for r in select oid::regclass as name from pg_class where relnamespace = 'liteferry'::regnamespace and relkind = 'r' loop
                 execute format('alter table %s owner to {owner}', r.name);
             end loop;
         end $$;
         grant select, insert, update, delete, truncate on t to {app}"
    ));
    pair.with_session(async |session| {
        session.batch_execute(&format!("set role {owner}")).await.expect("the superuser may be anybody");
        there::install(session, pair.migration, &pair.routes).await?;
        there::begin_history(session, pair.migration, super::ground::BEGIN).await?;
        there::set_parts(session, pair.migration, &[(Part::Capture, Firing::Always)]).await
    });
    pair.app(&format!(
        "set role {app}; set search_path = pg_temp; create temp table reverse_change (tbl int); update public.t set v = 'b'; insert into public.t values (2, 'c')"
    ));
    pair.way().drain();
    assert_eq!(pair.here("select v from t order by id"), ["b", "c"]);
    pair.app(&format!("set role {app}; truncate t"));
    pair.way().drain();
    assert!(pair.here("select v from t").is_empty());
}

#[test]
fn a_control_table_of_an_older_version_is_widened_and_what_it_says_is_kept() {
    let pair = Pair::created("create table t (id integer primary key, v text)");
    let db = pair.sqlite();
    let captures = pair.captures(&db);
    db.execute_batch(
        "create temp table was as select * from _liteferry_control; drop table _liteferry_control;
         create table _liteferry_control(one integer primary key check (one = 1), migration text not null, epoch integer not null);
         insert into _liteferry_control select one, migration, epoch from was",
    )
    .expect("an older version");
    let read = || control::read(&db).expect("it is read").expect("it is there");
    assert_eq!((read().writes, read().reverse), (Writes::Sqlite, None));
    let standing = capture::census(&db, &captures).expect("a census").tables;
    assert_eq!(standing, capture::Standing::Altered);
    capture::rearm(&db, &captures, &|| {}).expect("armed again");
    assert!(capture::census(&db, &captures).expect("a census").is_whole());
    let elsewhere = Position { epoch: 2, ..super::ground::BEGIN };
    assert_eq!(
        control::begin_reverse(&db, elsewhere).expect_err("of another life").code,
        "reverse_history_fork"
    );
    control::begin_reverse(&db, super::ground::BEGIN).expect("opened");
    let again = Position { nonce: 1, ..super::ground::BEGIN };
    assert_eq!(control::begin_reverse(&db, again).expect_err("begun already").code, "reverse_history_fork");
    db.execute_batch("update _liteferry_control set writes = 'postgres', closed = 7, canary = 'w'")
        .expect("closed");
    let before = read();
    let origin = Origin { migration: before.migration.clone(), epoch: 1 };
    capture::arm(&db, &origin, &captures, &|| {}).expect("armed once more");
    assert_eq!(read(), before, "who takes the writes is not forgotten");
    capture::detach(&db, &|| {}).expect("detached");
    assert_eq!(control::read(&db).expect("it is read"), None);
}
