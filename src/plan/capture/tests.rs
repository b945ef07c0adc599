//! Tests of this folder: the texts that go into the application's database, and by which key they log.

use super::*;
use crate::canon::{Codec, Form};
use crate::model::finding::Severity;
use crate::model::name::PgName;
use crate::model::schema::{
    Affinity, Generated, IndexOrigin, IndexPart, IndexTerm, KeyOrder, SqliteTrigger, SqliteView,
};
use crate::model::types::Type;
use crate::plan::route::{ColumnRoute, ScanOrder};
use crate::plan::samples::{self, index, keyed, part, table};

fn rowid() -> CaptureKey {
    CaptureKey::Rowid { name: "_rowid_".to_owned() }
}

fn columns(names: &[&str], rowid: Option<&str>) -> CaptureKey {
    CaptureKey::Columns {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        rowid: rowid.map(str::to_owned),
    }
}

fn captured(table: SqliteTable, key: CaptureKey) -> CaptureTable {
    let schema = samples::schema(vec![table.clone()]);
    capture_table(&schema, &table, key, 7).expect("it can be captured")
}

/// Each trigger from its name on.
fn texts(captured: &CaptureTable) -> Vec<&str> {
    let prefix = "create trigger _liteferry_7_";
    captured.triggers.iter().map(|trigger| trigger.sql.strip_prefix(prefix).expect("our own words")).collect()
}

fn unique(name: &str, parts: Vec<IndexPart>) -> crate::model::schema::SqliteIndex {
    crate::model::schema::SqliteIndex { unique: true, ..index(name, IndexOrigin::Created, parts) }
}

#[test]
fn a_plain_table_gets_three_short_triggers() {
    let captured = captured(keyed("T \"1", &["id INTEGER", "v"]), rowid());
    let log = "insert into _liteferry_change(tbl,nonce,k0)";
    assert_eq!(
        texts(&captured),
        [
            format!(
                "bu before update on \"T \"\"1\" begin {log} values(7,random(),old.\"_rowid_\");{log} select \
                 7,random(),new.\"_rowid_\" where old.\"_rowid_\"<>new.\"_rowid_\"; end"
            ),
            format!("bd before delete on \"T \"\"1\" begin {log} values(7,random(),old.\"_rowid_\"); end"),
            format!("ai after insert on \"T \"\"1\" begin {log} values(7,random(),new.\"_rowid_\"); end"),
        ]
    );
    assert_eq!(captured.pin, None);
}

#[test]
fn a_unique_index_is_probed_as_it_compares() {
    let mut t = keyed("t", &["id INTEGER", "a TEXT", "b INT", "g"]);
    (t.columns[2].not_null, t.columns[2].default) = (true, Some("'5'".to_owned()));
    t.columns[3].generated = Some(Generated { stored: false, expression: "b + 1".to_owned() });
    let nocase = |column| IndexPart { collation: "NOCASE".to_owned(), ..part(column) };
    let expression = |text: &str| IndexPart { term: IndexTerm::Expression(text.to_owned()), ..part(0) };
    let probe = |parts: Vec<IndexPart>, predicate: Option<&str>| {
        let mut t = t.clone();
        let index = unique("i", parts);
        t.indexes =
            vec![crate::model::schema::SqliteIndex { predicate: predicate.map(str::to_owned), ..index }];
        let captured = captured(t, rowid());
        let insert = captured.triggers.iter().find(|trigger| trigger.name.ends_with("bi"));
        insert.map(|trigger| {
            let from = trigger.sql.rfind(" from \"t\"").expect("a probe");
            trigger.sql[from + 1..].trim_end_matches("; end").to_owned()
        })
    };
    let cases = [
        (probe(vec![part(1)], None), "from \"t\" as x where x.\"a\"=new.\"a\""),
        (
            probe(vec![nocase(1), part(2)], Some("b > 0")),
            "from \"t\" as x where x.\"a\"=new.\"a\" collate \"NOCASE\" and x.\"b\"=ifnull(new.\"b\",5) and (b > 0)",
        ),
        (probe(vec![part(1)], Some("t.b > 0")), "from \"t\" where \"t\".\"a\"=new.\"a\" and (t.b > 0)"),
        (
            probe(vec![expression("lower(a)")], None),
            "from \"t\" as x where (lower(a))=(select lower(a) from (select new.\"a\" as \"a\")) collate \"BINARY\"",
        ),
        (
            probe(vec![expression("a collate nocase || 'b'")], None),
            "from \"t\" as x where (a collate nocase || 'b') collate \"BINARY\"=(select a collate nocase || 'b' from (select \
             new.\"a\" as \"a\"))",
        ),
        (
            probe(vec![part(3)], None),
            "from \"t\" as x where x.\"g\"=+(select b + 1 from (select ifnull(new.\"b\",5) as \"b\"))",
        ),
        (
            probe(vec![expression("g * 2")], None),
            "from \"t\" as x where (g * 2)=(select g * 2 from (select *,(b + 1) as \"g\" from (select ifnull(new.\"b\",5) as \
             \"b\"))) collate \"BINARY\"",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found.as_deref(), Some(expected));
    }
    // Rows with the same rowid are the same row.
    assert_eq!(probe(vec![part(0), part(1)], None), None);
}

