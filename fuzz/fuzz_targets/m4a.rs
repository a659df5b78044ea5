//! libFuzzer's door to [`parsers::targets::m4a`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::m4a(bytes));
