//! The sandboxed worker's entry: what the re-executed binary runs.

use std::process::ExitCode;

/// The hidden argument by which the binary knows that it was re-executed as a worker.
pub const ARGUMENT: &str = "media-worker";

/// Runs the worker on the socket that is descriptor 0, and never returns to the command line.
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}