#[test]
fn a_key_that_is_known_beforehand_is_logged_beforehand_only() {
    let mut t = table("t", &["k TEXT", "v"]);
    t.primary_key = vec![0];
    t.indexes = vec![index("pk", IndexOrigin::PrimaryKey, vec![part(0)])];
    let names = |captured: &CaptureTable| {
        let name = |trigger: &Trigger| trigger.name.trim_start_matches("_liteferry_7_").to_owned();
        captured.triggers.iter().map(name).collect::<Vec<_>>()
    };
    t.columns[0].not_null = true;
    assert_eq!(names(&captured(t.clone(), columns(&["k"], None))), ["bu", "bd", "bi"]);
    let nullable = captured(t.clone(), columns(&["k"], Some("_rowid_")));
    assert_eq!(names(&nullable), ["bu", "bd", "bi", "ai"]);
    assert!(nullable.triggers[3].sql.contains("on \"t\" when new.\"k\" is null begin"));
    // What a default of chance gives is known afterwards; what replaces NULL also after an update.
    t.columns[0].default = Some("hex(randomblob(16))".to_owned());
    assert_eq!(names(&captured(t, columns(&["k"], None))), ["bu", "bd", "bi", "ai", "au"]);
}

#[test]
fn a_table_whose_rowids_could_change_is_pinned() {
    let mut t = table("t", &["g", "a b"]);
    t.columns[0].generated = Some(Generated { stored: false, expression: "a".to_owned() });
    let pin = captured(t.clone(), rowid()).pin.expect("it has no index");
    assert_eq!(pin.sql, "create index _liteferry_pin_7 on \"t\"(\"a\" collate binary) where 0");
    let mut own = index("_liteferry_pin_7", IndexOrigin::Created, vec![part(1)]);
    own.predicate = Some("0".to_owned());
    t.indexes = vec![own];
    assert!(captured(t.clone(), rowid()).pin.is_some(), "our own pin is no reason to go without");
    t.indexes = vec![index("i", IndexOrigin::Created, vec![part(1)])];
    assert_eq!(captured(t, rowid()).pin, None);
}

#[test]
fn the_key_is_the_routes_identity() {
    let route = |sources: &[Option<&str>], identity: Identity| {
        let codec = Codec::new(Type::Text, Form::Native, Default::default());
        let column = |source: &Option<&str>| ColumnRoute {
            source: source.map(str::to_owned),
            affinity: Affinity::Text,
            target: String::new(),
            type_oid: 0,
            type_sql: String::new(),
            codec: codec.clone(),
            not_null: false,
        };
        Route {
            source: "t".to_owned(),
            target: PgName::new("public", "t"),
            columns: sources.iter().map(column).collect(),
            scan: ScanOrder::Whole,
            identity,
        }
    };
    let by = |at: usize| route(&[Some("id"), Some("u"), Some("w"), None], Identity::Columns(vec![at]));
    let mut t = keyed("t", &["id INTEGER", "u TEXT", "w TEXT"]);
    t.columns[1].not_null = true;
    assert_eq!(key_of(&by(0), &t), Some(rowid()));
    assert_eq!(key_of(&by(1), &t), Some(columns(&["u"], None)));
    assert_eq!(key_of(&by(2), &t), Some(columns(&["w"], Some("_rowid_"))));
    assert_eq!(key_of(&by(3), &t), Some(rowid()));
    assert_eq!(key_of(&route(&[Some("id")], Identity::WholeRow), &t), None);
    t.storage = Storage::Rowid { alias: None, rowid: None };
    assert_eq!(key_of(&by(1), &t), Some(columns(&["u"], None)));
    assert_eq!(key_of(&by(2), &t), None, "nothing names a row whose key is NULL");
    assert_eq!(key_of(&by(3), &t), None);
    let order = vec![KeyOrder { column: 1, collation: "BINARY".to_owned(), descending: false }];
    t.storage = Storage::WithoutRowid { order };
    assert_eq!((key_of(&by(1), &t), key_of(&by(2), &t)), (Some(columns(&["u"], None)), None));
}

