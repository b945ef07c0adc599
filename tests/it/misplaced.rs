//! An order or a function of the application's own under a built-in name: SQLite's own search passes rows by, and nothing errs.

use crate::follow::Case;
use crate::support::liteferry;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

const SCHEMA: &str = "pragma journal_mode = wal;
    create table word (word text collate nocase primary key not null, n int);
    create table tag (id integer primary key, name text collate nocase unique);
    create table own (word text collate nocase primary key, n int) without rowid;
    create table mail (id integer primary key, address text); create unique index mail_once on mail (lower(address))";

/// As the manual of a well-known driver shows it: a NOCASE that knows more letters than ASCII's, and a `lower` like it.
fn taught(case: &Case) -> Connection {
    let db = Connection::open(&case.source.path).expect("the source is there");
    let folded = |a: &str, b: &str| a.to_uppercase().cmp(&b.to_uppercase());
    db.create_collation("NOCASE", folded).expect("a collation is taken");
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    let lower = |context: &rusqlite::functions::Context<'_>| {
        context.get::<Option<String>>(0).map(|text| text.map(|text| text.to_lowercase()))
    };
    db.create_scalar_function("lower", 1, flags, lower).expect("a function is taken");
    db
}

fn write(db: &Connection) {
    for (n, word) in ["a_b", "aBC", "abD", "É", "é2", "_z", "Zoé", "zoÉ1", "ab_"].iter().enumerate() {
        let n = i64::try_from(n).expect("a small number");
        for sql in [
            "insert into word values (?1, ?2)",
            "insert into tag values (?2, ?1)",
            "insert into own values (?1, ?2)",
            "insert into mail values (?2, ?1)",
        ] {
            db.execute(sql, (*word, n)).expect("the application's words differ");
        }
    }
}

#[test]
fn trees_that_only_the_application_can_search_are_told_beforehand() {
    let case = Case::new(SCHEMA);
    write(&taught(&case));
    let told = |word: &str| {
        let source = case.source.path.display().to_string();
        let asked = liteferry(&[word, "--json", "--source", &source, "--target", &case.target.url]);
        let report = asked.json();
        let findings = [report["findings"].as_array(), report["blockers_of_run"].as_array()];
        let findings = findings.into_iter().flatten().flatten();
        let of_code = findings.filter(|finding| finding["code"] == "index_misplaced");
        let mut told: Vec<String> =
            of_code.map(|finding| format!("{} {}", finding["severity"], finding["subject"])).collect();
        told.sort();
        told
    };
    assert_eq!(
        told("check"),
        [r#""blocker" "own""#, r#""blocker" "word""#, r#""warning" "mail""#, r#""warning" "tag""#]
    );
}

/// What came only after the beginning.
#[test]
fn a_table_that_only_the_application_can_write_shuts_the_gate() {
    let case = Case::new(SCHEMA);
    let mut daemon = case.daemon(&[]);
    daemon.until(|status| status["phase"] == "dual-write");
    write(&taught(&case));
    daemon.drained(&case.source);
    daemon.obeys("/v1/phase", r#"{"to":"validate"}"#);
    daemon.until(|status| {
        let closed = status["gates"]["switch"]["closed"].as_array();
        closed.is_some_and(|gates| gates.iter().any(|gate| gate == "reverse_tables"))
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// SQLite gives them other names in a subquery, and takes what is quoted there for a text.
#[test]
fn columns_called_true_and_false_keep_no_table_from_crossing() {
    let case = Case::new(
        r#"pragma journal_mode = wal;
        create table answer (id integer primary key, "true" text, email text);
        create unique index truly on answer (lower("true")) where email is not null;
        create table own ("False" text primary key, n int) without rowid;
        insert into answer values (1, 'A', 'x'), (2, 'B', 'y'), (3, 'C', null); insert into own values ('a', 1), ('b', 2)"#,
    );
    let mut daemon = case.validated(&[]);
    case.app(
        r#"replace into answer values (9, 'b', 'z'); update or replace answer set "true" = 'a' where id = 9; replace into own values ('a', 3)"#,
    );
    // The switch carries the rest over.
    daemon.obeys("/v1/phase", r#"{"to": "switch"}"#);
    let rows = case.rows("select id from answer order by id");
    assert_eq!(rows, ["3", "9"].map(|id| vec![Some(id.to_owned())]));
}
