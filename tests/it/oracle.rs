//! The oracle: whether the copied tables and the ledger together are the source, cell for cell.
//!
//! It asks both databases itself and trusts neither the program's digests nor its verdict. Plain types are read by decoders of
//! its own; for the others it takes the route's codec at its word.

use crate::support::{TestDatabase, psql};
use liteferry::canon::{Codec, Form};
use liteferry::journal::record::route_from_text;
use liteferry::model::cell::{Cell, CellBuf, Class};
use liteferry::model::key::key_json;
use liteferry::model::name::{ident, literal};
use liteferry::model::types::Type;
use liteferry::plan::route::{Identity, Route};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, NoTls};

type Row = Vec<CellBuf>;

/// A value as PostgreSQL sends it; nothing for NULL.
type Sent = Option<Vec<u8>>;

type Unit = fn([u8; 2]) -> u16;

/// A text in UTF-16 as the ledger has it: in UTF-8, or in hexadecimal with half a pair behind it where there is none.
fn told(bytes: &[u8], unit: Unit) -> Vec<u8> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    match String::from_utf16(&units) {
        Ok(text) if bytes.len() == units.len() * 2 => text.into_bytes(),
        _ => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            [hex.as_bytes(), b"\xed\xa0\x80"].concat()
        }
    }
}

/// One line of the ledger.
struct Entry {
    key: String,
    column: String,
    cell: CellBuf,
    standing: String,
}

/// What is to be compared: one source file and the schema it was copied into.
pub struct Oracle<'a> {
    source: Connection,
    target: &'a str,
    migration: i64,
}

impl<'a> Oracle<'a> {
    pub fn new(source: &Path, target: &'a TestDatabase, schema: &str) -> Oracle<'a> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let source = Connection::open_with_flags(source, flags).expect("the source can be opened");
        source.collation_needed(|db, name| db.create_collation(name, str::cmp)).expect("a callback is taken");
        let sql = format!("select id from liteferry.migration where target_schema = {}", literal(schema));
        let id = psql(&target.url, &sql)[0][0].clone().expect("every migration has a number");
        Oracle { source, target: &target.url, migration: id.parse().expect("a number") }
    }

    /// Panics with table and cell where the source cannot be had back.
    pub fn check(&self) {
        let routes = self.routes();
        let routed: BTreeSet<&str> = routes.iter().map(|route| route.source.as_str()).collect();
        let tables = self.tables();
        assert_eq!(routed, tables.iter().map(String::as_str).collect(), "every table has a route");
        for route in &routes {
            let columns = self.columns(&route.source);
            let crossing: Vec<&str> =
                route.columns.iter().filter_map(|column| column.source.as_deref()).collect();
            assert_eq!(crossing, columns, "every column of {} has a route", route.source);
            let mut expected = self.source_rows(route);
            let mut given_back = self.given_back(route);
            expected.sort_by_cached_key(bytes_of);
            given_back.sort_by_cached_key(bytes_of);
            for (expected, found) in expected.iter().zip(&given_back) {
                assert_eq!(found, expected, "a row of {}: {route:#?}", route.source);
            }
            assert_eq!(given_back.len(), expected.len(), "rows of {}", route.source);
        }
    }

    /// How many of the source's rows a query counts.
    pub fn count(&self, sql: &str) -> i64 {
        self.source.query_row(sql, [], |row| row.get(0)).expect("SQLite counts")
    }

    pub fn tables(&self) -> Vec<String> {
        let sql = "select name from pragma_table_list where schema = 'main' and type = 'table' and name not like 'sqlite\\_%' escape '\\'";
        self.names(sql)
    }

    /// All columns, generated ones too.
    fn columns(&self, table: &str) -> Vec<String> {
        self.names(&format!("select name from pragma_table_xinfo({}) where hidden <> 1", literal(table)))
    }

    fn names(&self, sql: &str) -> Vec<String> {
        let mut statement = self.source.prepare(sql).expect("SQLite knows its own pragmas");
        let names = statement.query_map([], |row| row.get(0)).expect("names are read");
        names.map(|name| name.expect("names are text")).collect()
    }

