//! Any bytes read as any type: a cell or `Malformed`, and a cell that can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry_fuzz::{Input, cross};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let codec = input.codec();
    let mut scratch = Vec::new();
    if let Ok(cell) = codec.decode(input.0, &mut scratch) {
        cross(&codec, cell);
    }
});
