//! What a fuzzer calls: each takes any bytes, and panics if a parser does or breaks its promise. The same functions are run
//! on stable Rust by `tests/media_worker/parsers.rs`.

pub mod targets;
