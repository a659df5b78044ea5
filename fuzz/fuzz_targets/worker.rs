//! libFuzzer's door to [`parsers::targets::worker`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::worker(bytes));
