//! What the database declares, read inside one read transaction: from the PRAGMAs first, from the text of its statements
//! what those do not tell.
//!
//! A text is believed only as far as it agrees with the PRAGMAs; what could not be read is named in `unread`, never guessed.

use super::ddl::{self, IndexText, TableText};
use super::fault::from_sqlite;
use super::pragma::{Catalog, ColumnRow, EntryRow, ForeignKeyRows, IndexRow, TableRow};
use super::uncomputable;
use crate::model::fault::Fault;
use crate::model::name::folded;
use crate::model::schema::{
    Affinity, Deferrable, Generated, IndexOrigin, IndexPart, IndexTerm, KeyOrder, LeftOut, LeftOutKind,
    SqliteColumn, SqliteForeignKey, SqliteIndex, SqliteSchema, SqliteTable, SqliteTrigger, SqliteView,
    Storage,
};
use rusqlite::Connection;
use std::collections::HashMap;

/// Names that SQLite keeps for itself. No prefix is ours to leave out: a stranger's table may bear any name.
const INTERNAL_PREFIX: &str = "sqlite_";

/// Reads in the caller's transaction where there is one, else in a transaction of its own.
pub fn introspect(db: &Connection) -> Result<SqliteSchema, Fault> {
    if !db.is_autocommit() {
        return read_schema(Catalog { db });
    }
    let transaction =
        db.unchecked_transaction().map_err(|error| from_sqlite("begin reading the schema", error))?;
    let schema = read_schema(Catalog { db })?;
    transaction.rollback().map_err(|error| from_sqlite("end reading the schema", error))?;
    Ok(schema)
}

fn read_schema(catalog: Catalog<'_>) -> Result<SqliteSchema, Fault> {
    let schema = SqliteSchema { encoding: catalog.word("encoding")?, ..SqliteSchema::default() };
    let entries = catalog.entries()?;
    let listed = catalog.tables()?.into_iter().map(|table| (folded(&table.name), table)).collect();
    let index_texts = entries
        .iter()
        .filter(|entry| entry.kind == "index")
        .filter_map(|entry| Some((folded(&entry.name), ddl::read_index(entry.sql.as_deref()?)?)))
        .collect();
    let mut reader = Reader { catalog, listed, index_texts, schema };
    for entry in &entries {
        reader.read(entry)?;
    }
    Ok(reader.schema)
}

struct Reader<'c> {
    catalog: Catalog<'c>,
    /// By folded name, as the next.
    listed: HashMap<String, TableRow>,
    index_texts: HashMap<String, IndexText>,
    schema: SqliteSchema,
}

