//! Routes read back from the journal: nothing, or a route that is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry::journal::record::{route_from_text, route_to_json};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(route) = route_from_text(text) else { return };
    let written = route_to_json(&route);
    let again = route_from_text(&written.to_string()).expect("what was written is read");
    assert_eq!(route_to_json(&again), written);
});
