//! Truth values: INTEGER or REAL 0 and 1, digits, or words. Any other number is no truth value.

use super::form::{Form, Numeral, Words};
use super::formset::FormSet;
use super::{Fit, Malformed, Reason, judged};
use crate::model::cell::Cell;

pub(super) fn encode(form: Form, cell: Cell<'_>, out: &mut Vec<u8>) -> Fit {
    let truth = match cell {
        Cell::Integer(0) => Some(false),
        Cell::Integer(1) => Some(true),
        Cell::Real(0.0) => Some(false),
        Cell::Real(1.0) => Some(true),
        Cell::Text(b"0") => Some(false),
        Cell::Text(b"1") => Some(true),
        Cell::Text(text) => Words::truth(text),
        Cell::Integer(_) | Cell::Real(_) | Cell::Blob(_) | Cell::Null => None,
    };
    let Some(truth) = truth else { return Fit::Lost(Reason::NotABoolean) };
    out.push(u8::from(truth));
    match cell {
        Cell::Real(value) if value.is_sign_negative() => Fit::Kept(Reason::NegativeZero),
        Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => {
            judged(cell_of(truth, form), cell)
        }
    }
}

pub(super) fn decode(form: Form, bytes: &[u8]) -> Result<Cell<'static>, Malformed> {
    match bytes {
        [0] => Ok(cell_of(false, form)),
        [1] => Ok(cell_of(true, form)),
        _ => Err(Malformed("boolean")),
    }
}

/// Preferred forms first; the learner tries each.
pub(super) fn forms(cell: Cell<'_>) -> FormSet {
    match cell {
        Cell::Null | Cell::Blob(_) => FormSet::EMPTY,
        Cell::Integer(_) => FormSet::from([Form::Native]),
        Cell::Real(_) => FormSet::from([Form::Real]),
        Cell::Text(b"0" | b"1") => FormSet::from([Form::Digits]),
        Cell::Text(text) => Words::of(text).into_iter().map(|(words, _)| Form::Words(words)).collect(),
    }
}

fn cell_of(truth: bool, form: Form) -> Cell<'static> {
    if let Form::Words(words) = form {
        return Cell::Text(words.spelling(truth).as_bytes());
    }
    match form.numeral() {
        Numeral::Natural | Numeral::Number => Cell::Integer(i64::from(truth)),
        Numeral::Real => Cell::Real(f64::from(u8::from(truth))),
        Numeral::Digits => Cell::Text(if truth { b"1" } else { b"0" }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::law::check;
    use super::*;
    use crate::model::types::Type;

    #[test]
    fn a_truth_value_is_one_of_a_closed_set_of_spellings() {
        let words = |word: &str| word.parse::<Form>().unwrap();
        let class = Fit::Kept(Reason::Class);
        let spelling = Fit::Kept(Reason::Spelling);
        let lost = (Fit::Lost(Reason::NotABoolean), "");
        for (form, cell, expected) in [
            (Form::Native, Cell::Integer(0), (Fit::Exact, "00")),
            (Form::Native, Cell::Integer(1), (Fit::Exact, "01")),
            (Form::Native, Cell::Integer(2), lost),
            (Form::Native, Cell::Integer(-1), lost),
            (Form::Native, Cell::Real(1.0), (class, "01")),
            (Form::Real, Cell::Real(1.0), (Fit::Exact, "01")),
            (Form::Real, Cell::Real(-0.0), (Fit::Kept(Reason::NegativeZero), "00")),
            (Form::Native, Cell::Real(0.5), lost),
            (Form::Digits, Cell::Text(b"1"), (Fit::Exact, "01")),
            (Form::Native, Cell::Text(b"1"), (class, "01")),
            (words("words-tf"), Cell::Text(b"f"), (Fit::Exact, "00")),
            (words("words-tf"), Cell::Text(b"F"), (spelling, "00")),
            (words("words-tf"), Cell::Text(b"yes"), (spelling, "01")),
            (words("words-tf"), Cell::Integer(1), (class, "01")),
            (words("words-True-False"), Cell::Text(b"False"), (Fit::Exact, "00")),
            (words("words-On-Off"), Cell::Text(b"On"), (Fit::Exact, "01")),
            (Form::Native, Cell::Text(b""), lost),
            (Form::Native, Cell::Text(b" 1"), lost),
            (Form::Native, Cell::Text(b"maybe"), lost),
            (Form::Native, Cell::Text(b"tr"), lost),
            (Form::Native, Cell::Blob(b"\x01"), lost),
        ] {
            check(&Type::Bool, form, cell, expected);
        }
        assert!(decode(Form::Native, &[2]).is_err());
    }
}
