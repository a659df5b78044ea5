//! What a process is made of: its roles' routes and workers.
//!
//! The one place where the crates meet. Each role adds its routes to `public`, its views to `admin`, and its tasks to
//! `tasks`, which the drain waits for; each task ends when `stop` is cancelled.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use axum::{Router, routing::get};
use front::{Gate, Route, TrustedProxies, csrf, session::Cookies};
use metrics_exporter_prometheus::PrometheusBuilder;
use pipeline::{Encoding, Engine, grant::Keys, limits::Limits, media::ladder::Ladder, store};
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    health::{self, Health},
    secrets::Secrets,
};
use crate::config::{Config, Environment, Role};

/// The key that signs grants now. A rotation adds one.
const GRANT_KEY: u8 = 1;

/// What roles are made from.
pub struct Parts<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The migrated database.
    pub pool: &'a PgPool,
    /// Keys of this instance.
    pub secrets: Secrets,
    /// Which node this is.
    pub node: Uuid,
    /// The probes' subject.
    pub health: Health,
    /// Cancelled when no new work may start.
    pub stop: &'a CancellationToken,
    /// Everything that the drain waits for.
    pub tasks: &'a TaskTracker,
}

/// What the two sockets answer.
pub struct Routers {
    /// For everybody.
    pub public: Router,
    /// For the operator.
    pub admin: Router,
    /// Whose word about a client's address counts.
    pub proxies: TrustedProxies,
}

/// Composes the roles of this process.
///
/// # Errors
/// What a role lacks.
pub async fn compose(parts: Parts<'_>) -> anyhow::Result<Routers> {
    let Parts { config, pool, secrets, .. } = &parts;
    let metrics = PrometheusBuilder::new().install_recorder().context("can't install the metrics recorder")?;
    pipeline::digest::self_check().map_err(anyhow::Error::msg)?;
    let engine = engine(&parts)?;
    engine.start().await.context("can't take back what an earlier process held")?;

    let keys = Keys::new((GRANT_KEY, &secrets.grant.0), None);
    let roles = &config.roles.0;
    let mut routes: Vec<Route> = Vec::new();
    if roles.contains(&Role::Uploads) {
        routes.extend(stream_server::uploads::routes(&engine));
    }
    if roles.contains(&Role::Playback) {
        routes.extend(stream_server::media::routes(&stream_server::media::Media {
            engine: Arc::clone(&engine),
            keys: keys.clone(),
        }));
    }

    let proxies: TrustedProxies = config.trusted_proxies.to_string().parse().context("MILLRACE_TRUSTED_PROXIES")?;
    let secure = config.public_url.as_ref().is_some_and(|url| url.to_string().starts_with("https:"));
    let gate = Gate {
        db: (*pool).clone(),
        csrf: csrf::Key::new(&secrets.csrf.0),
        cookies: Cookies { secure },
        origins: config.public_url.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()).collect(),
        proxies: proxies.clone(),
    };
    run_engine(&parts, &engine);
    let public = front::router(routes, gate).merge(health::routes(parts.health.clone(), parts.stop.clone()));
    let admin = health::routes(parts.health, parts.stop.clone())
        .route("/metrics", get(move || std::future::ready(metrics.render())));
    Ok(Routers { public, admin, proxies })
}

/// The engine, over the store that the settings name.
fn engine(parts: &Parts<'_>) -> anyhow::Result<Arc<Engine>> {
    let config = parts.config;
    let limits = Limits {
        part_bytes: config.upload_part_bytes.0,
        max_bytes: config.upload_max_bytes.0,
        memory_bytes: config.upload_memory_bytes.0,
        expiry: config.upload_expiry.0,
        parts_in_flight: usize::try_from(config.upload_parts_in_flight)?,
        lease: config.upload_lease.0,
        stuck_after: config.track_processing_stuck_after.0,
        ..Limits::default()
    };
    if let Err(why) = limits.check() {
        bail!("{why}");
    }
    let encoding = Encoding {
        ladder: Ladder::parse(&config.hls_ladder.to_string()).context("HLS_LADDER")?,
        segment_seconds: config.hls_segment_seconds,
        // What runs, even if the file was replaced by an upgrade since.
        exe: PathBuf::from("/proc/self/exe"),
    };
    let folder = config.data.join("store");
    let store = store::Local::open(&folder).with_context(|| format!("can't open the store {}", folder.display()))?;
    Ok(Engine::new(parts.pool.clone(), Arc::new(store), limits, encoding, parts.node))
}

/// Runs the engine's background work until the drain.
fn run_engine(parts: &Parts<'_>, engine: &Arc<Engine>) {
    let (background, drained) = (Arc::clone(engine), Arc::clone(engine));
    let stop = parts.stop.clone();
    parts.tasks.spawn(async move {
        stop.cancelled().await;
        drained.stop();
    });
    parts.tasks.spawn(background.run());
}

/// Development signs in whoever sits at this machine; see `api::accounts`.
pub fn is_development(config: &Config) -> bool {
    config.env == Environment::Development
}
