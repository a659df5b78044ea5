//! One integration binary: the real command, real PostgreSQL, real clients. Folders mirror what they test.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod files;
mod front;
mod postgres;
mod support;
