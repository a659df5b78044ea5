//! Log lines: for people on a terminal in development, else one JSON object a line. Always to standard error.

use std::io::{IsTerminal, stderr};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Environment, LogFormat};

/// Starts logging, once per process.
///
/// # Errors
/// `MILLRACE_LOG` isn't a filter.
pub fn start(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&config.log)
        .map_err(|e| anyhow!("MILLRACE_LOG isn't a level or a list of target=level ({e})"))?;
    let for_people = match config.log_format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => config.env == Environment::Development && stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(for_people);
    let started = if for_people { lines.try_init() } else { lines.json().flatten_event(true).try_init() };
    started.map_err(|e| anyhow!("can't start logging: {e}"))
}
