//! libFuzzer's door to [`parsers::targets::playlists`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parsers::targets::playlists(bytes));
