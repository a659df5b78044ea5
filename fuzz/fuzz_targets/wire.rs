//! libFuzzer's door to [`parsers::targets::wire`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::wire(bytes));
