//! The `millrace` command.
#![expect(unreachable_pub, reason = "nothing outside a command reaches in: `pub` means to its other modules")]

mod command;
mod config;
mod data;
mod database;
mod doctor;
mod postgres;
mod serve;
mod store;
mod upload;

use std::{
    fmt::Display,
    io::{Write, stdout},
    process::ExitCode,
};

/// Large pieces come and go with every upload: the C library's allocator gives each back to the kernel and faults it in again,
/// and keeps the small ones for good. How soon this one gives back is said where it is built (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // First of all: a worker must reach its sandbox with nothing opened, parsed or started.
    if std::env::args_os().nth(1).is_some_and(|a| a == pipeline::media::worker::ARGUMENT) {
        return pipeline::media::worker::run();
    }
    #[cfg(debug_assertions)]
    if std::env::args_os().nth(1).is_some_and(|a| a == pipeline::media::worker::nursery::ARGUMENT) {
        return pipeline::media::worker::nursery::run();
    }
    command::run()
}

/// A line on standard output. When nobody reads any more, as under `| head`, nothing more need be said.
fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// An error with its causes, on one line.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