    fn routes(&self) -> Vec<Route> {
        let rows = psql(
            self.target,
            &format!(
                "select route::text from liteferry.route where migration_id = {} order by ordinal",
                self.migration
            ),
        );
        let route = |row: &Vec<Option<String>>| {
            route_from_text(row[0].as_deref().expect("a route")).expect("it is readable")
        };
        rows.iter().map(route).collect()
    }

    fn source_rows(&self, route: &Route) -> Vec<Row> {
        let own: Vec<String> =
            self.columns(&route.source).iter().map(|name| name.to_ascii_lowercase()).collect();
        let rowid =
            ["rowid", "_rowid_", "oid"].into_iter().find(|name| !own.iter().any(|column| column == name));
        let term = |source: &Option<String>| match source {
            Some(name) => format!("x.{}", ident(name)),
            None => format!("x.{}", rowid.expect("a rowid was kept, so SQL reaches it")),
        };
        let terms: Vec<String> = route.columns.iter().map(|column| term(&column.source)).collect();
        let unit = self.unit();
        // The units of a text, where it is kept in units: what SQLite makes of half a surrogate pair is not asked.
        let units = unit.iter().flat_map(|_| terms.iter().map(|term| format!("cast({term} as blob)")));
        let read: Vec<String> = terms.iter().cloned().chain(units).collect();
        let sql = format!("select {} from main.{} as x", read.join(", "), ident(&route.source));
        let mut statement = self.source.prepare(&sql).expect("the table can be read");
        let mut rows = statement.query([]).expect("the table can be read");
        let mut found = Vec::new();
        while let Some(row) = rows.next().expect("rows can be read") {
            let held = |at: usize| row.get_ref(at).expect("it has the column");
            let read = |at: usize| match (cell(held(at)), unit) {
                (CellBuf::Text(_), Some(unit)) => {
                    CellBuf::Text(told(held(at + terms.len()).as_blob().expect("bytes"), unit))
                }
                (cell, _) => cell,
            };
            found.push((0..terms.len()).map(read).collect());
        }
        found
    }

    /// How two bytes make a unit, in a database that keeps its texts in UTF-16.
    fn unit(&self) -> Option<Unit> {
        match self.names("select encoding from pragma_encoding")[0].as_str() {
            "UTF-16le" => Some(u16::from_le_bytes),
            "UTF-16be" => Some(u16::from_be_bytes),
            _ => None,
        }
    }

    /// The source's rows as target and ledger tell them.
    fn given_back(&self, route: &Route) -> Vec<Row> {
        let (sent, ledger) = self.target_rows(route);
        match &route.identity {
            Identity::Columns(key) => given_back_by_key(route, key, &sent, ledger),
            Identity::WholeRow => given_back_whole(route, sent, &ledger),
        }
    }

    fn target_rows(&self, route: &Route) -> (Vec<Vec<Sent>>, Vec<Entry>) {
        let columns: Vec<String> = route.columns.iter().map(|column| ident(&column.target)).collect();
        let rows = format!("select {} from {}", columns.join(", "), route.target.sql());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let (client, connection) =
                tokio_postgres::connect(self.target, NoTls).await.expect("the server answers");
            let driver = tokio::spawn(connection);
            let sent = client.query(&rows, &[]).await.expect("the table can be read");
            let width = columns.len();
            let sent =
                sent.iter().map(|row| (0..width).map(|at| row.get::<_, Raw>(at).0).collect()).collect();
            let ledger = entries(&client, (self.migration, &route.source)).await;
            drop(client);
            driver.await.expect("the connection is driven to its end").expect("it ends well");
            (sent, ledger)
        })
    }
}

async fn entries(client: &Client, (migration, table): (i64, &str)) -> Vec<Entry> {
    let sql = "select key, column_name, class, raw, standing from liteferry.ledger where migration_id = $1 and source_table = $2 order by id";
    let rows = client.query(sql, &[&migration, &table]).await.expect("the ledger can be read");
    let entry = |row: &tokio_postgres::Row| {
        let class = Class::from_word(row.get(2)).expect("a storage class");
        let cell = Cell::from_raw(class, row.get(3)).expect("the cell's own bytes").to_buf();
        Entry { key: row.get(0), column: row.get(1), cell, standing: row.get(4) }
    };
    rows.iter().map(entry).collect()
}

