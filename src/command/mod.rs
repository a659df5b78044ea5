//! The command line: what may be said, and who does it.
//!
//! Exit codes: 0 fine, 1 failed, 2 wrong usage (clap's own). An error is one line: what, why, what to do.

mod blobs;
mod config;
mod db;
mod jobs;
mod link;
mod man;
mod people;
mod transcode;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{config as settings, database, doctor, one_line, say, serve, upload};

/// A self-hosted music platform: resumable upload, verified bytes, HLS that plays before the upload has ended.
#[derive(Parser)]
#[command(name = "millrace", version, about, disable_help_subcommand = true, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// Settings file [default: ./millrace.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder [default: ./data; as root /var/lib/millrace]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the platform until Ctrl-C
    Serve(Serve),
    /// Send files or folders to a server; run it again to go on after an interruption
    Upload(upload::Args),
    /// Encode one file into a playable HLS folder, without a server
    Transcode(transcode::Args),
    /// Find what is wrong here, and say the cure
    Doctor(doctor::Args),
    /// Bring the database's schema up to this release
    Migrate,
    /// Check or explain the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Look at background jobs
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Make and show accounts
    #[command(subcommand)]
    User(people::User),
    /// Make the secrets that scripts sign in with
    #[command(subcommand)]
    Token(people::Token),
    /// Check, tidy up or move what is stored
    #[command(subcommand)]
    Blobs(blobs::Command),
    /// Reach the database
    #[command(subcommand)]
    Db(db::Command),
    /// Print a shell's completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Args)]
struct Serve {
    /// Public address
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of metrics and job views
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// What this process does
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&anyhow::Error::new(e).context("can't start the runtime")),
    };
    let outcome = runtime.block_on(dispatch(cli));
    // A blocking read, of a terminal or a slow disk, must not hold the end.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|e| failed(&e))
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut start = settings::Start::from_environment().file(cli.global.config);
    let data = cli.global.data.map(|dir| dir.to_string_lossy().into_owned());
    start = start.flag("data", "--data", data);
    if let Command::Serve(args) = &cli.command {
        let text = |address: &Option<SocketAddr>| address.map(|a| a.to_string());
        start = start.flag("listen", "--listen", text(&args.listen));
        start = start.flag("admin", "--admin", text(&args.admin)).flag("roles", "--roles", args.roles.clone());
    }
    let load = move || settings::load(start);
    match cli.command {
        Command::Completions { shell } => man::completions(shell),
        Command::Man => man::page()?,
        Command::Doctor(args) => return doctor::run(load(), args).await,
        Command::Upload(args) => return upload::run(&load()?, args).await,
        Command::Transcode(args) => transcode::run(&load()?, args).await?,
        Command::User(command) => people::users(&load()?, command).await?,
        Command::Token(command) => people::tokens(&load()?, command).await?,
        Command::Serve(_) => serve::serve(&load()?).await?,
        Command::Migrate => migrate(&load()?).await?,
        Command::Config(command) => config::run(&load()?, command)?,
        Command::Jobs(command) => jobs::run(&load()?, command).await?,
        Command::Blobs(command) => return blobs::run(&load()?, command).await,
        Command::Db(command) => return db::run(&load()?, command).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(loaded: &settings::Loaded) -> anyhow::Result<()> {
    let database = database::borrow(loaded).await?;
    let outcome = async {
        let pool = database.pool().await?;
        database::migrate(&pool).await?;
        pool.close().await;
        anyhow::Ok(())
    };
    let outcome = outcome.await;
    database.close().await;
    outcome
}

/// Data for programs: one JSON value on standard output.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value).context("can't write JSON")?);
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("millrace: {}", one_line(error));
    ExitCode::FAILURE
}

/// The whole command line, for the manual page and completions.
fn whole() -> clap::Command {
    Cli::command()
}
