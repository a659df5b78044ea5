//! libFuzzer's door to [`parsers::targets::container`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::container(bytes));
