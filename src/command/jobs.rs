//! `millrace jobs`: what the background has to do, does, or gave up.

use clap::{Subcommand, ValueEnum};
use time::OffsetDateTime;

use super::print_json;
use crate::{config::Loaded, database, say};

/// A list that nobody reads to its end is only slow.
const LISTED_MAX: i64 = 1_000;

#[derive(Subcommand)]
pub enum Command {
    /// List jobs, newest first
    List {
        /// Only those
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Encode a failed track again from its stored bytes
    Retry {
        /// The track's id
        track: String,
    },
}

/// Where a job stands.
#[derive(Clone, Copy, ValueEnum)]
pub enum State {
    /// Due or waiting for its time.
    Waiting,
    /// Held by a process.
    Running,
    /// Given up.
    Dead,
    /// Done.
    Done,
}

#[derive(serde::Serialize)]
struct Listed {
    id: uuid::Uuid,
    kind: String,
    subject: uuid::Uuid,
    state: String,
    failures: i32,
    #[serde(with = "time::serde::rfc3339")]
    run_after: OffsetDateTime,
    last_error: Option<String>,
}

/// Does it.
///
/// # Errors
/// No database.
pub async fn run(loaded: &Loaded, command: Command) -> anyhow::Result<()> {
    let database = database::borrow(loaded).await?;
    let outcome = match command {
        Command::List { state, json } => list(&database, state).await.map(|jobs| Some((jobs, json))),
        Command::Retry { track } => retry(&database, &track).await.map(|()| None),
    };
    database.close().await;
    let Some((jobs, json)) = outcome? else { return Ok(()) };
    if json {
        return print_json(&jobs);
    }
    for job in jobs {
        let error = job.last_error.unwrap_or_default();
        say(format_args!(
            "{}  {:10} {:8} {}  failures {}  {error}",
            job.id, job.kind, job.state, job.subject, job.failures
        ));
    }
    Ok(())
}

async fn list(database: &database::Database, state: Option<State>) -> anyhow::Result<Vec<Listed>> {
    let pool = database.pool().await?;
    database::migrate(&pool).await?;
    let wanted = state.map(|s| match s {
        State::Waiting => "waiting",
        State::Running => "running",
        State::Dead => "dead",
        State::Done => "done",
    });
    let jobs = sqlx::query_as!(
        Listed,
        r#"SELECT id, kind, subject, state AS "state!", failures, run_after, last_error
             FROM (SELECT *, CASE WHEN done_at IS NOT NULL THEN 'done' WHEN dead_at IS NOT NULL THEN 'dead'
                                  WHEN lease_until > now() THEN 'running' ELSE 'waiting' END AS state FROM jobs) j
            WHERE $1::text IS NULL OR state = $1 ORDER BY created_at DESC LIMIT $2"#,
        wanted,
        LISTED_MAX
    )
    .fetch_all(&pool)
    .await?;
    pool.close().await;
    Ok(jobs)
}

async fn retry(database: &database::Database, track: &str) -> anyhow::Result<()> {
    let track =
        track.parse().map_err(|_| anyhow::anyhow!("`{track}` is no track's id: `jobs list` shows them as subjects"))?;
    let pool = database.pool().await?;
    database::migrate(&pool).await?;
    pipeline::retry(&pool, track).await.map_err(|e| anyhow::anyhow!("{e}: nothing was changed"))?;
    pool.close().await;
    Ok(())
}