impl Reader<'_> {
    fn read(&mut self, entry: &EntryRow) -> Result<(), Fault> {
        if entry.name.eq_ignore_ascii_case("sqlite_sequence") {
            self.schema.sequences = self.catalog.sequences()?;
        }
        if is_internal(&entry.name) {
            return Ok(());
        }
        match (entry.kind.as_str(), entry.sql.as_ref()) {
            ("table", _) => self.read_table_entry(entry)?,
            ("view", Some(sql)) => {
                self.schema.views.push(SqliteView { name: entry.name.clone(), sql: sql.clone() });
            }
            ("trigger", Some(sql)) => self.schema.triggers.push(SqliteTrigger {
                name: entry.name.clone(),
                table: entry.table.clone(),
                sql: sql.clone(),
            }),
            ("view" | "trigger", None) => self.schema.unread.push(entry.name.clone()),
            // Indexes are read with their tables.
            _ => {}
        }
        Ok(())
    }

    fn read_table_entry(&mut self, entry: &EntryRow) -> Result<(), Fault> {
        let name = entry.name.clone();
        let Some(listed) = self.listed.get(&folded(&name)) else {
            return Err(Fault::fatal("source_corrupt", format!("find table {name:?}, which sqlite_schema names"))
                .with_remedy("Run `pragma integrity_check` with the sqlite3 shell on a copy and repair the database first."));
        };
        match listed.kind.as_str() {
            "virtual" => {
                let module = entry.sql.as_deref().and_then(ddl::read_module);
                if module.is_none() {
                    self.schema.unread.push(name.clone());
                }
                let kind = LeftOutKind::Virtual { module: module.unwrap_or_default() };
                self.schema.left_out.push(LeftOut { name, kind });
            }
            "shadow" => self.schema.left_out.push(LeftOut { name, kind: LeftOutKind::Shadow }),
            _ => {
                let table = self.read_table(entry)?;
                self.schema.tables.push(table);
            }
        }
        Ok(())
    }

    fn read_table(&mut self, entry: &EntryRow) -> Result<SqliteTable, Fault> {
        let listed = &self.listed[&folded(&entry.name)];
        let (strict, without_rowid) = (listed.strict, listed.without_rowid);
        let columns = self.catalog.columns(&entry.name)?;
        let foreign_keys = self.catalog.foreign_keys(&entry.name)?;
        let text = entry.sql.as_deref().and_then(ddl::read_table);
        let text = text.filter(|text| agrees(text, &columns, &foreign_keys));
        if text.is_none() {
            self.schema.unread.push(entry.name.clone());
        }
        let primary_key = primary_key(&columns);
        let columns: Vec<SqliteColumn> = columns.into_iter().map(column).collect();
        let mut table = SqliteTable {
            name: entry.name.clone(),
            storage: Storage::WithoutRowid { order: Vec::new() },
            strict,
            autoincrement: false,
            primary_key,
            indexes: Vec::new(),
            foreign_keys: foreign_keys.into_iter().map(|rows| foreign_key(rows, &columns)).collect(),
            checks: Vec::new(),
            on_conflict: Vec::new(),
            columns,
        };
        if strict {
            keep_any(&mut table.columns);
        }
        add_text(&mut table, text.unwrap_or_default());
        for column in &mut table.columns {
            let extra = self.catalog.column_extra(&table.name, &column.name)?;
            column.collation = extra.collation;
            table.autoincrement |= extra.autoincrement;
        }
        let key_order = self.read_indexes(&mut table)?;
        table.storage =
            if without_rowid { Storage::WithoutRowid { order: key_order } } else { rowid_storage(&table) };
        uncomputable::leave_out(self.catalog, &mut table, &mut self.schema)?;
        Ok(table)
    }

    /// Gives the order of the primary key's own index, where it has one.
    fn read_indexes(&mut self, table: &mut SqliteTable) -> Result<Vec<KeyOrder>, Fault> {
        let mut key_order = Vec::new();
        for row in self.catalog.indexes(&table.name)? {
            // Constraints have indexes under SQLite's own names.
            if row.origin == IndexOrigin::Created && is_internal(&row.name) {
                continue;
            }
            let parts = self.catalog.index_parts(&row.name)?;
            if row.origin == IndexOrigin::PrimaryKey {
                key_order = parts.iter().filter_map(key_part).collect();
            }
            let name = row.name.clone();
            match index(row, parts, self.index_texts.remove(&folded(&name))) {
                Some(index) => table.indexes.push(index),
                None => self.schema.unread.push(name),
            }
        }
        Ok(key_order)
    }
}

fn is_internal(name: &str) -> bool {
    folded(name).starts_with(INTERNAL_PREFIX)
}

fn agrees(text: &TableText, columns: &[ColumnRow], foreign_keys: &[ForeignKeyRows]) -> bool {
    text.columns.len() == columns.len()
        && text.foreign_keys.len() == foreign_keys.len()
        && text
            .columns
            .iter()
            .zip(columns)
            .all(|(told, row)| told.name == row.name && told.generated.is_some() == row.generated.is_some())
        && text.foreign_keys.iter().zip(foreign_keys).all(|(told, rows)| told.parent == rows.parent)
}

fn primary_key(columns: &[ColumnRow]) -> Vec<usize> {
    let mut key: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].key > 0).collect();
    key.sort_by_key(|at| columns[*at].key);
    key
}

fn column(row: ColumnRow) -> SqliteColumn {
    SqliteColumn {
        affinity: Affinity::of_declared(&row.declared),
        name: row.name,
        declared: row.declared,
        not_null: row.not_null,
        default: row.default,
        collation: String::new(),
        generated: row.generated.map(|stored| Generated { stored, expression: String::new() }),
    }
}

