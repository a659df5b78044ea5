//! `millrace serve`: everything composed, in the order in which each needs the one before.
//!
//! log → sockets → data folder and database → migrations → secrets → routes and workers → ready.
//! On SIGTERM or Ctrl-C: no new work, drain, stop the database; all within [`STOP_MAX`]. A second signal ends the drain.

mod compose;
mod listen;
mod log;
mod node;
mod secrets;
mod stop;
mod verbs;

use std::time::Duration;

use anyhow::Context;
use front::accept::{self, Limits, Stop};
use tokio_util::task::TaskTracker;

use crate::{config::Loaded, database, postgres, say};

/// From the first signal to the end: a supervisor that gives 30 s has time to spare.
pub const STOP_MAX: Duration = Duration::from_secs(25);
/// What requests and workers get of it; the rest is the database's.
const DRAIN_MAX: Duration = Duration::from_secs(16);
const _: () = assert!(DRAIN_MAX.as_secs() + postgres::STOP_MAX.as_secs() < STOP_MAX.as_secs());

/// Serves until told to stop.
///
/// # Errors
/// Whatever keeps it from serving, with the cure.
pub async fn serve(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    log::start(config)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let stop = stop::on_signals()?;
    // Bound first: a port that is taken is known before anything is started. Callers wait until we accept.
    let public = listen::bind("listen", config.listen).await?;
    let admin = listen::bind("admin", config.admin).await?;
    let address = public.local_addr().context("the public socket has no address")?;

    let database = tokio::select! {
        database = database::own(loaded) => database?,     // cancelled only to leave; the supervisor's handle stops it
        () = stop.first.cancelled() => return Ok(()),
    };
    let outcome = run(loaded, &database, &stop, Sockets { public, admin, address }).await;
    database.close().await;
    tracing::info!("stopped");
    outcome
}

struct Sockets {
    public: tokio::net::TcpListener,
    admin: tokio::net::TcpListener,
    address: std::net::SocketAddr,
}

async fn run(
    loaded: &Loaded,
    database: &database::Database,
    stop: &stop::Stop,
    sockets: Sockets,
) -> anyhow::Result<()> {
    let pool = database.pool().await?;
    database::migrate(&pool).await?;
    let secrets = match &loaded.config.secret {
        Some(secret) => secrets::derived(secret.expose())?,
        None => secrets::load_or_make(&loaded.config.data)?,
    };
    let tasks = TaskTracker::new();
    let parts = compose::Parts {
        config: &loaded.config,
        pool: &pool,
        secrets,
        node: node::load_or_make(&loaded.config.data)?,
        stop: &stop.first,
        tasks: &tasks,
    };
    let routers = compose::compose(parts).await?;

    let limits = Limits { drain: DRAIN_MAX, ..Limits::default() };
    let ends = Stop { drain: stop.first.clone(), cut: stop.second.clone() };
    let admin_url = format!("http://{}", sockets.admin.local_addr().context("the admin socket has no address")?);
    let (public, admin, proxies) = (vec![sockets.public], vec![sockets.admin], routers.proxies);
    tasks.spawn(accept::serve(public, routers.public, limits.clone(), proxies.clone(), ends.clone()));
    tasks.spawn(accept::serve(admin, routers.admin, limits, proxies, ends));
    let url = loaded.config.public_url.as_ref().map_or(format!("http://{}", sockets.address), ToString::to_string);
    tracing::info!(url, admin = admin_url, "ready");
    say(format_args!("Millrace is ready: {url}/"));

    stop.first.cancelled().await;
    tracing::info!("draining");
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}                            // cancel-safe: it only watches
        () = stop.second.cancelled() => tracing::warn!("told twice, not waiting for what is still running"),
        () = tokio::time::sleep(DRAIN_MAX) => tracing::warn!("not everything ended in time"),
    }
    // What a task that outlived the drain still holds can't keep the database's stop waiting.
    drop(tokio::time::timeout(Duration::from_millis(500), pool.close()).await);
    Ok(())
}
