//! One integration binary.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod front;