/// In a STRICT table ANY keeps values as given; in any other it is NUMERIC.
fn keep_any(columns: &mut [SqliteColumn]) {
    for column in columns.iter_mut().filter(|column| column.declared.eq_ignore_ascii_case("any")) {
        column.affinity = Affinity::Blob;
    }
}

fn foreign_key(rows: ForeignKeyRows, columns: &[SqliteColumn]) -> SqliteForeignKey {
    let at = |name: &String| columns.iter().position(|column| column.name == *name);
    SqliteForeignKey {
        name: None,
        columns: rows.from.iter().filter_map(at).collect(),
        parent: rows.parent,
        parent_columns: rows.to,
        on_update: rows.on_update,
        on_delete: rows.on_delete,
        deferrable: Deferrable::No,
    }
}

/// The text agrees with the table by column and by foreign key.
fn add_text(table: &mut SqliteTable, text: TableText) {
    table.checks = text.checks;
    table.on_conflict = text.on_conflict;
    for (column, told) in table.columns.iter_mut().zip(text.columns) {
        if let (Some(generated), Some(expression)) = (&mut column.generated, told.generated) {
            generated.expression = expression;
        }
    }
    for (foreign_key, told) in table.foreign_keys.iter_mut().zip(text.foreign_keys) {
        foreign_key.name = told.name;
        foreign_key.deferrable = told.deferrable;
    }
}

/// `None` where the index needs its text (for expressions or a WHERE) and the text does not tell the same.
fn index(row: IndexRow, mut parts: Vec<IndexPart>, text: Option<IndexText>) -> Option<SqliteIndex> {
    let is_expression = |part: &IndexPart| matches!(part.term, IndexTerm::Expression(_));
    let mut predicate = None;
    if row.partial || parts.iter().any(is_expression) {
        let text =
            text.filter(|text| text.parts.len() == parts.len() && text.predicate.is_some() == row.partial)?;
        predicate = text.predicate;
        for (part, told) in parts.iter_mut().zip(text.parts) {
            if let IndexTerm::Expression(expression) = &mut part.term {
                *expression = told;
            }
        }
    }
    Some(SqliteIndex { name: row.name, unique: row.unique, origin: row.origin, predicate, parts })
}

fn key_part(part: &IndexPart) -> Option<KeyOrder> {
    match part.term {
        IndexTerm::Column(column) => {
            Some(KeyOrder { column, collation: part.collation.clone(), descending: part.descending })
        }
        IndexTerm::Rowid | IndexTerm::Expression(_) => None,
    }
}

