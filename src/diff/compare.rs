//! Which rows differ: rows of both sides, matched by identity.

use super::digest::RowDigest;
use crate::model::chunk::tuple_cells;

/// One row on one side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub key: Vec<u8>,
    pub digest: RowDigest,
    pub shown: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// On the source only.
    pub missing: Vec<Seen>,
    /// On the target only.
    pub extra: Vec<Seen>,
    /// On both, with different contents: source first.
    pub different: Vec<(Seen, Seen)>,
}

/// Matches rows as multisets: equal rows cancel one by one, what is left over is matched by key.
pub fn pair(mut source: Vec<Seen>, mut target: Vec<Seen>) -> Pairing {
    source.sort_unstable();
    target.sort_unstable();
    let (source, target) = cancel(source, target);
    let mut pairing = Pairing::default();
    let mut target = target.into_iter().peekable();
    for row in source {
        while let Some(extra) = target.next_if(|other| other.key < row.key) {
            pairing.extra.push(extra);
        }
        match target.next_if(|other| other.key == row.key) {
            Some(other) => pairing.different.push((row, other)),
            None => pairing.missing.push(row),
        }
    }
    pairing.extra.extend(target);
    pairing
}

/// Takes away rows that stand on both sides, as often as they stand on both.
fn cancel(source: Vec<Seen>, target: Vec<Seen>) -> (Vec<Seen>, Vec<Seen>) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut target = target.into_iter().peekable();
    for row in source {
        let place = |seen: &Seen| (seen.key.clone(), seen.digest);
        while let Some(other) = target.next_if(|other| place(other) < place(&row)) {
            right.push(other);
        }
        if target.next_if(|other| place(other) == place(&row)).is_none() {
            left.push(row);
        }
    }
    right.extend(target);
    (left, right)
}

/// Indexes of the cells in which two tuples differ.
pub fn differing_columns(source: &[u8], target: &[u8]) -> Vec<usize> {
    tuple_cells(source)
        .zip(tuple_cells(target))
        .enumerate()
        .filter_map(|(index, (a, b))| (a != b).then_some(index))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, digest: i64) -> Seen {
        Seen { key: vec![key], digest: RowDigest(digest, digest), shown: format!("[{key}]") }
    }

    #[test]
    fn rows_are_missing_extra_or_different() {
        let source = vec![row(1, 10), row(2, 20), row(3, 30), row(5, 50)];
        let target = vec![row(2, 21), row(3, 30), row(4, 40), row(1, 10)];
        let pairing = pair(source, target);
        assert_eq!(pairing.missing, vec![row(5, 50)]);
        assert_eq!(pairing.extra, vec![row(4, 40)]);
        assert_eq!(pairing.different, vec![(row(2, 20), row(2, 21))]);
    }

    #[test]
    fn rows_without_a_key_keep_their_multiplicity() {
        let same = |count| vec![row(7, 7); count];
        assert_eq!(pair(same(3), same(3)), Pairing::default());
        assert_eq!(pair(same(3), same(2)).missing.len(), 1);
        assert_eq!(pair(same(1), same(3)).extra.len(), 2);
    }

    #[test]
    fn columns_that_differ_are_named() {
        let a = [0, 2, 0, 0, 0, 1, 7, 255, 255, 255, 255];
        let b = [0, 2, 0, 0, 0, 1, 7, 0, 0, 0, 0];
        assert_eq!(differing_columns(&a, &b), vec![1]);
        assert!(differing_columns(&a, &a).is_empty());
    }
}
