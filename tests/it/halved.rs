//! Texts of a database in UTF-16 that no UTF-8 holds, or that SQLite's own way from UTF-8 does not leave as they are.

use crate::follow::Case;
use crate::reverse::ground::Pair;
use crate::support::{application, database, liteferry, sqlite};

/// Half a surrogate pair before a letter, the other half, one at the end, and one whole pair.
const HALVED: [&[u16]; 3] = [&[0x61, 0xd800, 0x62], &[0x61, 0xdc00, 0x62], &[0x61, 0xd800]];
/// What is well-formed, and looks like the first and the second of these once SQLite has made UTF-8 of them.
const WHOLE: [&[u16]; 4] = [&[0x61, 0xd800, 0xdc62], &[0xfeff, 0x61], &[0xfffe], &[0xffff]];

fn text(encoding: &str, units: &[u16]) -> String {
    let bytes_of = if encoding == "UTF-16le" { u16::to_le_bytes } else { u16::to_be_bytes };
    let hex: String =
        units.iter().flat_map(|unit| bytes_of(*unit)).map(|byte| format!("{byte:02x}")).collect();
    format!("cast(x'{hex}' as text)")
}

fn begun(encoding: &str) -> String {
    format!(
        "pragma encoding = '{encoding}'; pragma journal_mode = wal;
         create table t (id integer primary key, v text);
         create table k (v text not null primary key, n integer) without rowid;
         create table r (v text not null primary key, n integer);
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 40)
         insert into t select i, 'word ' || i from n;
         insert into k select v, id from t; insert into r select v, id from t;"
    )
}

#[test]
fn half_a_pair_in_a_utf16_text_is_never_taken_for_a_whole_one() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let mut sql = begun(encoding);
        for (at, units) in HALVED.iter().chain(&WHOLE).enumerate() {
            sql += &format!("insert into t values ({}, {});", 100 + at, text(encoding, units));
        }
        let (source, target) = (sqlite(&sql), database());
        let path = source.path.display().to_string();
        let copied = liteferry(&["copy", "--json", "--source", &path, "--target", &target.url]).exits_with(0);
        assert_eq!(copied.json()["success"], true);
        let rows = |sql: &str| crate::support::psql(&target.url, sql);
        let at = |id: &str, v: Option<&str>| vec![Some(id.to_owned()), v.map(str::to_owned)];
        let expected = [
            at("100", None),
            at("101", None),
            at("102", None),
            at("103", Some("a\u{10062}")),
            at("104", Some("\u{feff}a")),
            at("105", Some("\u{fffe}")),
            at("106", Some("\u{ffff}")),
        ];
        assert_eq!(rows("select id, v from t where id >= 100 order by id"), expected, "{encoding}");
        // The code units in hexadecimal, and half a pair.
        let raw = "select reason, encode(substr(raw, 1, length(raw) - 3), 'escape'), encode(substr(raw, length(raw) - 2), 'hex') \
                   from liteferry.ledger order by key::text";
        let kept = |units: &[u16]| {
            let hex = text(encoding, units)["cast(x'".len()..].split('\'').next().map(str::to_owned);
            vec![Some("not-text".to_owned()), hex, Some("eda080".to_owned())]
        };
        assert_eq!(rows(raw), HALVED.map(kept), "{encoding}");
    }
}

#[test]
fn texts_and_keys_of_utf16_are_followed_as_they_are() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let case = Case::new(&begun(encoding));
        let mut daemon = case.daemon(&[]);
        daemon.until(|status| status["phase"] == "dual-write");
        for (at, units) in WHOLE.iter().chain(&HALVED).enumerate() {
            let text = text(encoding, units);
            case.app(&format!("insert into t values ({}, {text})", 100 + at));
            case.app(&format!("insert into k values ({text}, 1); insert into r values ({text}, 1)"));
        }
        daemon.drained(&case.source);
        for table in ["k", "r"] {
            let there = case.rows(&format!("select count(*) from {table}"));
            assert_eq!(there, [[Some("44".to_owned())]], "{encoding}: a key that is a text crosses");
            let held = format!(
                "select count(*) from liteferry.ledger where source_table = '{table}' and standing = 'row-held'"
            );
            // Each of the three rows stands there with both of its cells.
            assert_eq!(case.rows(&held), [[Some("6".to_owned())]], "{encoding} {table}");
        }
        case.is_equal();
        case.app(&format!(
            "update k set n = 2; update r set n = 2; delete from k where v = {}; delete from r where v = {}",
            text(encoding, HALVED[0]),
            text(encoding, WHOLE[3])
        ));
        daemon.drained(&case.source);
        case.is_equal();
        let held = case.rows("select source_table, count(*) from liteferry.ledger where standing = 'row-held' group by 1 order by 1");
        let count = |table: &str, rows: &str| vec![Some(table.to_owned()), Some(rows.to_owned())];
        assert_eq!(held, [count("k", "4"), count("r", "6")], "{encoding}");
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn the_way_back_gives_utf16_every_character_and_leaves_half_a_pair_alone() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let (half, other) = (text(encoding, HALVED[0]), text(encoding, WHOLE[2]));
        let pair = Pair::created(&format!(
            "{} create table u (id integer primary key, x text unique, v text);
             insert into u select id, v, {half} from t; insert into u values (50, {other}, 'y');",
            begun(encoding)
        ));
        let mut way = pair.way();
        // Values that change places are laid aside with their whole rows.
        pair.app(
            "begin; update u set x = 'z' where id = 1; update u set x = 'word 1' where id = 2; update u set x = 'word 2' where id = 1; commit;
             insert into r values (U&'\\FFFF', 5), (U&'a\\FFFEb', 6); update u set x = U&'\\FFFFc' where id = 50; update t set v = U&'\\FFFE' where id = 3",
        );
        way.drain();
        let db = application(&pair.file.path);
        let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("it is counted");
        assert_eq!(
            count(&format!("select count(*) from u where cast(v as blob) = cast({half} as blob)")),
            40
        );
        let (last, between) = (text(encoding, &[0xffff]), text(encoding, &[0x61, 0xfffe, 0x62]));
        assert_eq!(count(&format!("select count(*) from r where v in ({last}, {between})")), 2);
        assert_eq!(
            count(&format!("select count(*) from t where id = 3 and v = {}", text(encoding, &[0xfffe]))),
            1
        );
        assert_eq!(
            count(&format!("select count(*) from u where x = {}", text(encoding, &[0xffff, 0x63]))),
            1
        );
        pair.app("update r set n = 7 where v = U&'\\FFFF'; delete from r where v = U&'a\\FFFEb'");
        way.drain();
        assert_eq!(count("select group_concat(n) = '7' from r where n > 4 and v not like 'word%'"), 1);
        pair.is_equal();
    }
}
