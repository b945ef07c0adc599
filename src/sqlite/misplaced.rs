//! Whether the application's trees hold their rows where this SQLite looks for them. An application may register an order or a function of
//! its own under a built-in name (a NOCASE or a `lower` that knows more letters than ASCII's): then a search of ours passes rows by in
//! silence, and what we wrote would stand where the application does not look. So does a search in a damaged index.

use super::introspect::introspect;
use crate::model::fault::Fault;
use crate::model::name::{folded, ident};
use crate::model::schema::{
    IndexOrigin, IndexPart, IndexTerm, KeyOrder, SqliteColumn, SqliteIndex, SqliteSchema, SqliteTable,
    Storage, is_built_in,
};
use rusqlite::Connection;

/// A tree in which rows were not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    pub table: String,
    /// Nothing where it is the table's own, of a table without a rowid.
    pub index: Option<String>,
    /// The column that a search in it begins with, where it is one.
    pub first: Option<String>,
}

/// How many rows are looked for in each tree: so many in a row, at so many places.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    places: i64,
    rows: i64,
}

impl Sample {
    pub const THOROUGH: Sample = Sample { places: 64, rows: 64 };
    /// While changes wait.
    pub const GLANCE: Sample = Sample { places: 16, rows: 16 };
}

impl Misplaced {
    /// What is wrong, without the table's name.
    pub fn why(&self) -> String {
        let tree = self
            .index
            .as_ref()
            .map_or_else(|| "its own tree".to_owned(), |name| format!("index {}", ident(name)));
        format!(
            "rows do not stand in {tree} where SQLite looks for them: the application has an order or a function of its own under a built-in \
             name (NOCASE, lower), another version of SQLite made it by a function that differs (json_valid of NULL, before 3.45), or the \
             index is damaged"
        )
    }
}

/// Of the tables that `chosen` names, the trees in which rows were not found. Reads only, a few rows at a time.
pub fn misplaced(
    db: &Connection,
    sample: Sample,
    chosen: impl Fn(&str) -> bool,
) -> Result<Vec<Misplaced>, Fault> {
    let schema: SqliteSchema = introspect(db)?;
    let tables = schema.tables.iter().filter(|table| chosen(&table.name));
    Ok(tables.flat_map(|table| of_table(db, table, sample)).collect())
}

fn of_table(db: &Connection, table: &SqliteTable, sample: Sample) -> Vec<Misplaced> {
    // SQLite renames such a column of a subquery, so that its name would be a text there and the question another.
    let renamed = |column: &SqliteColumn| ["true", "false"].contains(&folded(&column.name).as_str());
    if table.columns.iter().any(renamed) {
        return Vec::new();
    }
    let own = match &table.storage {
        Storage::WithoutRowid { order } if order.iter().all(|key| is_built_in(&key.collation)) => {
            order.first().map(|key| (None, Some(key.column), own_terms(table, order)))
        }
        Storage::WithoutRowid { .. } | Storage::Rowid { .. } => None,
    };
    let of_index = |index: &SqliteIndex| {
        let first = index.parts.first().and_then(|part| part.term.column());
        (Some(index.name.clone()), first, terms(table, index))
    };
    let at_risk = table.indexes.iter().filter(|index| may_be_strange(table, index));
    let trees = own.into_iter().chain(at_risk.map(of_index));
    let lacking = trees.filter(|(index, _, terms)| lacks_rows(db, table, (index.as_deref(), terms), sample));
    let named = lacking.map(|(index, first, _)| Misplaced {
        table: table.name.clone(),
        index,
        first: first.map(|column| table.columns[column].name.clone()),
    });
    named.collect()
}

/// Numbers and bytes have one order. What compares by an order that is plainly the application's is told of elsewhere.
fn may_be_strange(table: &SqliteTable, index: &SqliteIndex) -> bool {
    let is_own_tree =
        index.origin == IndexOrigin::PrimaryKey && matches!(table.storage, Storage::WithoutRowid { .. });
    let is_odd = |part: &IndexPart| match &part.term {
        IndexTerm::Column(column) => {
            table.columns[*column].generated.is_some() || !part.collation.eq_ignore_ascii_case("binary")
        }
        IndexTerm::Expression(_) => true,
        IndexTerm::Rowid => false,
    };
    !is_own_tree
        && index.parts.iter().all(|part| is_built_in(&part.collation))
        && (index.origin == IndexOrigin::PrimaryKey || index.parts.iter().any(is_odd))
}

