//! Digests of rows, and sums of them that do not depend on the rows' order.
//!
//! A row's digest is two seeded 64-bit hashes of the hex text of what `record_send` gives for it. Both engines compute it from the
//! same canonical bytes. Digests are added up per bucket; the bucket is the digest's own low bits, so that a difference shows in the
//! buckets of both its sides and only those rows are read again.

use super::lookup3::{self, HEX, HexHasher};
use crate::model::chunk::{Misfit, tuple_cells};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowDigest(pub i64, pub i64);

/// Rows counted and their digests added up; addition, unlike xor, also sees a row that stands twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub rows: u64,
    pub first: i128,
    pub second: i128,
}

/// Sums by bucket; the number of buckets is a power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    sums: Vec<Sum>,
}

/// Turns tuples into digests.
#[derive(Debug)]
pub struct RowHasher {
    type_oids: Vec<u32>,
}

impl RowHasher {
    /// `type_oids` are the target columns' own type ids, in the order of the tuple's cells.
    pub fn new(type_oids: Vec<u32>) -> RowHasher {
        RowHasher { type_oids }
    }

    /// A tuple is what `record_send` gives without the type ids, and with a count of two bytes instead of four.
    pub fn digest(&self, tuple: &[u8]) -> RowDigest {
        let columns = u32::try_from(self.type_oids.len()).expect("a table has at most 1600 columns");
        let mut hasher = HexHasher::new(tuple.len() + 2 + 4 * self.type_oids.len());
        hasher.update(&columns.to_be_bytes());
        for (type_oid, cell) in self.type_oids.iter().zip(tuple_cells(tuple)) {
            hasher.update(&type_oid.to_be_bytes());
            match cell {
                None => hasher.update(&(-1i32).to_be_bytes()),
                Some(bytes) => {
                    let length = u32::try_from(bytes.len()).expect("a cell is shorter than 2 GiB");
                    hasher.update(&length.to_be_bytes());
                    hasher.update(bytes);
                }
            }
        }
        digest_of(hasher.finish())
    }
}

/// The digest of an entry of the ledger: of one line, the same that `postgres/sql/ledger_sum.sql` puts together. `column` is the
/// misfit's, by its name in the target.
pub fn ledger_digest(column: &str, misfit: &Misfit) -> RowDigest {
    let raw: String = misfit.raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = [&misfit.key, column, misfit.class.word(), misfit.standing.word(), &raw].join("\x1f");
    text_digest(line.as_bytes())
}

/// The digest of one text, for what is not a row.
pub fn text_digest(text: &[u8]) -> RowDigest {
    digest_of(lookup3::hash_text(text))
}

fn digest_of([first, second]: [u64; 2]) -> RowDigest {
    RowDigest(first.cast_signed(), second.cast_signed())
}

impl Sum {
    pub fn add(&mut self, digest: RowDigest) {
        self.rows += 1;
        self.first += i128::from(digest.0);
        self.second += i128::from(digest.1);
    }

    pub fn merge(&mut self, other: Sum) {
        self.rows += other.rows;
        self.first += other.first;
        self.second += other.second;
    }
}

impl Buckets {
    pub const COUNT_MAX: usize = 4096;

    /// A power of two, about one bucket for 64 rows, at most `COUNT_MAX`.
    pub fn count_for(rows: u64) -> usize {
        usize::try_from(rows / 64)
            .unwrap_or(Buckets::COUNT_MAX)
            .next_power_of_two()
            .clamp(1, Buckets::COUNT_MAX)
    }

    pub fn new(count: usize) -> Buckets {
        assert!(count.is_power_of_two(), "bucket counts are powers of two");
        Buckets { sums: vec![Sum::default(); count] }
    }

    pub fn count(&self) -> usize {
        self.sums.len()
    }

    /// The digest's low bits.
    pub fn bucket_of(digest: RowDigest, count: usize) -> usize {
        let mask = u64::try_from(count).expect("a small number") - 1;
        usize::try_from(digest.0.cast_unsigned() & mask).expect("below the bucket count")
    }

    pub fn add(&mut self, digest: RowDigest) {
        let bucket = Buckets::bucket_of(digest, self.sums.len());
        self.sums[bucket].add(digest);
    }

    pub fn set(&mut self, bucket: usize, sum: Sum) {
        self.sums[bucket].merge(sum);
    }

    pub fn merge(&mut self, other: &Buckets) {
        assert_eq!(self.sums.len(), other.sums.len(), "both sides count the same buckets");
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            sum.merge(*more);
        }
    }

    pub fn rows(&self) -> u64 {
        self.sums.iter().map(|sum| sum.rows).sum()
    }

    /// Buckets in which the sides differ, in order.
    pub fn differing(&self, other: &Buckets) -> Vec<usize> {
        assert_eq!(self.sums.len(), other.sums.len(), "both sides count the same buckets");
        (0..self.sums.len()).filter(|bucket| self.sums[*bucket] != other.sums[*bucket]).collect()
    }

    /// SHA-256 over the buckets' counts and sums: one line a person can compare.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for sum in &self.sums {
            hasher.update(sum.rows.to_be_bytes());
            hasher.update(sum.first.to_be_bytes());
            hasher.update(sum.second.to_be_bytes());
        }
        hasher.finalize().iter().flat_map(|byte| HEX[usize::from(*byte)]).map(char::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut out = u16::try_from(cells.len()).expect("few").to_be_bytes().to_vec();
        for cell in cells {
            match cell {
                None => out.extend((-1i32).to_be_bytes()),
                Some(bytes) => {
                    out.extend(u32::try_from(bytes.len()).expect("short").to_be_bytes());
                    out.extend(*bytes);
                }
            }
        }
        out
    }

    #[test]
    fn a_row_has_the_digest_postgresql_computes() {
        // select hashtextextended(encode(record_send(row(1::bigint, 'ab'::text, null::int)), 'hex'), s)
        let hasher = RowHasher::new(vec![20, 25, 23]);
        let row = tuple(&[Some(&1i64.to_be_bytes()), Some(b"ab"), None]);
        assert_eq!(hasher.digest(&row), RowDigest(-2939603803566381852, 2589827118257428568));
    }

    #[test]
    fn null_and_empty_have_different_digests() {
        let hasher = RowHasher::new(vec![25]);
        assert_ne!(hasher.digest(&tuple(&[None])), hasher.digest(&tuple(&[Some(b"")])));
    }

    #[test]
    fn a_row_that_stands_twice_is_seen() {
        let mut once = Buckets::new(4);
        once.add(RowDigest(5, 9));
        let mut thrice = once.clone();
        thrice.add(RowDigest(5, 9));
        thrice.add(RowDigest(5, 9));
        assert_eq!(once.differing(&thrice), vec![1]);
        assert_ne!(once.sha256(), thrice.sha256());
    }

    #[test]
    fn bucket_counts_are_bounded_powers_of_two() {
        for (rows, expected) in [(0, 1), (63, 1), (1_000, 16), (u64::MAX, 4096)] {
            assert_eq!(Buckets::count_for(rows), expected, "{rows}");
        }
        assert_eq!(Buckets::bucket_of(RowDigest(-1, 0), 8), 7);
    }
}
