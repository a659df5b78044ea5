//! libFuzzer's door to [`parsers::targets::mpeg_frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::mpeg_frames(bytes));