/// A primary key of one column that has no index of its own is the rowid; `INT PRIMARY KEY` and `INTEGER PRIMARY KEY DESC`
/// have one.
fn rowid_storage(table: &SqliteTable) -> Storage {
    let indexed = table.indexes.iter().any(|index| index.origin == IndexOrigin::PrimaryKey);
    let alias = match table.primary_key[..] {
        [column] if !indexed => Some(column),
        _ => None,
    };
    let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(|name| table.column(name).is_none());
    Storage::Rowid { alias, rowid }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::cell::CellBuf;
    use crate::model::schema::FkAction;
    use crate::sqlite::connect::SqliteFile;
    use std::path::Path;
    use std::time::Duration;
    use tempfile::TempDir;

    fn read(sql: &str) -> SqliteSchema {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(sql).unwrap();
        let schema = introspect(&db).unwrap();
        assert!(db.is_autocommit());
        schema
    }

    fn read_file(path: &Path) -> Result<SqliteSchema, Fault> {
        introspect(&SqliteFile::examine(path, Duration::from_millis(50))?.open_reader()?)
    }

    /// Puts texts into `sqlite_schema` that no CREATE statement of this library would.
    fn tampered(create: &str, tamper: &str) -> (TempDir, Result<SqliteSchema, Fault>) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("app.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(create).unwrap();
        db.execute_batch(&format!("pragma writable_schema = on; {tamper}")).unwrap();
        drop(db);
        let schema = read_file(&path);
        (directory, schema)
    }

    fn names<'a>(items: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
        items.into_iter().map(String::as_str).collect()
    }

    #[test]
    fn tables_come_in_order_of_creation_and_internal_ones_not_at_all() {
        let schema = read(
            "create table z(a); create table _LITEFERRY_change(a); create table \"a\"\"b\n'\"(b); create table m(id integer \
             primary key autoincrement); create view v as select * from z; \
             create trigger tr after insert on z begin select 1; end; analyze;",
        );
        assert_eq!(
            names(schema.tables.iter().map(|table| &table.name)),
            ["z", "_LITEFERRY_change", "a\"b\n'", "m"]
        );
        assert_eq!(names(schema.views.iter().map(|view| &view.name)), ["v"]);
        assert_eq!(names(schema.triggers.iter().map(|trigger| &trigger.name)), ["tr"]);
        assert_eq!(schema.triggers[0].table, "z");
        assert!(
            schema.tables[0].indexes.is_empty() && schema.unread.is_empty() && schema.left_out.is_empty()
        );
        assert_eq!(schema.encoding, "UTF-8");
    }

    #[test]
    fn a_column_that_only_the_application_can_compute_is_left_out_with_what_hangs_on_it() {
        let create = "create table t(a text, s as (lower(a)) stored, v as (lower(a)), w as (v || a), b text, primary key (b, a)) without rowid; \
                      create index iv on t(v); create index ib on t(b); create index iw on t(w, b);";
        let (_directory, schema) =
            tampered(create, "update sqlite_schema set sql = replace(sql, 'lower(', 'title_sort(')");
        let schema = schema.unwrap();
        let table = &schema.tables[0];
        assert_eq!(names(table.columns.iter().map(|column| &column.name)), ["a", "s", "b"]);
        assert_eq!(table.primary_key, [2, 0]);
        let part = |index: &SqliteIndex| index.parts[0].term.clone();
        let created = table.indexes.iter().filter(|index| index.origin == IndexOrigin::Created);
        assert_eq!(created.map(part).collect::<Vec<_>>(), [IndexTerm::Column(2)]);
        assert_eq!(schema.unread, ["iv", "iw"]);
        let why = "unknown function: title_sort() (SQLite result code 1)".to_owned();
        let left_out =
            |name: &str| LeftOut { name: name.into(), kind: LeftOutKind::Uncomputable { why: why.clone() } };
        assert_eq!(schema.left_out, [left_out("t.v"), left_out("t.w")]);
    }

    #[test]
    fn a_rowid_is_found_under_the_name_that_no_column_takes() {
        let alias = |alias, rowid| Storage::Rowid { alias, rowid };
        let cases = [
            ("t(a)", alias(None, Some("_rowid_"))),
            ("t(a, id integer primary key)", alias(Some(1), Some("_rowid_"))),
            ("t(a, id INTEGER, primary key(id desc))", alias(Some(1), Some("_rowid_"))),
            ("t(id integer primary key desc)", alias(None, Some("_rowid_"))),
            ("t(id int primary key)", alias(None, Some("_rowid_"))),
            ("t(a integer, b, primary key(a, b))", alias(None, Some("_rowid_"))),
            ("t(\"_ROWID_\")", alias(None, Some("rowid"))),
            ("t(_rowid_, RowId)", alias(None, Some("oid"))),
            ("t(_rowid_, rowid, oid integer primary key)", alias(Some(2), None)),
            ("t(_rowid_, rowid, oid)", alias(None, None)),
        ];
        for (table, expected) in cases {
            assert_eq!(read(&format!("create table {table}")).tables[0].storage, expected, "{table}");
        }
    }

    #[test]
    fn a_table_without_rowid_tells_the_order_of_its_key() {
        let schema = read(
            "create table t(x, a text collate nocase, b int, c collate rtrim, primary key(c desc, a, b collate nocase desc, a)) \
             without rowid;",
        );
        let table = &schema.tables[0];
        let order = |column, collation: &str, descending| KeyOrder {
            column,
            collation: collation.into(),
            descending,
        };
        assert_eq!(table.primary_key, [3, 1, 2]);
        assert_eq!(
            table.storage,
            Storage::WithoutRowid {
                order: vec![order(3, "rtrim", true), order(1, "nocase", false), order(2, "nocase", true)]
            }
        );
        assert!(table.columns[1].not_null && !table.columns[0].not_null);
    }

    #[test]
    fn columns_tell_type_affinity_default_collation_and_generation() {
        let schema = read(
            "create table t(id integer primary key autoincrement, a varchar(10) not null default 'it''s' collate NoCase, \
             b \"two words\"(3,2) default (1 + 2), c as (a || ',') , d text generated always as (lower(a)) stored, e); \
             create table s(a any, b int) strict; create table n(a any); create table copied as select 1 as x, 'a' as y;",
        );
        let table = schema.table("T").unwrap();
        assert!(table.autoincrement && !schema.tables[1].autoincrement);
        let told: Vec<_> = table
            .columns
            .iter()
            .map(|column| {
                (
                    column.declared.as_str(),
                    column.affinity,
                    column.default.as_deref(),
                    column.collation.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("INTEGER", Affinity::Integer, None, "BINARY"),
                ("varchar(10)", Affinity::Text, Some("'it''s'"), "NoCase"),
                ("two words", Affinity::Numeric, Some("1 + 2"), "BINARY"),
                ("", Affinity::Blob, None, "BINARY"),
                ("TEXT", Affinity::Text, None, "BINARY"),
                ("", Affinity::Blob, None, "BINARY"),
            ]
        );
        let generated = |stored, expression: &str| Some(Generated { stored, expression: expression.into() });
        assert_eq!(table.columns[3].generated, generated(false, "a || ','"));
        assert_eq!(table.columns[4].generated, generated(true, "lower(a)"));
        assert!(table.columns[1].not_null);
        let strict = schema.table("s").unwrap();
        assert!(strict.strict);
        assert_eq!(strict.columns[0].affinity, Affinity::Blob);
        assert_eq!(schema.table("n").unwrap().columns[0].affinity, Affinity::Numeric);
        assert_eq!(schema.table("copied").unwrap().columns.len(), 2);
        assert!(schema.unread.is_empty());
    }

    #[test]
    fn texts_that_alter_table_has_edited_are_read() {
        let schema = read(
            "create table p(id integer primary key); \
             create table t(a /* first */, b, gone check (gone <> ',') -- last\n); \
             alter table t add column c int default 5 constraint cc check (c > 0) references p(id) on delete cascade; \
             alter table t add column d as (a + 1); alter table t rename column b to \"b b\"; alter table t drop column gone; \
             alter table t rename to \"new t\";",
        );
        let table = schema.table("new t").unwrap();
        assert_eq!(names(table.columns.iter().map(|column| &column.name)), ["a", "b b", "c", "d"]);
        assert_eq!(table.checks.len(), 1);
        assert_eq!(
            (table.checks[0].name.as_deref(), table.checks[0].expression.as_str()),
            (Some("cc"), "c > 0")
        );
        assert_eq!(table.foreign_keys[0].on_delete, FkAction::Cascade);
        assert!(schema.unread.is_empty());
    }

    #[test]
    fn foreign_keys_come_in_order_of_declaration_with_their_names() {
        let schema = read(
            "create table t(a references p deferrable initially deferred, b constraint fb references \"q q\"(x) on update set \
             null on delete set default, c, d, constraint fc foreign key (d, c) references P(y, z) on delete restrict \
             foreign key (a) references t(b) deferrable);",
        );
        let told: Vec<_> = schema.tables[0]
            .foreign_keys
            .iter()
            .map(|key| {
                (
                    key.name.as_deref(),
                    &key.columns[..],
                    key.parent.as_str(),
                    names(&key.parent_columns),
                    key.deferrable,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (None, &[0][..], "p", vec![], Deferrable::InitiallyDeferred),
                (Some("fb"), &[1], "q q", vec!["x"], Deferrable::No),
                (Some("fc"), &[3, 2], "P", vec!["y", "z"], Deferrable::No),
                (None, &[0], "t", vec!["b"], Deferrable::InitiallyImmediate),
            ]
        );
        let key = &schema.tables[0].foreign_keys[1];
        assert_eq!((key.on_update, key.on_delete), (FkAction::SetNull, FkAction::SetDefault));
    }

    #[test]
    fn indexes_tell_parts_origin_and_predicate() {
        let schema = read(
            "create table t(id integer primary key, a unique, b collate nocase, g as (a + 1), unique (b, a)); \
             create unique index \"i \"\"x\" on t(b desc, lower(a) collate rtrim, id) where a > ',' and b is not null; \
             create index j on t(g);",
        );
        let indexes = &schema.tables[0].indexes;
        let told: Vec<_> = indexes
            .iter()
            .map(|index| (index.name.as_str(), index.unique, index.origin, index.parts.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("sqlite_autoindex_t_1", true, IndexOrigin::Unique, 1),
                ("sqlite_autoindex_t_2", true, IndexOrigin::Unique, 2),
                ("i \"x", true, IndexOrigin::Created, 3),
                ("j", false, IndexOrigin::Created, 1),
            ]
        );
        assert_eq!(indexes[2].predicate.as_deref(), Some("a > ',' and b is not null"));
        let parts: Vec<_> = indexes[2]
            .parts
            .iter()
            .map(|part| (&part.term, part.collation.as_str(), part.descending))
            .collect();
        assert_eq!(
            parts,
            [
                (&IndexTerm::Column(2), "nocase", true),
                (&IndexTerm::Expression("lower(a)".into()), "rtrim", false),
                (&IndexTerm::Column(0), "BINARY", false),
            ]
        );
        assert_eq!(indexes[3].parts[0].term, IndexTerm::Column(3));
    }

    #[test]
    fn sequences_keep_whatever_stands_there() {
        let schema = read(
            "create table t(id integer primary key autoincrement); insert into t values (7); \
             insert into sqlite_sequence values ('x', 'no number'), (x'00', 1), ('t', null), (null, 2);",
        );
        let told: Vec<_> = schema.sequences.iter().map(|(name, seq)| (name.as_str(), seq.clone())).collect();
        assert_eq!(
            told,
            [("t", CellBuf::Integer(7)), ("x", CellBuf::Text(b"no number".into())), ("t", CellBuf::Null)]
        );
    }

    #[test]
    fn virtual_and_shadow_tables_are_left_out_by_name() {
        let schema = read(
            "create virtual table f using fts5(a, tokenize = 'porter unicode61'); create table f_extra(a); \
             create virtual table r using RTree(id, x0, x1);",
        );
        assert_eq!(names(schema.tables.iter().map(|table| &table.name)), ["f_extra"]);
        let module = |name: &str| LeftOutKind::Virtual { module: name.into() };
        let virtuals: Vec<_> = schema
            .left_out
            .iter()
            .filter(|left| left.kind != LeftOutKind::Shadow)
            .map(|left| (left.name.as_str(), left.kind.clone()))
            .collect();
        assert_eq!(virtuals, [("f", module("fts5")), ("r", module("RTree"))]);
        assert!(schema.left_out.iter().any(|left| left.name == "f_data" && left.kind == LeftOutKind::Shadow));
    }

    #[test]
    fn modules_collations_and_functions_of_the_application_are_not_needed() {
        let (_directory, schema) = tampered(
            "create table t(a, b text collate nocase, c as (lower(a)) stored); create index i on t(b); create index j on t(upper(a)); \
             create table f(a);",
            "update sqlite_schema set sql = replace(replace(sql, 'nocase', '\"app order\"'), 'lower(', 'app_lower('); \
             update sqlite_schema set sql = 'CREATE INDEX j ON t(app_upper(a))' where name = 'j'; \
             update sqlite_schema set sql = 'CREATE VIRTUAL TABLE f USING app_module(a b)', rootpage = 0 where name = 'f';",
        );
        let schema = schema.unwrap();
        let table = schema.table("t").unwrap();
        assert_eq!(table.columns[1].collation, "app order");
        assert_eq!(table.columns[2].generated.as_ref().unwrap().expression, "app_lower(a)");
        assert_eq!(table.indexes[0].parts[0].collation, "app order");
        assert_eq!(table.indexes[1].parts[0].term, IndexTerm::Expression("app_upper(a)".into()));
        assert_eq!(schema.left_out[0].kind, LeftOutKind::Virtual { module: "app_module".into() });
    }

    #[test]
    fn a_schema_that_sqlite_cannot_parse_is_a_fault() {
        for tamper in [
            "update sqlite_schema set sql = 'create table t(' where name = 't'",
            "update sqlite_schema set sql = null where name = 't'",
            "update sqlite_schema set name = 'other' where name = 't'",
            "update sqlite_schema set rootpage = 9999 where name = 't'",
            "update sqlite_schema set name = x'ff00' where name = 't'",
        ] {
            let (_directory, schema) = tampered("create table t(a); create index i on t(a)", tamper);
            assert_eq!(schema.unwrap_err().code, "source_corrupt", "{tamper}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_named() {
        let latin = "cast(replace(cast(sql as text), 'Z', cast(x'fc' as text)) as text)";
        let (_directory, schema) = tampered(
            "create table t(a check (a <> 'Z')); create table u(a); create index i on u(a) where a <> 'Z'; \
             create view v as select 'Z';",
            &format!("update sqlite_schema set sql = {latin}"),
        );
        let schema = schema.unwrap();
        assert_eq!(schema.unread, ["t", "i", "v"]);
        assert_eq!(schema.tables.len(), 2);
        assert!(schema.tables[1].indexes.is_empty());

        let (_directory, schema) = tampered(
            "create table tZ(a)",
            &format!(
                "update sqlite_schema set sql = {latin}, name = {0}, tbl_name = {0}",
                latin.replace("sql", "name")
            ),
        );
        let fault = schema.unwrap_err();
        assert_eq!(fault.code, "source_text_not_utf8");
        assert!(fault.source.unwrap().to_string().contains("t\u{fffd}"));
    }

    #[test]
    fn names_and_widths_of_every_size_are_read() {
        let long = "n".repeat(100_000);
        let columns: Vec<String> = (0..2_000).map(|at| format!("\"c\"\"{at}\" int check (1)")).collect();
        let schema = read(&format!(
            "pragma encoding = 'UTF-16be'; create table \"{long}\"(\"\" int, \" \", \"É\", é); create table w({});",
            columns.join(", ")
        ));
        assert_eq!(schema.encoding, "UTF-16be");
        assert_eq!(schema.tables[0].name, long);
        assert_eq!(names(schema.tables[0].columns.iter().map(|column| &column.name)), ["", " ", "É", "é"]);
        assert_eq!((schema.tables[1].columns.len(), schema.tables[1].checks.len()), (2_000, 2_000));
        assert!(schema.unread.is_empty());
    }

    #[test]
    fn an_open_transaction_is_used_and_left_open() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("begin; create table t(a)").unwrap();
        assert_eq!(introspect(&db).unwrap().tables.len(), 1);
        assert!(!db.is_autocommit());
        db.execute_batch("rollback").unwrap();
        assert!(introspect(&db).unwrap().tables.is_empty());
    }

    #[test]
    fn views_that_multiply_cost_nothing() {
        let mut sql = "create view v0 as select 1 as a;".to_owned();
        for level in 1..40 {
            let below = level - 1;
            sql += &format!("create view v{level} as select x.a from v{below} x, v{below} y limit 1;");
        }
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("app.db");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        assert_eq!(read_file(&path).unwrap().views.len(), 40);
    }

    #[test]
    fn a_damaged_file_gives_a_schema_or_a_fault() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("app.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "pragma page_size = 512; create table t(id integer primary key autoincrement, a text unique, b as (lower(a))); \
             create index i on t(a, b) where a > 1; create virtual table f using fts5(a); create view v as select * from t; \
             create table w(a, b references t, primary key(b, a)) without rowid; insert into t(a) values ('x'); \
             insert into f values ('y');",
        )
        .unwrap();
        drop(db);
        let whole = std::fs::read(&path).unwrap();
        let mut seen = [0_usize; 2];
        let mut try_file = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            seen[usize::from(read_file(&path).is_ok())] += 1;
        };
        for length in (0..whole.len()).step_by(97) {
            try_file(&whole[..length]);
        }
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for at in 0..900 {
            let mut bytes = whole.clone();
            // Every byte of the header page, then places all over the file.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = if at < 512 { at } else { usize::try_from(state >> 11).unwrap() % whole.len() };
            bytes[place] ^= u8::try_from(state & 0xff).unwrap() | 1;
            try_file(&bytes);
        }
        assert!(seen[0] > 50 && seen[1] > 50, "both outcomes are met: {seen:?}");
    }
}
