//! One integration binary.

#![allow(unreachable_pub, reason = "nothing outside reaches in: `pub` means to the other modules")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report, also in what the tests share")]

mod api;
mod front;
mod support;
