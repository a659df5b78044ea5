//! The media worker, as the real binary: sound in, segments out, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(debug_assertions)]
mod contained;
mod dressed;
mod exact;
mod fed;
mod formats;
mod locked;
mod measured;
mod memory;
mod mutated;
mod odd;
mod parsers;
pub(crate) mod pictures;
mod refused;
mod render;
mod stretches;
pub(crate) mod support;
