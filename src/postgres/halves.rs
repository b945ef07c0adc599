//! Which rows of many are refused: what is refused is halved until the refused rows stand alone. Pure.

use std::ops::Range;

/// Rows, by number, that are still to be tried.
#[derive(Debug)]
pub struct Halves(Vec<Range<usize>>);

impl Halves {
    pub fn of(rows: Range<usize>) -> Halves {
        Halves(Vec::from([rows]))
    }

    /// Rows to be tried now, in the order of their numbers.
    pub fn next(&mut self) -> Option<Range<usize>> {
        std::iter::from_fn(|| self.0.pop()).find(|rows| !rows.is_empty())
    }

    /// `rows` were refused: gives the row if it is one, else its halves come next.
    pub fn refused(&mut self, rows: Range<usize>) -> Option<usize> {
        if rows.end - rows.start == 1 {
            return Some(rows.start);
        }
        let middle = rows.start + (rows.end - rows.start) / 2;
        self.0.push(middle..rows.end);
        self.0.push(rows.start..middle);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_goes_in_but_those_refused() {
        for bad in [vec![], vec![0], vec![6], vec![2, 3], (0..7).collect::<Vec<usize>>()] {
            let (mut halves, mut taken, mut refused) = (Halves::of(0..7), Vec::new(), Vec::new());
            while let Some(rows) = halves.next() {
                if bad.iter().any(|row| rows.contains(row)) {
                    refused.extend(halves.refused(rows));
                } else {
                    taken.extend(rows);
                }
            }
            assert_eq!(refused, bad);
            assert!(taken.is_sorted() && taken.len() + refused.len() == 7);
        }
        assert_eq!(Halves::of(3..3).next(), None);
    }
}
