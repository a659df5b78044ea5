//! `millrace db`: the database's own tools, pointed at the right database.

use std::{
    path::PathBuf,
    process::{Command as Process, ExitCode, ExitStatus},
};

use anyhow::Context;
use clap::Subcommand;

use crate::{config::Loaded, database, database::Database, postgres, say};

#[derive(Subcommand)]
pub enum Command {
    /// Open psql; what follows `--` is psql's
    Psql {
        /// Arguments of psql
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Print the database's address, with its password if it has one
    Url,
    /// Write a dump in pg_restore's custom format
    Dump {
        /// Into this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Does it. Without a daemon the private database runs for as long as the tool does.
///
/// # Errors
/// No database, no tool.
pub async fn run(loaded: &Loaded, command: Command) -> anyhow::Result<ExitCode> {
    if matches!(command, Command::Url)
        && let Some(url) = url(loaded)
    {
        say(url);
        return Ok(ExitCode::SUCCESS);
    }
    let database = database::borrow(loaded).await?;
    let outcome = act(loaded, &database, command);
    database.close().await;
    outcome
}

/// Known without starting anything.
fn url(loaded: &Loaded) -> Option<String> {
    let config = &loaded.config;
    let set = config.database_url.as_ref().map(|url| url.expose().to_owned());
    set.or_else(|| postgres::running_url(&config.data))
}

fn act(loaded: &Loaded, database: &Database, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Url => {
            say(&database.url);
            eprintln!("millrace: the database answers there while `millrace serve` runs");
            Ok(ExitCode::SUCCESS)
        }
        Command::Psql { args } => {
            let mut psql = tool(loaded, "psql");
            // Ctrl-C is psql's to handle: it cancels a query.
            let _ignored = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
            address(psql.args(args), &database.url);
            exit(psql.status().context(MISSING)?)
        }
        Command::Dump { out } => {
            let mut dump = tool(loaded, "pg_dump");
            dump.arg("--format=custom");
            if let Some(out) = out {
                dump.arg("--file").arg(out);
            }
            address(&mut dump, &database.url);
            exit(dump.status().context(MISSING)?)
        }
    }
}

const MISSING: &str = "can't start PostgreSQL's client: apt install postgresql-client";

/// Beside the server's programs if they are here, so that versions agree; else by `PATH`.
fn tool(loaded: &Loaded, name: &str) -> Process {
    let settings = database::settings(loaded);
    let beside = postgres::Binaries::find(&settings, &loaded.config.data.join("postgres")).ok();
    Process::new(beside.map(|b| b.dir.join(name)).filter(|p| p.is_file()).unwrap_or_else(|| name.into()))
}

/// Tells the tool which database, and the password where other users' `ps` doesn't show it.
fn address(tool: &mut Process, url: &str) {
    let mut plain = url.to_owned();
    if let Ok(mut parsed) = url::Url::parse(url)
        && let Some(password) = parsed.password().map(str::to_owned)
        && parsed.set_password(None).is_ok()
    {
        tool.env("PGPASSWORD", percent_decoded(&password));
        plain = parsed.to_string();
    }
    tool.arg("--dbname").arg(plain);
}

fn percent_decoded(text: &str) -> String {
    // A form's decoding, but for `+`, which stands for itself in a URL's password.
    let pair = format!("p={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "it ends two match arms that can fail")]
fn exit(status: ExitStatus) -> anyhow::Result<ExitCode> {
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
