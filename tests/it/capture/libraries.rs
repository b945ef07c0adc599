//! Another library than ours writes the application's file: the one of the machine's own Python.

use super::replica::{By, captured, origin, rows, writer};
use crate::support::sqlite;
use liteferry::model::cell::CellBuf;
use liteferry::sqlite::capture::arm;
use rusqlite::Connection;
use std::process::Command;

const APPLICATION: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('insert into t(u, v) values (?, ?)', ('b', 2))
db.execute('replace into t(id, u, v) values (9, ?, 1)', ('B',))
db.execute('update t set v = v + 1')
db.execute('insert into k values (1, 2)')
db.execute('update k set a = 1.0')
db.execute('insert into h values (1)')
db.commit()
db.execute('vacuum')
db.execute('delete from h')
db.commit()
print(sqlite3.sqlite_version)
";

#[test]
fn the_library_of_python_writes_under_our_triggers() {
    let file = sqlite(
        "create table t(id integer primary key, u text not null default 'd', v, g as (lower(u))); create unique index i on t(g) where v > 0;
         create unique index j on t(lower(u) || v); create table k(a, b, primary key (a, b)) without rowid; create table h(a)",
    );
    let tables = captured(&file.path, &|_| By::PrimaryKey);
    arm(&writer(&file.path), &origin(), &tables, &|| {}).expect("capture is armed");
    let ran = match Command::new("python3").arg("-c").arg(APPLICATION).arg(&file.path).output() {
        Ok(ran) => ran,
        Err(_) => return eprintln!("there is no python3 here"),
    };
    let version = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    assert!(ran.status.success(), "{version} {}", String::from_utf8_lossy(&ran.stderr));
    let db = Connection::open(&file.path).expect("the file opens");
    let keys = |table: i64| {
        rows(
            &db,
            &format!(
                "select k0, k1 from _liteferry_change where tbl = {table} group by typeof(k0), k0 order by 1, typeof(k0)"
            ),
        )
    };
    let row = |a: i64, b: CellBuf| vec![CellBuf::Integer(a), b];
    assert_eq!(keys(1), [row(1, CellBuf::Null), row(9, CellBuf::Null)], "{version}");
    assert_eq!(
        keys(2),
        [row(1, CellBuf::Integer(2)), vec![CellBuf::Real(1.0), CellBuf::Integer(2)]],
        "{version}"
    );
    assert_eq!(keys(3), [row(1, CellBuf::Null)], "{version}");
}
