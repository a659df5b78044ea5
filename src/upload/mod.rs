//! `millrace upload`: files to a server, over tus 1.0, and large ones in several chunks at once.
//!
//! Promise: what the server acknowledged isn't sent again, not after Ctrl-C and not after a reboot; a file that changed
//! in between starts anew; nothing counts as sent until the server's SHA-256 is that of the file.
//! Absent: deleting on the server what is no longer here.

mod chunks;
mod files;
mod hash;
mod index;
mod journey;
mod patience;
mod record;
mod scatter;
mod show;
mod tus;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};
use url::Url;

use crate::config::Loaded;
use journey::Journey;
use show::Show;
use tus::Client;

/// Where a server that was started without settings listens.
const SERVER_DEFAULT: &str = "http://127.0.0.1:8080";
/// Two keep a line busy while one of them waits for an answer.
const PARALLEL_DEFAULT: u8 = 2;

/// What may be said.
#[derive(clap::Args)]
pub struct Args {
    /// Files, or folders to be searched for audio
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The server
    #[arg(long, value_name = "URL", default_value = SERVER_DEFAULT)]
    server: Url,
    /// File with the bearer token [default: MILLRACE_TOKEN_FILE, or the data folder's owner-token for a local server]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How many files at once; of a single large file, how many chunks
    #[arg(long, value_name = "N", default_value_t = PARALLEL_DEFAULT, value_parser = clap::value_parser!(u8).range(1..=32))]
    parallel: u8,
    /// Print one JSON line per file instead of bars
    #[arg(long)]
    json: bool,
    /// Don't wait until the tracks are ready
    #[arg(long)]
    no_wait: bool,
}

/// Sends all; failure if one failed.
///
/// # Errors
/// What keeps all of them from being sent.
pub async fn run(loaded: &Loaded, args: Args) -> anyhow::Result<ExitCode> {
    let server = origin(&args.server)?;
    let files = files::collect(&args.paths)?;
    let token = token(loaded, &args, &server)?;
    if token.is_some() && server.scheme() == "http" && !is_local(&server) {
        eprintln!("millrace: the token goes to {server} unencrypted; prefer https");
    }
    let show = Show::new(args.json, files.len());
    let journey = Arc::new(Journey {
        client: Client::new(server, token)?,
        records: loaded.state_dir.join("uploads"),
        wait: !args.no_wait,
        ways: (usize::from(args.parallel) / files.len()).max(1),
        show: show.clone(),
    });
    let all = stream::iter(files.into_iter().map(|file| {
        let journey = Arc::clone(&journey);
        async move {
            let done = journey.make(&file).await;
            journey.show.finished(&done);
            done.error.is_none()
        }
    }));
    let mut all = all.buffer_unordered(usize::from(args.parallel));
    let mut failed = 0;
    loop {
        tokio::select! {
            next = all.next() => match next {              // cancel-safe: a file under way stays in the stream
                Some(true) => {}
                Some(false) => failed += 1,
                None => break,
            },
            _ = tokio::signal::ctrl_c() => {               // cancel-safe: a signal stays noted
                show.close();
                bail!("stopped; the same command goes on from here");
            }
        }
    }
    show.close();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server without a path, so that every address below it is ours to make.
fn origin(server: &Url) -> anyhow::Result<Url> {
    if !matches!(server.scheme(), "http" | "https") || !server.username().is_empty() || server.password().is_some() {
        bail!("--server {server}: write http://HOST:PORT or https://HOST, and give the token with --token-file");
    }
    server.join("/").context("--server isn't an address")
}

fn is_local(server: &Url) -> bool {
    match server.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The owner's token is for this machine: it never goes to another without being asked to.
fn token(loaded: &Loaded, args: &Args, server: &Url) -> anyhow::Result<Option<String>> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("can't read the token in {}", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    };
    if let Some(path) = &args.token_file {
        return read(path);
    }
    if let Some(token) = &loaded.config.token {
        return Ok(Some(token.expose().to_owned()));
    }
    let owners = loaded.config.data.join("owner-token");
    if is_local(server) && owners.exists() { read(&owners) } else { Ok(None) }
}
