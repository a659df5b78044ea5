//! `millrace transcode`: the media engine on one file, without a server. A folder that any static web server can serve.

use std::path::PathBuf;

use anyhow::{Context, bail};
use pipeline::{
    media::{Ladder, offline},
    resolve::is_http_source,
};

use super::print_json;
use crate::{config::Loaded, say};

/// What to encode, and where to.
#[derive(clap::Args)]
pub struct Args {
    /// The audio file
    file: PathBuf,
    /// The folder to fill; made if it isn't there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The rungs [default: as HLS_LADDER says]
    #[arg(long, value_name = "LADDER")]
    ladder: Option<String>,
    /// Say it as JSON
    #[arg(long)]
    json: bool,
}

/// Does it.
///
/// # Errors
/// The file can't be read or encoded, the folder can't be written.
pub async fn run(loaded: &Loaded, args: Args) -> anyhow::Result<()> {
    if args.file.to_str().is_some_and(is_http_source) {
        bail!("{} is a URL, and nobody's URL is read: name a file", args.file.display());
    }
    let wanted = args.ladder.unwrap_or_else(|| loaded.config.hls_ladder.to_string());
    let ladder = Ladder::parse(&wanted).context("the ladder can't be read")?;
    let exe = std::env::current_exe().context("can't find the running program")?;
    let made = offline::transcode(&args.file, &args.out, ladder, loaded.config.hls_segment_seconds, exe).await?;
    let (seconds, index) = (made.samples as f64 / f64::from(made.rate), made.index.display().to_string());
    if args.json {
        return print_json(&serde_json::json!({
            "index": index, "samples": made.samples, "rate": made.rate, "codec": made.source.codec,
            "rungs": made.source.plan.iter().map(|r| &r.name).collect::<Vec<_>>(), "loudness": made.loudness,
        }));
    }
    say(format_args!("{index}: {seconds:.3} s, {} samples at {} Hz", made.samples, made.rate));
    Ok(())
}
