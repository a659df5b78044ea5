//! What a process is made of: its roles' routes and workers.
//!
//! The one place where the crates meet. Each role adds its routes to `public`, its views to `admin`, and its tasks to
//! `tasks`, which the drain waits for; each task ends when `stop` is cancelled.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use api::{
    Api, CursorKey,
    accounts::Accounts,
    health::{Health, Probe},
    pages::Pages,
    tracks::{Beat, EVENT_STREAMS_MAX, Tracks},
};
use axum::{Router, extract::State};
use front::{BodyLimit, Cache, Csrf, Gate, Policy, Route, Time, TrustedProxies, Who, csrf, session::Cookies};
use http::Method;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pipeline::{Encoding, Engine, grant::Keys, limits::Limits, media::ladder::Ladder, scan::Scanner, store::Backend};
use sqlx::PgPool;
use stream_server::media::Media;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{secrets::Secrets, verbs::Verbs};
use crate::{
    config::{Config, Environment, Role},
    store,
};

/// The key that signs grants now. A rotation adds one.
const GRANT_KEY: u8 = 1;

/// A scrape renders a few hundred lines from memory.
const SCRAPE: Duration = Duration::from_secs(10);

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
    api::accounts::flow::ensure_owner(pool, &config.data, parts.node)
        .await
        .context("can't make the owner's account")?;

    let proxies: TrustedProxies = config.trusted_proxies.to_string().parse().context("MILLRACE_TRUSTED_PROXIES")?;
    let cookies =
        Cookies { secure: config.public_url.as_ref().is_some_and(|url| url.to_string().starts_with("https:")) };
    let gate = Gate {
        db: (*pool).clone(),
        csrf: csrf::Key::new(&secrets.csrf.0),
        cookies,
        origins: config.public_url.iter().map(|url| url.to_string().trim_end_matches('/').to_owned()).collect(),
        proxies: proxies.clone(),
    };
    let health = health(&parts, &engine);
    let public = front::router(routes(&parts, &engine, &health, cookies), gate.clone());
    let admin = front::router([api::health_routes(health), vec![scraped(metrics)]].concat(), gate);
    run_engine(&parts, &engine);
    Ok(Routers { public, admin, proxies })
}

/// Everything that is counted, for whoever reaches the admin listener.
fn scraped(metrics: PrometheusHandle) -> Route {
    let policy = Policy {
        who: Who::Anyone,
        csrf: Csrf::Exempt,
        body: BodyLimit::Bytes(0),
        time: Time::Limit(SCRAPE),
        cache: Cache::NoStore,
        cors: false,
    };
    let render = |State(metrics): State<PrometheusHandle>| std::future::ready(metrics.render());
    Route::on(Method::GET, "/metrics", policy, metrics, render)
}

/// What each role answers.
fn routes(parts: &Parts<'_>, engine: &Arc<Engine>, health: &Health, cookies: Cookies) -> Vec<Route> {
    let Parts { config, pool, secrets, .. } = parts;
    let grants = Keys::new((GRANT_KEY, &secrets.grant.0), None);
    let has = |role| config.roles.0.contains(&role);
    let mut routes = Vec::new();
    if has(Role::Uploads) {
        routes.extend(stream_server::uploads::routes(engine));
        routes.extend(stream_server::chunks::routes(engine));
    }
    if has(Role::Playback) {
        routes.extend(stream_server::media::routes(&Media::new(Arc::clone(engine), grants.clone())));
    }
    if !has(Role::Api) {
        routes.extend(api::health_routes(health.clone()));
        return routes;
    }
    let accounts = Accounts { db: (*pool).clone(), cookies, is_development: config.env == Environment::Development };
    routes.extend(api::routes(Api {
        tracks: Tracks {
            db: (*pool).clone(),
            engine: Arc::new(Verbs(Arc::clone(engine))),
            grants,
            cursors: CursorKey::new(&secrets.cursor.0),
            stream_url_ttl: config.stream_url_ttl.0,
            download_url_ttl: config.download_url_ttl.0,
            beat: Beat::default(),
            streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)),
        },
        pages: Pages { db: (*pool).clone(), accounts: accounts.clone(), csrf: csrf::Key::new(&secrets.csrf.0) },
        accounts,
        health: health.clone(),
        documents: vec![stream_server::document()],
        beside: routes.clone(),
    }));
    routes
}

/// What the process stands on (UP-20).
fn health(parts: &Parts<'_>, engine: &Arc<Engine>) -> Health {
    let (stop, store, worker) = (parts.stop.clone(), Arc::clone(engine), Arc::clone(engine));
    let scanner = Arc::clone(engine);
    let is_s3 = store.store().backend() == Backend::S3;
    let (name, unused) = if is_s3 { ("s3", "store") } else { ("store", "s3") };
    Health::new(vec![
        Probe::needed("process", move || {
            let draining = stop.is_cancelled();
            async move { if draining { Err("draining".into()) } else { Ok(()) } }
        }),
        Probe::db(parts.pool.clone()),
        Probe::needed(name, move || {
            let store = Arc::clone(store.store());
            async move { store.probe().await.map_err(|e| crate::one_line(&e.into())) }
        }),
        Probe::disabled(unused),
        Probe::disabled("redis"),
        match parts.config.clamd_addr {
            None => Probe::disabled("clamd"),
            Some(_) => Probe::helpful("clamd", move || {
                let engine = Arc::clone(&scanner);
                async move { engine.probe_scanner().await.unwrap_or(Ok(())).map_err(|e| e.to_string()) }
            }),
        },
        Probe::helpful("media_worker", move || {
            let engine = Arc::clone(&worker);
            async move { engine.probe_worker().await }
        }),
    ])
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
        account_bytes: config.upload_account_bytes.map(|size| size.0),
        account_open: config.upload_account_open,
        creations_per_minute: config.upload_creations_per_minute,
        orphan_sweep: config.orphan_sweep.0,
        orphan_age: config.orphan_age.0,
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
    let scanner = config.clamd_addr.clone().map(|clamd| Scanner::new(clamd.0, config.clamd_timeout.0));
    Ok(Engine::new(parts.pool.clone(), store::open(config)?, limits, encoding, scanner, parts.node))
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