/// A value that a search goes by: its SQL, and its collation.
type Term = (String, String);

fn own_terms(table: &SqliteTable, order: &[KeyOrder]) -> Vec<Term> {
    order.iter().map(|key| (ident(&table.columns[key.column].name), ident(&key.collation))).collect()
}

fn terms(table: &SqliteTable, index: &SqliteIndex) -> Vec<Term> {
    let sql = |term: &IndexTerm| match term {
        IndexTerm::Column(column) => Some(ident(&table.columns[*column].name)),
        IndexTerm::Expression(expression) => Some(format!("({expression})")),
        IndexTerm::Rowid => None,
    };
    index.parts.iter().filter_map(|part| Some((sql(&part.term)?, ident(&part.collation)))).collect()
}

/// Whether some of the sampled rows are not found. Where the question cannot be put, for want of a function that only the application has,
/// nobody else can write the table either, which is found by compiling (`apply::unwritable`).
fn lacks_rows(
    db: &Connection,
    table: &SqliteTable,
    (index, terms): (Option<&str>, &[Term]),
    sample: Sample,
) -> bool {
    let ask = |rows: &str, binds: &[i64]| {
        let sql = question(table, (index, terms), rows);
        let asked = db.query_row(&sql, rusqlite::params_from_iter(binds), |row| row.get::<_, bool>(0));
        asked.unwrap_or(false)
    };
    let name = ident(&table.name);
    match (&table.storage, rowid(table)) {
        (Storage::WithoutRowid { order }, _) => {
            let ends = ordered(table, order).map(|by| by.join(", "));
            let rows = |by: &String| format!("select * from main.{name} order by {by} limit ?1");
            ends.iter().any(|by| ask(&rows(by), &[sample.places * sample.rows]))
        }
        (Storage::Rowid { .. }, Some(rowid)) => {
            let rows = format!(
                "select {rowid} as _liteferry_rowid, * from main.{name} not indexed where {rowid} >= ?1 order by {rowid} limit ?2"
            );
            starts(db, table, &rowid, sample).into_iter().any(|start| ask(&rows, &[start, sample.rows]))
        }
        (Storage::Rowid { .. }, None) => false,
    }
}

/// Whether one of `rows` is not found by a search in the tree. The rows bear the table's name, so that expressions can be said of them word
/// for word.
fn question(table: &SqliteTable, (index, terms): (Option<&str>, &[Term]), rows: &str) -> String {
    let name = ident(&table.name);
    let address: Vec<Term> = match (&table.storage, rowid(table)) {
        (Storage::WithoutRowid { order }, _) if index.is_some() => own_terms(table, order),
        (Storage::Rowid { .. }, Some(rowid)) => vec![(rowid, "binary".to_owned())],
        _ => Vec::new(),
    };
    let sought: Vec<&Term> = terms.iter().chain(&address).collect();
    let value = |at: usize, term: &Term| match (&table.storage, at < terms.len()) {
        (Storage::Rowid { .. }, false) => format!("_liteferry_rowid as _liteferry_{at}"),
        _ => format!("{} as _liteferry_{at}", term.0),
    };
    let values: Vec<String> = sought.iter().enumerate().map(|(at, term)| value(at, term)).collect();
    let same = sought.iter().enumerate();
    let same: Vec<String> = same
        .map(|(at, (sql, collation))| format!("{sql} collate {collation} is x._liteferry_{at}"))
        .collect();
    let found = index.and_then(|index| table.indexes.iter().find(|found| found.name == index));
    let held = found.and_then(|index| index.predicate.as_ref()).map(|predicate| format!("({predicate})"));
    let (only, and) =
        held.map_or_else(Default::default, |held| (format!(" where {held}"), format!(" and {held}")));
    let by = index.map_or_else(|| "not indexed".to_owned(), |index| format!("indexed by {}", ident(index)));
    format!(
        "select exists (select 1 from (select {} from ({rows}) as {name}{only}) as x where not exists (select 1 from main.{name} {by} where {}{and}))",
        values.join(", "),
        same.join(" and ")
    )
}

/// The order in which the table's own tree is kept, and that from its other end.
fn ordered(table: &SqliteTable, order: &[KeyOrder]) -> [Vec<String>; 2] {
    [false, true].map(|turned| {
        let direction = |key: &KeyOrder| if key.descending == turned { "" } else { " desc" };
        let part = |key: &KeyOrder| {
            format!(
                "{} collate {}{}",
                ident(&table.columns[key.column].name),
                ident(&key.collation),
                direction(key)
            )
        };
        order.iter().map(part).collect()
    })
}

