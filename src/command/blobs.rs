//! `millrace blobs`: whether what is stored is what was stored, what nobody names, and the way to another store.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use pipeline::{
    moving,
    orphans::{self, Found, TAKEN_MAX},
    store::{Local, Store},
    trash, verify,
};
use sqlx::PgPool;

use super::{link, print_json};
use crate::{
    config::{Backend, Loaded, Span},
    database, say, store,
};

#[derive(Subcommand)]
pub enum Command {
    /// Read every stored object and compare it with its row; exit 1 when one differs
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete what lies in the store and no row names, as the daily sweep does
    Gc {
        /// Only show what it is
        #[arg(long)]
        dry_run: bool,
        /// What is younger isn't judged [default: ORPHAN_AGE]
        #[arg(long, value_name = "DURATION")]
        older_than: Option<String>,
        /// Even if it is most of what is there
        #[arg(long)]
        force: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print where a program of your own can read a track's source, or an object: a signed URL, or a path
    Link {
        /// A track's id, or an object's key
        what: String,
        /// How long the URL is good [default: TRANSCODE_URL_TTL for a track, URL_TTL for a key]
        #[arg(long, value_name = "DURATION")]
        ttl: Option<String>,
    },
    /// Copy everything to the other store, and have the rows say so; run it again to go on
    Migrate {
        /// Where to
        #[arg(long, value_enum)]
        to: To,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where objects may go.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The data folder.
    Local,
    /// The bucket that S3_* name.
    S3,
}

/// Does it.
///
/// # Errors
/// No database, no store, or a refusal.
pub async fn run(loaded: &Loaded, command: Command) -> anyhow::Result<ExitCode> {
    // A copy needs the folder for itself; the others may look on while a daemon serves.
    let database = match command {
        Command::Migrate { .. } => database::own(loaded).await?,
        _ => database::borrow(loaded).await?,
    };
    let outcome = async {
        let pool = database.pool().await?;
        database::migrate(&pool).await?;
        let well = match command {
            Command::Verify { json } => verified(loaded, &pool, json).await?,
            Command::Gc { dry_run, older_than, force, json } => {
                let age = match older_than {
                    Some(text) => text.parse::<Span>().ok().context("--older-than is a duration such as 24h")?.0,
                    None => loaded.config.orphan_age.0,
                };
                collected(loaded, &pool, age, Gc { dry_run, force, json }).await?
            }
            Command::Link { what, ttl } => {
                say(format_args!("{}", link::link(loaded, &pool, &what, ttl.as_deref()).await?));
                true
            }
            Command::Migrate { to, json } => migrated(loaded, &pool, to, json).await?,
        };
        pool.close().await;
        anyhow::Ok(well)
    };
    let outcome = outcome.await;
    database.close().await;
    Ok(if outcome? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On standard error, and only for people.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

async fn verified(loaded: &Loaded, pool: &PgPool, json: bool) -> anyhow::Result<bool> {
    let (store, bar) = (store::beside(&loaded.config)?, bar());
    let report = verify::verify(pool, &store, |so_far| {
        bar.set_message(format!(
            "{} objects, {}, {} wrong",
            so_far.objects,
            HumanBytes(so_far.bytes),
            so_far.wrong_count
        ));
        bar.tick();
    });
    let report = report.await?;
    bar.finish_and_clear();
    let well = report.wrong_count == 0;
    if json {
        print_json(&report)?;
        return Ok(well);
    }
    for wrong in &report.wrong {
        say(format_args!("{}  {}  (track {})", wrong.key, wrong.what, wrong.track));
    }
    let (objects, read, tracks) = (report.objects, HumanBytes(report.bytes), report.tracks);
    say(format_args!("{objects} objects of {tracks} tracks read ({read}): {} differ", report.wrong_count));
    Ok(well)
}

struct Gc {
    dry_run: bool,
    force: bool,
    json: bool,
}

async fn collected(loaded: &Loaded, pool: &PgPool, age: Duration, how: Gc) -> anyhow::Result<bool> {
    let store = store::beside(&loaded.config)?;
    let found = orphans::find(pool, &store, age).await?;
    if how.json {
        print_json(&told(&found, how.dry_run))?;
    } else {
        for orphan in &found.orphans {
            let attempt = orphan.multipart_id.as_ref().map_or(String::new(), |id| format!("  (unfinished, {id})"));
            say(format_args!("{}  {}{attempt}", orphan.key, HumanBytes(orphan.bytes)));
        }
        let (count, bytes) = (found.count, HumanBytes(found.bytes));
        say(format_args!("{count} that no row names ({bytes}), {} kept", found.kept));
    }
    if how.dry_run {
        return Ok(true);
    }
    if !found.is_plausible() && !how.force {
        bail!("that is most of what is there, so nothing was deleted: is this the right database? --force deletes it");
    }
    orphans::bury(pool, &found.orphans).await?;
    while trash::empty(pool, &store).await? > 0 {}
    let left = trash::waiting(pool).await?;
    if left.orphan_bytes > 0 {
        bail!(
            "the store hasn't deleted all of it yet: the daemon goes on trying; `millrace doctor` looks at the store"
        );
    }
    if found.count > TAKEN_MAX as u64 && !how.json {
        say(format_args!("the first {TAKEN_MAX} are deleted: run it again for the rest"));
    }
    Ok(true)
}

fn told(found: &Found, dry_run: bool) -> serde_json::Value {
    let orphans: Vec<_> = found
        .orphans
        .iter()
        .map(|o| serde_json::json!({ "key": o.key, "multipart_id": o.multipart_id, "bytes": o.bytes }))
        .collect();
    serde_json::json!({
        "dry_run": dry_run, "count": found.count, "bytes": found.bytes, "kept": found.kept, "orphans": orphans,
    })
}

async fn migrated(loaded: &Loaded, pool: &PgPool, to: To, json: bool) -> anyhow::Result<bool> {
    let config = &loaded.config;
    let folder = config.data.join("store");
    let local = Local::open(&folder).with_context(|| format!("can't open the store {}", folder.display()))?;
    let (local, bucket): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(local), Arc::new(store::bucket(config)?));
    let (from, to) = if to == To::S3 { (local, bucket) } else { (bucket, local) };
    let bar = bar();
    let moved = moving::migrate(pool, &from, &to, |so_far| {
        let (tracks, objects, sent) = (so_far.tracks, so_far.objects, HumanBytes(so_far.bytes));
        bar.set_message(format!("{tracks} tracks, {objects} objects, {sent}"));
        bar.tick();
    });
    let moved = moved.await.context("run the same command again to go on")?;
    bar.finish_and_clear();
    if json {
        print_json(&moved)?;
        return Ok(true);
    }
    let (tracks, objects, sent) = (moved.tracks, moved.objects, HumanBytes(moved.bytes));
    say(format_args!("{tracks} tracks moved: {objects} objects sent ({sent}), {} were there", moved.there));
    let now = if config.track_storage_backend == Backend::S3 { "s3" } else { "local" };
    if now != to.backend().name() {
        say(format_args!(
            "now set TRACK_STORAGE_BACKEND={}, start, and look: `millrace blobs verify`",
            to.backend().name()
        ));
    }
    Ok(true)
}
