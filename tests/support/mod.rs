//! What tests stand on: a running millrace, a tus client that can be cut anywhere, and sound made by code.

pub mod app;
pub mod postgres;
pub mod sound;
pub mod tus;
