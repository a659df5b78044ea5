//! One integration binary: the real command, real PostgreSQL, real clients. Folders mirror what they test.

#![allow(unreachable_pub, reason = "nothing outside reaches in: `pub` means to the other modules")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report, also in what the tests share")]

mod api;
mod chunks;
mod cli;
mod clients;
mod files;
mod front;
mod journeys;
mod machines;
mod media;
mod media_worker;
mod objects;
mod postgres;
mod rig;
mod store;
mod support;
mod tidy;
