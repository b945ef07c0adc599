//! Any cell under any type, form and zone: it crosses by the law or is a misfit, and never ends the program.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liteferry_fuzz::{Input, cross};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let codec = input.codec();
    cross(&codec, input.cell());
});
