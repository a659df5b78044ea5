//! Uploads on an S3-compatible store: nothing acknowledged is lost, nothing wrong is published, nothing touches the disk.

mod account;
mod answers;
mod asleep;
mod broken;
mod client;
mod commits;
mod concat;
mod garage;
mod garbage;
mod holes;
mod index_first;
mod kills;
mod large;
mod malformed;
mod memory;
mod nodes;
mod overdue;
mod patience;
mod seeded;
mod small;
mod steps;
mod takeover;
pub mod world;

use crate::support::{app::App, proof, s3::Settings};

/// A daemon on that store, with more settings.
pub async fn app(store: Settings, more: &[(&str, &str)]) -> App {
    App::with(&joined(&store, more)).await
}

pub fn joined<'a>(store: &'a Settings, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    store.pairs().into_iter().chain(more.iter().copied()).collect()
}
