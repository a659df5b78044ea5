//! The media worker, as the real binary: sound in, segments out, and nothing else.

mod contained;
mod exact;
mod fed;
mod formats;
mod locked;
mod measured;
mod refused;
mod support;
