//! Dates, times and lengths of time: a form's word on the first line, a text on the second. A word names one form and that form
//! has one word; a text crosses by the law under every type and zone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::canon::{Codec, Form, Zone};
use liteferry::model::cell::Cell;
use liteferry::model::types::Type;
use liteferry_fuzz::{Input, cross};

const TYPES: [Type; 7] = [
    Type::Date,
    Type::Time(6),
    Type::Time(3),
    Type::Timestamp(6),
    Type::Timestamp(0),
    Type::Timestamptz(6),
    Type::Interval(6),
];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let zone = input.zone();
    let line = input.0.iter().position(|byte| *byte == b'\n').unwrap_or(input.0.len());
    let (word, text) = input.0.split_at(line);
    let text = text.strip_prefix(b"\n").unwrap_or_default();
    let word = String::from_utf8_lossy(word);
    if let Ok(zone) = word.parse::<Zone>() {
        assert_eq!(zone.to_string().parse(), Ok(zone));
    }
    let form = word.parse::<Form>().unwrap_or(Form::Native);
    assert_eq!(form.to_string().parse::<Form>().ok(), Some(form));
    for ty in TYPES {
        cross(&Codec::new(ty, form, zone), Cell::Text(text));
    }
});