fn given_back_by_key(route: &Route, key: &[usize], sent: &[Vec<Sent>], ledger: Vec<Entry>) -> Vec<Row> {
    let mut by_key: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
    for entry in ledger {
        let row = by_key.entry(entry.key.clone()).or_default();
        let column = format!("{} {} {}", route.source, entry.key, entry.column);
        assert!(row.insert(entry.column.clone(), entry).is_none(), "{column} stands there twice");
    }
    let mut rows = Vec::new();
    for sent in sent {
        let cells: Row =
            route.columns.iter().zip(sent).map(|(column, sent)| read(&column.codec, sent)).collect();
        let name = key_json(key.iter().map(|at| cells[*at].as_cell()));
        let mut told = by_key.remove(&name).unwrap_or_default();
        let mended = route.columns.iter().zip(cells).zip(sent).map(|((column, cell), sent)| {
            let Some(entry) = told.remove(&column.target) else { return cell };
            assert_eq!(entry.standing == "null", sent.is_none(), "{} {name} {}", route.source, column.target);
            assert_ne!(entry.standing, "row-held", "{} {name} is in the target", route.source);
            entry.cell
        });
        rows.push(mended.collect());
        assert!(told.is_empty(), "the ledger of {} tells of columns that are not", route.source);
    }
    for (name, mut held) in by_key {
        let mut cell = |target: &String| held.remove(target).expect("a held row is in the ledger whole");
        let entries: Vec<Entry> = route.columns.iter().map(|column| cell(&column.target)).collect();
        assert!(entries.iter().all(|entry| entry.standing == "row-held"), "{} {name}", route.source);
        rows.push(entries.into_iter().map(|entry| entry.cell).collect());
    }
    rows
}

/// Rows without a key stand in the ledger whole, one after the other, where one of their cells has not crossed; a row of the target
/// that looks as such a row must look is that row.
fn given_back_whole(route: &Route, mut sent: Vec<Vec<Sent>>, ledger: &[Entry]) -> Vec<Row> {
    let width = route.columns.len();
    let mut rows: Vec<Row> = Vec::new();
    assert_eq!(ledger.len() % width, 0, "{}: a row is told whole or not at all", route.source);
    for told in ledger.chunks(width) {
        let of =
            |column: &String| told.iter().find(|entry| entry.column == *column).expect("a row is told whole");
        let told: Vec<&Entry> = route.columns.iter().map(|column| of(&column.target)).collect();
        rows.push(told.iter().map(|entry| entry.cell.clone()).collect());
        if told[0].standing == "row-held" {
            continue;
        }
        let look: Vec<Sent> =
            route.columns.iter().zip(&told).map(|(column, told)| look(&column.codec, told)).collect();
        let at = sent.iter().position(|sent| *sent == look);
        sent.swap_remove(at.unwrap_or_else(|| panic!("{} has no row for {}", route.source, told[0].key)));
    }
    let decoded = |sent: &Vec<Sent>| {
        route.columns.iter().zip(sent).map(|(column, sent)| read(&column.codec, sent)).collect()
    };
    rows.extend(sent.iter().map(decoded));
    rows
}

/// What the target holds in the place of a cell of the ledger.
fn look(codec: &Codec, told: &Entry) -> Sent {
    let mut bytes = Vec::new();
    codec.encode(told.cell.as_cell(), &mut bytes);
    let absent = told.standing == "null" || told.cell == CellBuf::Null;
    (!absent).then_some(bytes)
}

struct Raw(Sent);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(Some(raw.to_vec())))
    }

    fn from_sql_null(
        _: &tokio_postgres::types::Type,
    ) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }
}

fn cell(value: ValueRef<'_>) -> CellBuf {
    match value {
        ValueRef::Null => CellBuf::Null,
        ValueRef::Integer(value) => CellBuf::Integer(value),
        ValueRef::Real(value) => CellBuf::Real(value),
        ValueRef::Text(bytes) => CellBuf::Text(bytes.to_vec()),
        ValueRef::Blob(bytes) => CellBuf::Blob(bytes.to_vec()),
    }
}

/// Tells rows apart; no two different rows have the same.
fn bytes_of(row: &Row) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in row {
        let mut raw = Vec::new();
        cell.as_cell().put_raw(&mut raw);
        bytes.extend_from_slice(cell.as_cell().class().word().as_bytes());
        bytes.extend_from_slice(&(raw.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&raw);
    }
    bytes
}

