//! One SQLite value as it is stored: its storage class and its bytes.
//!
//! Text is bytes here, never `str`: SQLite stores whatever it was given. Equality is byte for byte, reals by
//! their bits, so that `1` and `1.0`, or `0.0` and `-0.0`, are different cells.

/// A value borrowed from a row.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// A value that outlives its row: keys, samples, ledger entries.
#[derive(Clone, Debug)]
pub enum CellBuf {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// SQLite's storage classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Null,
    Integer,
    Real,
    Text,
    Blob,
}

impl Class {
    pub const ALL: [Class; 5] = [Class::Null, Class::Integer, Class::Real, Class::Text, Class::Blob];

    /// The word SQLite's `typeof()` uses.
    pub fn word(self) -> &'static str {
        match self {
            Class::Null => "null",
            Class::Integer => "integer",
            Class::Real => "real",
            Class::Text => "text",
            Class::Blob => "blob",
        }
    }

    pub fn from_word(word: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.word() == word)
    }
}

impl<'a> Cell<'a> {
    pub fn class(self) -> Class {
        match self {
            Cell::Null => Class::Null,
            Cell::Integer(_) => Class::Integer,
            Cell::Real(_) => Class::Real,
            Cell::Text(_) => Class::Text,
            Cell::Blob(_) => Class::Blob,
        }
    }

    pub fn is_null(self) -> bool {
        matches!(self, Cell::Null)
    }

    pub fn to_buf(self) -> CellBuf {
        match self {
            Cell::Null => CellBuf::Null,
            Cell::Integer(value) => CellBuf::Integer(value),
            Cell::Real(value) => CellBuf::Real(value),
            Cell::Text(bytes) => CellBuf::Text(bytes.to_vec()),
            Cell::Blob(bytes) => CellBuf::Blob(bytes.to_vec()),
        }
    }

    /// Appends the bytes the ledger keeps beside the class: integers and reals big-endian (a real by its IEEE bits), text
    /// and blobs as they are. `from_raw` reads them back.
    pub fn put_raw(self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => {}
            Cell::Integer(value) => out.extend_from_slice(&value.to_be_bytes()),
            Cell::Real(value) => out.extend_from_slice(&value.to_bits().to_be_bytes()),
            Cell::Text(bytes) | Cell::Blob(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The cell that `put_raw` wrote, or nothing where the bytes cannot be of that class.
    pub fn from_raw(class: Class, raw: &'a [u8]) -> Option<Cell<'a>> {
        Some(match class {
            Class::Null => Cell::Null,
            Class::Integer => Cell::Integer(i64::from_be_bytes(raw.try_into().ok()?)),
            Class::Real => Cell::Real(f64::from_bits(u64::from_be_bytes(raw.try_into().ok()?))),
            Class::Text => Cell::Text(raw),
            Class::Blob => Cell::Blob(raw),
        })
    }
}

impl PartialEq for Cell<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Cell::Null, Cell::Null) => true,
            (Cell::Integer(a), Cell::Integer(b)) => a == b,
            (Cell::Real(a), Cell::Real(b)) => a.to_bits() == b.to_bits(),
            (Cell::Text(a), Cell::Text(b)) | (Cell::Blob(a), Cell::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Cell<'_> {}

impl CellBuf {
    /// The cell, with its bytes in `scratch`.
    pub fn put_into(self, scratch: &mut Vec<u8>) -> Cell<'_> {
        match self {
            CellBuf::Null => Cell::Null,
            CellBuf::Integer(value) => Cell::Integer(value),
            CellBuf::Real(value) => Cell::Real(value),
            CellBuf::Text(bytes) => {
                *scratch = bytes;
                Cell::Text(scratch)
            }
            CellBuf::Blob(bytes) => {
                *scratch = bytes;
                Cell::Blob(scratch)
            }
        }
    }

    pub fn as_cell(&self) -> Cell<'_> {
        match self {
            CellBuf::Null => Cell::Null,
            CellBuf::Integer(value) => Cell::Integer(*value),
            CellBuf::Real(value) => Cell::Real(*value),
            CellBuf::Text(bytes) => Cell::Text(bytes),
            CellBuf::Blob(bytes) => Cell::Blob(bytes),
        }
    }
}

impl PartialEq for CellBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_cell() == other.as_cell()
    }
}

impl Eq for CellBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_tells_classes_and_signs_apart() {
        assert_ne!(Cell::Integer(1), Cell::Real(1.0));
        assert_ne!(Cell::Real(0.0), Cell::Real(-0.0));
        assert_ne!(Cell::Text(b"a"), Cell::Blob(b"a"));
        assert_eq!(Cell::Real(f64::INFINITY), Cell::Real(f64::INFINITY));
    }

    #[test]
    fn raw_bytes_give_the_cell_back() {
        let cells =
            [Cell::Null, Cell::Integer(i64::MIN), Cell::Real(-0.0), Cell::Text(b"a\0\xff"), Cell::Blob(b"")];
        for cell in cells {
            let mut raw = Vec::new();
            cell.put_raw(&mut raw);
            assert_eq!(Cell::from_raw(cell.class(), &raw), Some(cell));
        }
        assert_eq!(Cell::from_raw(Class::Integer, b"short"), None);
    }
}
