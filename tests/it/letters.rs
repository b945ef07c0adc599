//! Names in small letters, for SQL that quotes none: through every phase there and back.

use crate::existing::lines;
use crate::follow::Case;
use crate::support::{application, database, liteferry, psql, sqlite, try_psql};
use serde_json::Value;

const SOURCE: &str = "
    pragma journal_mode = wal;
    create table Users (userId integer primary key autoincrement, eMail text unique collate nocase, XMIN int,
        constraint ageOk check (XMIN > 0 or xmin is null));
    create table \"Order\" (Id text primary key, UserID int references users (USERID) on delete cascade, Total int, ÉTAT text);
    create index idxUserTotal on \"Order\" (userid, total) where total > 5;
    create table noKey (A, B);
    create view Totals as select u.userId, u.eMail as Mail, o.Total as \"theTotal\" from Users u join \"Order\" o on o.UserId = u.USERID;
    create view Second as select mail, thetotal from Totals where TheTotal > 1;
    insert into Users (eMail, XMIN) values ('a@b', 3), ('c@d', null);
    insert into \"Order\" values ('x', 1, 7, 'é'), ('y', 2, 1, 'z');
    insert into noKey values (1, 'q');";

const LOWER: &[&str] = &["--set", "target.names=lower"];

#[test]
fn names_in_small_letters_go_there_and_back() {
    let case = Case::new(SOURCE);
    let mut daemon = case.validated(LOWER);
    case.app(
        "insert into users (email) values ('e@f'); update \"order\" set TOTAL = 9 where id = 'y';
         delete from nokey; alter table Users add column nickName text; alter table noKey rename column A to someThing;
         create table LateCome (K text primary key, vAl int); insert into latecome values ('k', 1);
         update users set nickname = 'nick' where userid = 2",
    );
    let newest: i64 = application(&case.source.path)
        .query_row("select max(seq) from _liteferry_change", [], |row| row.get(0))
        .expect("capture is armed");
    daemon.until(|status| {
        status["target"]["position"]["seq"].as_i64() >= Some(newest)
            && status["gates"]["switch"]["open"] == true
    });
    assert_eq!(daemon.compared("{}")["verdict"], "equal");
    let capitals = psql(
        &case.target.url,
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relname ~ '[A-Z]'
         union select attname from pg_attribute join pg_class c on c.oid = attrelid
         where relnamespace = 'public'::regnamespace and attname ~ '[A-Z]'
         union select conname from pg_constraint where connamespace = 'public'::regnamespace and conname ~ '[A-Z]'",
    );
    assert!(capitals.is_empty(), "{capitals:?}");

    daemon.obeys("/v1/phase", r#"{"to":"switch"}"#);
    daemon.until(|status| status["phase"] == "switch" && status["gates"]["rollback"]["open"] == true);
    psql(
        &case.target.url,
        "insert into Users (eMail, nickName) values ('new', 'n'); update \"order\" set ÉTAT = 'there' where Id = 'x';
         insert into noKey (someThing) values (7); insert into LateCome values ('l', 2)",
    );
    let read = psql(&case.target.url, "select Mail from Totals order by theTotal");
    assert_eq!(read, [["a@b"], ["c@d"]].map(|row| row.map(|text| Some(text.to_owned()))));
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    daemon.until(|status| status["phase"] != "switch");
    let back = "select (select nickName from Users where eMail = 'new') || (select \"ÉTAT\" from \"Order\" where Id = 'x')
        || (select someThing from noKey) || (select sum(vAl) from LateCome)";
    let told: String =
        application(&case.source.path).query_row(back, [], |row| row.get(0)).expect("all of it came back");
    assert_eq!(told, "nthere73");
    daemon.stop();
}

/// New names would be other tables'.
#[test]
fn a_migration_keeps_the_letters_that_it_began_with() {
    let case = Case::new(SOURCE);
    let mut daemon = case.daemon(LOWER);
    daemon.until(|status| status["phase"] == "dual-write");
    daemon.stop();
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["run"]["state"] == "running");
    case.app(
        "alter table Users add column nickName text; insert into users (email, nickname) values ('e@f', 'n')",
    );
    daemon.drained(&case.source);
    let named = psql(&case.target.url, "select nickName from Users where eMail = 'e@f'");
    assert_eq!(named, [[Some("n".to_owned())]]);
    let log = daemon.log();
    assert!(
        log.contains("\"lower\" when the migration began, and \"keep\" now: it goes on as it began"),
        "{log}"
    );
    daemon.stop();
}

#[test]
fn capital_letters_are_told_of_unless_they_go() {
    let case = Case::new(SOURCE);
    let path = case.source.path.display().to_string();
    let told = |set: &[&str]| -> Vec<Value> {
        let args = [&["check", "--json", "--source", &path, "--target", &case.target.url], set].concat();
        let findings = liteferry(&args).exits_with(0).json()["findings"].as_array().expect("a list").clone();
        findings.into_iter().filter(|finding| finding["code"] == "capital_letters").collect()
    };
    let kept = told(&[]);
    let text = kept[0]["text"].as_str().expect("a text");
    assert!(text.ends_with("in quotes alone: 14 (A, B, Id, …)"), "{text}");
    assert_eq!(told(LOWER), [Value::Null; 0]);
}

