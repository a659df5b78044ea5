//! libFuzzer's door to [`parsers::targets::boxes`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::boxes(bytes));
