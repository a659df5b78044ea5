//! libFuzzer's door to [`parsers::targets::waveform`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::waveform(bytes));
