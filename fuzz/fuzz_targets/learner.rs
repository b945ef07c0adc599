//! A column's form learned from lines of text and numbers: votes add up, and what two learners saw is what one would have seen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::canon::learn::Learner;
use liteferry::canon::{Fit, Hints};
use liteferry::model::cell::Cell;
use liteferry::model::schema::Affinity;
use liteferry_fuzz::Input;

const AFFINITIES: [Affinity; 5] =
    [Affinity::Integer, Affinity::Real, Affinity::Numeric, Affinity::Text, Affinity::Blob];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let ty = input.ty();
    let affinity = AFFINITIES[usize::from(input.byte()) % AFFINITIES.len()];
    let hints = Hints { affinity, zone: input.zone(), ..Hints::default() };
    let cells: Vec<Cell<'_>> = input.0.split(|byte| *byte == b'\n').take(50).map(cell).collect();
    let learn = |cells: &[Cell<'_>]| {
        let mut learner = Learner::new(ty.clone(), hints);
        cells.iter().for_each(|cell| learner.observe(*cell));
        learner
    };
    let whole = learn(&cells).learned();
    let (first, second) = cells.split_at(cells.len() / 2);
    let mut parts = learn(first);
    parts.merge(learn(second));
    assert_eq!(whole, parts.learned());
    let values = cells.iter().filter(|cell| !cell.is_null()).count() as u64;
    assert_eq!(whole.exact + whole.elsewhere + whole.kept + whole.lost, values);
    let exact = |cell: &&Cell<'_>| whole.codec.encode(**cell, &mut Vec::new()) == Fit::Exact;
    assert!(whole.exact <= cells.iter().filter(exact).count() as u64);
});

/// A line beginning with `#` is an INTEGER, with `~` a REAL, with `@` a BLOB; an empty one is NULL.
fn cell(line: &[u8]) -> Cell<'_> {
    let read = |digits| std::str::from_utf8(digits).ok();
    match line {
        [] => Cell::Null,
        [b'#', digits @ ..] => match read(digits).and_then(|text| text.parse().ok()) {
            Some(value) => Cell::Integer(value),
            None => Cell::Text(line),
        },
        [b'~', digits @ ..] => match read(digits).and_then(|text| text.parse::<f64>().ok()) {
            Some(value) if !value.is_nan() => Cell::Real(value),
            _ => Cell::Text(line),
        },
        [b'@', bytes @ ..] => Cell::Blob(bytes),
        text => Cell::Text(text),
    }
}