/// The type is found wherever the extension was made; without it nothing begins.
#[test]
fn a_column_that_knows_no_case_may_be_citext() {
    let case = Case::new(
        "pragma journal_mode = wal;
         create table person (id integer primary key, mail text unique collate nocase default 'None', name text collate nocase);
         create view mails as select mail from person where name = 'ANN';
         insert into person values (1, 'Ann@x', 'ann'), (2, 'bob@y', 'Bob')",
    );
    let citext = ["mail", "name"].map(|column| format!("types.column.\"person.{column}\".type=citext"));
    let settings = ["--set", &citext[0], "--set", &citext[1]];
    let file = case.source.path.display().to_string();
    let check = || {
        let sides = ["check", "--source", &file, "--target", &case.target.url, "--json"];
        liteferry(&[&sides[..], &settings[..]].concat())
    };
    let told = check().exits_with(1).json();
    assert!(told.to_string().contains("extension_needed"), "{told:#}");
    psql(&case.target.url, "create schema \"Own\"; create extension citext schema \"Own\"");
    let told = check().exits_with(0).json().to_string();
    assert!(!told.contains("extension_needed") && !told.contains("compared_by_bytes"), "{told}");
    let mut daemon = case.switched(&settings);
    case.rows("set search_path = public, \"Own\"; insert into person (id, name) values (3, 'Cid'); update person set name = 'Anna' where name = 'ANN'");
    daemon.until(|status| status["reverse"]["changes"] == 0 && status["gates"]["rollback"]["open"] == true);
    daemon.obeys("/v1/phase", r#"{"to":"dual-write"}"#);
    case.app(
        "insert into person values (4, 'DORA@z', 'Dora'); update person set mail = 'BOB@y' where id = 2",
    );
    daemon.drained(&case.source);
    assert_eq!(
        lines(&case.target.url, "select id, mail, name from person order by id", "|"),
        ["1|Ann@x|Anna", "2|BOB@y|Bob", "3|None|Cid", "4|DORA@z|Dora"]
    );
    case.is_equal();
}

/// Each statement that is advised has PostgreSQL refuse what SQLite would.
#[test]
fn what_sqlite_alone_keeps_unique_is_told_with_what_keeps_it_there() {
    let source = sqlite(
        "create table t (id integer primary key, a text unique, b text collate nocase unique, c int, d text collate rtrim unique, e text unique,
             f text collate nocase unique, g text collate nocase unique, unique (c, a));
         insert into t values (1, 'a', 'B', 1, 'd', 'e', 'f', 'g')",
    );
    let target = database();
    psql(
        &target.url,
        "create extension citext;
         create table t (id bigint primary key, a text, b text unique, c int, d text, e text unique, f citext unique, g citext)",
    );
    let path = source.path.display().to_string();
    let told = || {
        let sides =
            ["check", "--source", &path, "--target", &target.url, "--set", "target.mode=existing", "--json"];
        let report = liteferry(&sides).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").clone();
        findings.into_iter().find(|finding| finding["code"] == "reverse_uniques")
    };
    let finding = told().expect("it is told");
    let text = finding["text"].as_str().expect("text");
    assert!(text.contains("does not: (a), (b), (d), (g);"), "{text}");
    let (_, statements) =
        finding["remedy"].as_str().and_then(|text| text.split_once(": ")).expect("statements");
    psql(&target.url, statements);
    psql(&target.url, "insert into t values (1, 'a', 'B', 1, 'd', 'e', 'f', 'g')");
    for same in [
        "'a', 'x', 2, 'x', 'x', 'x', 'x'",
        "'x', 'b', 2, 'x', 'x', 'x', 'x'",
        "'x', 'x', 2, 'd ', 'x', 'x', 'x'",
    ] {
        assert!(try_psql(&target.url, &format!("insert into t values (2, {same})")).is_err(), "{same}");
    }
    psql(&target.url, "delete from t");
    assert_eq!(told(), None);
}

/// No statement is advised for what SQLite alone can say.
#[test]
fn what_sqlite_keeps_unique_under_a_condition_or_by_its_rowid_is_told() {
    let source = sqlite(
        "create table t (id integer primary key, a text not null unique, d int); create unique index one on t (d) where a <> 'x';
         create unique index folded on t (lower(a)); insert into t values (1, 'a', 1)",
    );
    let target = database();
    psql(&target.url, "create table t (id bigint not null, a text primary key, d int)");
    let path = source.path.display().to_string();
    let told = || {
        let sides =
            ["check", "--source", &path, "--target", &target.url, "--set", "target.mode=existing", "--json"];
        let report = liteferry(&sides).exits_with(0).json();
        let findings = report["findings"].as_array().expect("a list").clone();
        findings.into_iter().find(|finding| finding["code"] == "reverse_uniques")
    };
    let finding = told().expect("it is told");
    let text = finding["text"].as_str().expect("text");
    assert!(text.contains("does not: (id), (d) where a <> 'x', (lower(a));"), "{text}");
    psql(
        &target.url,
        "create unique index on t (id); create unique index on t (lower(a)); create unique index on t (d) where a <> 'x'",
    );
    assert_eq!(told(), None);
}
