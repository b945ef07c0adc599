//! A scan position as bytes: the key of the last row that the target holds. Every form written here is read back by every later version.

use super::cell::{Cell, CellBuf, Class};

/// A scan position: for each cell its class, the length of its raw bytes, and the bytes.
pub fn to_bytes(cells: &[CellBuf]) -> Vec<u8> {
    let mut out = Vec::new();
    for cell in cells {
        let mut raw = Vec::new();
        cell.as_cell().put_raw(&mut raw);
        out.push(class_byte(cell.as_cell().class()));
        out.extend_from_slice(&(raw.len() as u64).to_be_bytes());
        out.extend_from_slice(&raw);
    }
    out
}

pub fn from_bytes(mut bytes: &[u8]) -> Option<Vec<CellBuf>> {
    let mut cells = Vec::new();
    while let Some((class, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (raw, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        let class = Class::ALL.into_iter().find(|known| class_byte(*known) == *class)?;
        cells.push(Cell::from_raw(class, raw)?.to_buf());
        bytes = rest;
    }
    Some(cells)
}

fn class_byte(class: Class) -> u8 {
    match class {
        Class::Null => b'n',
        Class::Integer => b'i',
        Class::Real => b'r',
        Class::Text => b't',
        Class::Blob => b'b',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_as_it_was_written() {
        let cells = vec![
            CellBuf::Integer(-5),
            CellBuf::Text(b"a\0\xff".to_vec()),
            CellBuf::Real(-0.0),
            CellBuf::Blob(vec![]),
        ];
        assert_eq!(from_bytes(&to_bytes(&cells)), Some(cells.clone()));
        assert_eq!(from_bytes(&to_bytes(&cells)[..5]), None);
        assert_eq!(from_bytes(b""), Some(vec![]));
    }
}
