//! Texts of a database in UTF-16 that SQLite's own way to UTF-8 and back does not leave as they are.
//!
//! Half a surrogate pair takes the unit behind it along: two texts become one, and well-formed at that. Such a text is read as its
//! bytes in hexadecimal and, after them, half a pair: which is no UTF-8, so that it goes where other texts go that are none, and no other
//! text of such a database ends so. On the way back SQLite puts U+FFFD in the place of it, and of the last two characters of the first
//! plane; what has any of these is written as a literal.

use super::fault::from_sqlite;
use crate::model::cell::Cell;
use crate::model::fault::Fault;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};
use std::fmt::Write;

/// How a database keeps its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// U+D800, as SQLite writes it where nothing follows.
const HALF: &[u8] = b"\xed\xa0\x80";
/// U+FFFE and U+FFFF.
const UNBOUND: [&[u8]; 2] = [b"\xef\xbf\xbe", b"\xef\xbf\xbf"];

/// Makes known what `Encoding::term` calls. It is of use in a database in UTF-16 alone.
pub fn register(db: &Connection) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, unit) in [
        ("liteferry_halved_le", u16::from_le_bytes as fn([u8; 2]) -> u16),
        ("liteferry_halved_be", u16::from_be_bytes),
    ] {
        db.create_scalar_function(name, 1, flags, move |call| {
            Ok(match call.get_raw(0) {
                ValueRef::Blob(bytes) => is_halved(bytes, unit).then(|| hex(bytes)),
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => None,
            })
        })?;
    }
    Ok(())
}

impl Encoding {
    pub fn of(db: &Connection) -> Result<Encoding, Fault> {
        let failed = |error| from_sqlite("look how the source keeps its texts", error);
        let mut statement = db.prepare_cached("pragma encoding").map_err(failed)?;
        let name: String = statement.query_row([], |row| row.get(0)).map_err(failed)?;
        Ok(match name.as_str() {
            "UTF-16le" => Encoding::Utf16Le,
            "UTF-16be" => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        })
    }

    /// What reads a value, which the SQL gives, so that no two values look the same.
    pub fn term(self, sql: &str) -> String {
        let (function, half) = match self {
            Encoding::Utf8 => return sql.to_owned(),
            Encoding::Utf16Le => ("liteferry_halved_le", "00d8"),
            Encoding::Utf16Be => ("liteferry_halved_be", "d800"),
        };
        format!(
            "case typeof({sql}) when 'text' then ifnull({function}(cast({sql} as blob)) || cast(x'{half}' as text), {sql}) else {sql} end"
        )
    }

    /// Where a value stands in a statement: as a parameter, or as a literal where no parameter gives it to the database as it is. The
    /// parameter is named there too, so that whoever binds need not know.
    pub fn place(self, cell: Cell<'_>, parameter: usize) -> String {
        match self.literal(cell) {
            Some(literal) => format!("ifnull({literal}, ?{parameter})"),
            None => format!("?{parameter}"),
        }
    }

    /// Whether a parameter gives each of these to the database as it is.
    pub fn binds<'c>(self, mut cells: impl Iterator<Item = Cell<'c>>) -> bool {
        self == Encoding::Utf8 || !cells.any(|cell| self.literal(cell).is_some())
    }

    fn literal(self, cell: Cell<'_>) -> Option<String> {
        let bytes_of = match self {
            Encoding::Utf8 => return None,
            Encoding::Utf16Le => u16::to_le_bytes,
            Encoding::Utf16Be => u16::to_be_bytes,
        };
        let Cell::Text(text) = cell else { return None };
        if let Some(hex) = text.strip_suffix(HALF) {
            return hex_text(hex).map(|hex| format!("cast(x'{hex}' as text)"));
        }
        let is_unbound = UNBOUND.iter().any(|letter| text.windows(letter.len()).any(|part| part == *letter));
        let text = std::str::from_utf8(text).ok().filter(|_| is_unbound)?;
        let bytes: Vec<u8> = text.encode_utf16().flat_map(bytes_of).collect();
        Some(format!("cast(x'{}' as text)", hex(&bytes)))
    }
}

/// Whether these bytes are anything but whole characters in UTF-16.
fn is_halved(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> bool {
    let (units, rest) = bytes.as_chunks::<2>();
    !rest.is_empty()
        || char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).any(|letter| letter.is_err())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}

/// Nothing but what `hex` writes goes into a statement.
fn hex_text(bytes: &[u8]) -> Option<&str> {
    let is_hex = bytes.len().is_multiple_of(2) && bytes.iter().all(|byte| byte.is_ascii_hexdigit());
    std::str::from_utf8(bytes).ok().filter(|_| is_hex)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::cell::CellBuf;
    use crate::sqlite::scan::{Bound, cell};

    /// Every text of two units of a few kinds, read, and written as it was read.
    #[test]
    fn what_is_read_is_written_again_unit_by_unit() {
        const UNITS: [u16; 9] = [0x61, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xfeff, 0xfffd, 0xfffe, 0xffff];
        for (name, bytes_of) in
            [("UTF-16le", u16::to_le_bytes as fn(u16) -> [u8; 2]), ("UTF-16be", u16::to_be_bytes)]
        {
            let db = Connection::open_in_memory().unwrap();
            register(&db).unwrap();
            db.execute_batch(&format!("pragma encoding = '{name}'; create table t (v, w)")).unwrap();
            let encoding = Encoding::of(&db).unwrap();
            let mut seen = std::collections::HashSet::new();
            for first in UNITS {
                for second in UNITS {
                    let units: Vec<u8> = [first, second].into_iter().flat_map(bytes_of).collect();
                    let text = format!("cast(x'{}' as text)", hex(&units));
                    db.execute_batch(&format!("delete from t; insert into t (v) values ({text})")).unwrap();
                    let sql = format!("select {} from t", encoding.term("v"));
                    let read: CellBuf = db.query_row(&sql, [], |row| Ok(cell(row, 0).to_buf())).unwrap();
                    let CellBuf::Text(bytes) = &read else { panic!("{read:?}") };
                    let is_whole = String::from_utf16(&[first, second]).is_ok();
                    assert_eq!(std::str::from_utf8(bytes).is_ok(), is_whole, "{first:x} {second:x}");
                    assert!(seen.insert(bytes.clone()), "{first:x} {second:x} reads as another does");
                    let place = encoding.place(read.as_cell(), 1);
                    db.execute(&format!("update t set w = {place}"), [Bound(read.as_cell())]).unwrap();
                    let same = "select cast(v as blob) = cast(w as blob) and typeof(w) = 'text' from t";
                    assert!(
                        db.query_row(same, [], |row| row.get::<_, bool>(0)).unwrap(),
                        "{first:x} {second:x}"
                    );
                    assert_eq!(encoding.binds([read.as_cell()].into_iter()), place == "?1");
                }
            }
        }
    }

    #[test]
    fn utf8_is_read_and_written_without_a_detour() {
        let db = Connection::open_in_memory().unwrap();
        let encoding = Encoding::of(&db).unwrap();
        assert_eq!((encoding, encoding.term("x.v").as_str()), (Encoding::Utf8, "x.v"));
        assert_eq!(encoding.place(Cell::Text(b"61\xed\xa0\x80"), 3), "?3");
        assert!(encoding.binds([Cell::Text(b"\xef\xbf\xbf")].into_iter()));
        // Nothing but digits becomes part of a statement.
        assert_eq!(Encoding::Utf16Le.place(Cell::Text(b"');--\xed\xa0\x80"), 1), "?1");
    }
}
