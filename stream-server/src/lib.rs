//! Bytes over HTTP: uploads in (`uploads`, `chunks`), playlists and segments out (`media`).
//!
//! The doors translate between a protocol and the engine's verbs; they decide nothing about bytes.
//! Absent: who may play what. A grant says that, and is only verified here.

mod body;
pub mod chunks;
mod document;
pub mod media;
pub mod uploads;

pub use document::document;