#[test]
fn unreadable_declarations_are_refused() {
    let mut t = keyed("t", &["id INTEGER", "g"]);
    t.columns[1].generated = Some(Generated { stored: false, expression: String::new() });
    t.indexes = vec![unique("i", vec![part(1)])];
    let mut schema = samples::schema(vec![t.clone()]);
    let findings = capture_table(&schema, &t, rowid(), 1).expect_err("its text is not known");
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["capture_index_unread"]);
    schema.unread = vec!["t".to_owned(), "some_index".to_owned()];
    let findings = preflight(&schema);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].code, findings[0].severity), ("capture_index_unread", Severity::Blocker));
}

#[test]
fn what_is_ours_is_told_by_name_and_looks() {
    let mut schema = samples::schema(vec![
        table("_liteferry_change", &["seq", "tbl", "nonce", "k0", "k1"]),
        table("_liteferry_CONTROL", &["one", "migration", "epoch"]),
        table("_liteferry_change2", &["a"]),
        table("t", &["a"]),
    ]);
    let trigger = |name: &str, sql: &str| SqliteTrigger {
        name: name.to_owned(),
        table: "t".to_owned(),
        sql: sql.to_owned(),
    };
    schema.triggers = vec![
        trigger("_liteferry_1_bu", "CREATE TRIGGER _liteferry_1_bu … insert into _liteferry_change(tbl)"),
        trigger("_liteferry_1_zz", "CREATE TRIGGER _liteferry_1_zz … insert into _liteferry_change(tbl)"),
    ];
    assert!(preflight(&schema).is_empty());
    remove_ours(&mut schema);
    assert_eq!(
        schema.tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(),
        ["_liteferry_change2", "t"]
    );
    assert_eq!(schema.triggers.len(), 1);
    schema.tables.push(table("_liteferry_change", &["seq", "tbl", "nonce", "k1"]));
    schema.views = vec![SqliteView { name: "_Liteferry_pin_3".to_owned(), sql: String::new() }];
    schema.triggers.push(trigger("_liteferry_12_ai", "CREATE TRIGGER _liteferry_12_ai …"));
    let taken: Vec<String> = preflight(&schema).into_iter().map(|finding| finding.subject).collect();
    assert_eq!(taken, ["_liteferry_change", "_liteferry_12_ai", "_Liteferry_pin_3"]);
}

#[test]
fn the_log_has_no_constraint_but_its_rowid() {
    assert_eq!(log_table_sql(2), "create table _liteferry_change(seq integer primary key,tbl,nonce,k0,k1)");
    assert_eq!(log_table_sql(0), log_table_sql(1));
}

#[test]
fn the_control_table_grows_column_by_column() {
    let names = |sql: &str| -> Vec<String> {
        let (_, rest) = sql.split_once('(').expect("columns");
        rest.split(',').filter_map(|column| column.split(' ').next()).map(str::to_owned).collect()
    };
    let whole = names(&control_table_sql());
    assert!(control_columns_sql(&whole).is_empty());
    for known in 3..=whole.len() {
        let columns = &whole[..known];
        assert!(is_our_table(CONTROL, columns.iter().map(String::as_str)), "{columns:?}");
        let added = control_columns_sql(columns);
        assert_eq!(added.len(), whole.len() - known);
        assert!(
            added.iter().zip(&whole[known..]).all(|(sql, name)| sql.contains(&format!(" {name} "))),
            "{added:?}"
        );
    }
    for other in [&["one", "migration"][..], &["one", "migration", "epoch", "closed"], &["a"]] {
        assert!(!is_our_table(CONTROL, other.iter().copied()), "{other:?}");
    }
    assert_eq!(
        control_columns_sql(&whole[..4])[0],
        "alter table _liteferry_control add column closed integer"
    );
}

#[test]
fn a_key_that_only_the_application_can_compare_is_refused() {
    let mut t = table("t", &["a TEXT", "b TEXT"]);
    t.columns[0].collation = "unicase".to_owned();
    let schema = samples::schema(vec![t.clone()]);
    let refused = |key| capture_table(&schema, &t, key, 1).err().map(|findings| findings[0].code);
    assert_eq!(refused(columns(&["b", "a"], None)), Some("capture_collation"));
    assert_eq!(refused(columns(&["b"], None)), None);
    assert_eq!(refused(rowid()), None);
}
