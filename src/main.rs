//! The `millrace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a worker must reach its sandbox with nothing opened, parsed or started.
    if std::env::args_os().nth(1).is_some_and(|a| a == pipeline::media::worker::ARGUMENT) {
        return pipeline::media::worker::run();
    }
    ExitCode::SUCCESS
}
