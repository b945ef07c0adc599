//! The JSON grammar against another reader's, jsonb's spelling against that reader's values, and SQLite's JSONB against SQLite.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::canon::{Codec, Fit, Form, Zone};
use liteferry::model::cell::Cell;
use liteferry::model::types::Type;
use liteferry_fuzz::cross;
use rusqlite::Connection;
use serde::de::IgnoredAny;

/// serde_json stops at 128 levels.
const DEPTH_MAX: usize = 100;

thread_local! {
    static SQLITE: Connection = Connection::open_in_memory().expect("SQLite needs no file");
}

fuzz_target!(|data: &[u8]| {
    let json = Codec::new(Type::Json, Form::Native, Zone::Utc);
    let jsonb = Codec::new(Type::Jsonb, Form::Native, Zone::Utc);
    let (fit, _) = cross(&json, Cell::Text(data));
    let depth = data.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if depth < DEPTH_MAX {
        let theirs =
            std::str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        assert_eq!(fit == Fit::Exact, theirs, "{:?}", String::from_utf8_lossy(data));
    }
    let (fit, bytes) = cross(&jsonb, Cell::Text(data));
    if let (Fit::Exact, [1, spelled @ ..]) = (fit, bytes.as_slice()) {
        same_value(data, spelled);
    }
    let (fit, bytes) = cross(&jsonb, Cell::Blob(data));
    if let (Fit::Exact | Fit::Kept(_), Fit::Lost(_)) = (fit, cross(&json, Cell::Text(data)).0) {
        // It is no JSON text, so it was taken for SQLite's JSONB.
        let text = SQLITE.with(|db| db.query_row("select json(?1)", [data], |row| row.get::<_, String>(0)));
        let text = text.unwrap_or_else(|error| panic!("SQLite does not take it: {error}"));
        let (_, theirs) = cross(&jsonb, Cell::Text(text.as_bytes()));
        assert_eq!(bytes, theirs, "SQLite reads {text}");
    }
});

/// Numbers that are beyond a double are not told apart here.
fn same_value(one: &[u8], other: &[u8]) {
    let read = |text| serde_json::from_slice::<serde_json::Value>(text);
    if let (Ok(one), Ok(other)) = (read(one), read(other)) {
        assert!(alike(&one, &other), "{one} became {other}");
    }
}

fn alike(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(one), Number(other)) => one.as_f64() == other.as_f64(),
        (Array(one), Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Object(one), Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        (one, other) => one == other,
    }
}
