//! One integration binary: the real command, real PostgreSQL, real clients. Folders mirror what they test.

#![allow(unreachable_pub, reason = "nothing outside reaches in: `pub` means to the other modules")]
#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod cli;
mod clients;
mod files;
mod front;
mod machines;
mod media_worker;
mod postgres;
mod support;
mod tidy;
