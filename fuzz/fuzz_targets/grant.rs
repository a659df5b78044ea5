//! libFuzzer's door to [`parsers::targets::grants`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::grants(bytes));