fn rowid(table: &SqliteTable) -> Option<String> {
    match &table.storage {
        Storage::Rowid { rowid: Some(name), .. } => Some((*name).to_owned()),
        Storage::Rowid { rowid: None, alias } => alias.map(|alias| ident(&table.columns[alias].name)),
        Storage::WithoutRowid { .. } => None,
    }
}

/// Where to begin reading, from the smallest rowid to the largest.
fn starts(db: &Connection, table: &SqliteTable, rowid: &str, sample: Sample) -> Vec<i64> {
    let name = ident(&table.name);
    let sql =
        format!("select (select min({rowid}) from main.{name}), (select max({rowid}) from main.{name})");
    let ends = db.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let Ok((min, max)) = ends else { return Vec::new() };
    let width = (i128::from(max) - i128::from(min) + 1).max(0);
    let step = (width / i128::from(sample.places)).max(i128::from(sample.rows));
    let start = |place: i64| i64::try_from(i128::from(min) + step * i128::from(place)).ok();
    let mut starts: Vec<i64> = (0..sample.places).filter_map(start).filter(|start| *start <= max).collect();
    // What came last is the likeliest to be of another kind.
    starts.push(max.saturating_sub(sample.rows - 1).max(min));
    starts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rusqlite::functions::FunctionFlags;

    const TABLES: &str = "
        create table own(k text collate nocase, b int, v text, primary key(k, b desc)) without rowid;
        create table keyed(k text collate nocase primary key, v text);
        create table \"a b\"(id integer primary key, u text collate nocase unique, g text as (lower(u)));
        create index \"by g\" on \"a b\"(g desc); create index part on \"a b\"(lower(u), id) where lower(u) > '';
        create table beside(k text primary key, u text, n int unique) without rowid; create index u on beside(u collate nocase);
        create table plain(id integer primary key, u text unique, oid, rowid, _rowid_);";

    fn filled(db: &Connection) {
        db.execute_batch(TABLES).unwrap();
        for (at, word) in ["Zoé", "zoÉ", "~", "a", "Ä", "b_", "B-", "É", "é1", "É0", ""].iter().enumerate()
        {
            for sql in [
                "insert into own values(?1, ?2, ?1)",
                "insert or ignore into keyed values(?1, ?2)",
                "insert or ignore into \"a b\" values(?2, ?1)",
                "insert into beside values(?2 || 'é', ?1, ?2)",
                "insert into plain(id, u) values(?2, ?1)",
            ] {
                db.execute(sql, (*word, i64::try_from(at).unwrap())).unwrap();
            }
        }
    }

    fn named(db: &Connection) -> Vec<String> {
        let found = misplaced(db, Sample::THOROUGH, |_| true).unwrap();
        found
            .into_iter()
            .map(|found| format!("{} {}", found.table, found.index.unwrap_or_default()))
            .collect()
    }

    /// What the application wrote with its own words under built-in names, read by a connection that has SQLite's.
    fn strange(teach: impl Fn(&Connection)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let app = Connection::open(&path).unwrap();
        teach(&app);
        filled(&app);
        drop(app);
        named(&Connection::open(&path).unwrap())
    }

    #[test]
    fn what_sqlite_itself_put_there_is_found() {
        assert_eq!(strange(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn an_order_of_the_applications_own_under_a_built_in_name_is_seen() {
        let unicode = |a: &str, b: &str| b.to_lowercase().cmp(&a.to_lowercase());
        let found = strange(|db| db.create_collation("NOCASE", unicode).unwrap());
        assert_eq!(
            found,
            ["own ", "keyed sqlite_autoindex_keyed_1", "a b sqlite_autoindex_a b_1", "beside u"]
        );
    }

    #[test]
    fn a_function_of_the_applications_own_under_a_built_in_name_is_seen() {
        let lower = |context: &rusqlite::functions::Context<'_>| {
            context.get::<Option<String>>(0).map(|text| text.map(|text| text.to_lowercase()))
        };
        let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
        let found = strange(|db| db.create_scalar_function("lower", 1, flags, lower).unwrap());
        assert_eq!(found, ["a b by g", "a b part"]);
    }
}