/// The cell that the target's bytes stand for.
fn read(codec: &Codec, sent: &Sent) -> CellBuf {
    let Some(bytes) = sent else { return CellBuf::Null };
    let real = |bytes: &[u8]| f64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    match (&codec.ty, codec.form) {
        (Type::Int8, Form::Native) => {
            CellBuf::Integer(i64::from_be_bytes(bytes[..].try_into().expect("eight bytes")))
        }
        (Type::Int2, Form::Native) => {
            CellBuf::Integer(i16::from_be_bytes(bytes[..].try_into().expect("two bytes")).into())
        }
        (Type::Float8, Form::Native) => CellBuf::Real(real(bytes)),
        (Type::Float8, Form::Number) => number(real(bytes)),
        (Type::Text, Form::Native) | (Type::Bytea, Form::OtherClass) => CellBuf::Text(bytes.clone()),
        (Type::Bytea, Form::Native) => CellBuf::Blob(bytes.clone()),
        (Type::Text, Form::Affinity) => by_spelling(bytes),
        (Type::Bool, Form::Native) => CellBuf::Integer(bytes[0].into()),
        (Type::Numeric(None), Form::Native) => numeric(bytes),
        _ => {
            let mut scratch = Vec::new();
            codec.decode(bytes, &mut scratch).expect("canonical bytes").to_buf()
        }
    }
}

/// SQLite's NUMERIC affinity: INTEGER where the number is integral and within 64 bits, but for the ends of their range.
fn number(value: f64) -> CellBuf {
    let integral = value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative());
    let digits = format!("{value:.0}");
    match digits.parse() {
        Ok(integer) if integral && integer > i64::MIN => CellBuf::Integer(integer),
        _ => CellBuf::Real(value),
    }
}

/// Numbers by the one spelling each of them has, all else text.
fn by_spelling(bytes: &[u8]) -> CellBuf {
    let as_text = || CellBuf::Text(bytes.to_vec());
    let text = std::str::from_utf8(bytes).expect("PostgreSQL's text is UTF-8");
    match text {
        "9.0e+999" => return CellBuf::Real(f64::INFINITY),
        "-9.0e+999" => return CellBuf::Real(f64::NEG_INFINITY),
        _ => {}
    }
    if let Ok(integer) = text.parse::<i64>() {
        return if integer.to_string() == text { CellBuf::Integer(integer) } else { as_text() };
    }
    match text.parse::<f64>() {
        Ok(real) if real.is_finite() && real_spelling(real) == text => CellBuf::Real(real),
        _ => as_text(),
    }
}

/// `1.5`, `100.0`, `1.0e+15`: the shortest digits, an exponent of two digits where there are more than fifteen places.
fn real_spelling(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("it has an exponent");
    let power: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..15).contains(&power) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

/// `numeric_send`: groups of four decimal digits, the weight of the first, the sign, the digits shown after the point.
fn numeric(bytes: &[u8]) -> CellBuf {
    let words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let (weight, sign, groups) = (words[1].cast_signed(), words[2], &words[4..]);
    match sign {
        0xd000 => return CellBuf::Real(f64::INFINITY),
        0xf000 => return CellBuf::Real(f64::NEG_INFINITY),
        _ => {}
    }
    let digits: String = groups.iter().map(|group| format!("{group:04}")).collect();
    let last = 4 * (i32::from(weight) + 1) - 4 * i32::try_from(groups.len()).expect("few groups");
    let minus = if sign == 0x4000 { "-" } else { "" };
    let exact = format!("{minus}{digits}e{last}");
    let integral = integral_digits(&digits, last).map(|digits| format!("{minus}{digits}"));
    match integral.and_then(|digits| digits.parse().ok()) {
        Some(integer) => CellBuf::Integer(integer),
        None => CellBuf::Real(exact.parse().expect("digits are a number")),
    }
}

/// The digits of `digits * 10^exponent` where that is an integer of no absurd length.
fn integral_digits(digits: &str, exponent: i32) -> Option<String> {
    let trimmed = digits.trim_end_matches('0');
    let zeros = exponent + i32::try_from(digits.len() - trimmed.len()).expect("few digits");
    if trimmed.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 30)?;
    Some(format!("{trimmed}{}", "0".repeat(zeros)))
}
