//! Is the process there, can it serve, and how is each thing that it stands on?
//!
//! A registry of probes, so that each part of the program brings its own. They run side by side, each under a limit.
//! Told to everybody is a state and a time; why something failed is for the log.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State, response::IntoResponse};
use front::{Route, Who};
use http::{Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::read;

/// Who doesn't answer in this time is down, as far as a balancer can wait.
const ANSWER_MAX: Duration = Duration::from_secs(2);

type Looking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The probes of this process.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Vec<Probe>>);

/// One thing that the process stands on.
#[derive(Clone)]
pub struct Probe {
    name: &'static str,
    needed: bool,
    look: Option<Arc<dyn Fn() -> Looking + Send + Sync>>,
}

impl Probe {
    /// Without it the process can't serve: it counts for `/readyz` and for the status of `/health/deep`.
    pub fn needed<F>(name: &'static str, look: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name, needed: true, look: Some(Arc::new(move || Box::pin(look()))) }
    }

    /// Without it things are slower or later: it is told, and makes nothing fail.
    pub fn helpful<F>(name: &'static str, look: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { needed: false, ..Self::needed(name, look) }
    }

    /// Not configured here.
    pub fn disabled(name: &'static str) -> Self {
        Self { name, needed: false, look: None }
    }

    /// The database.
    pub fn db(db: sqlx::PgPool) -> Self {
        Self::needed("db", move || {
            let db = db.clone();
            async move {
                let asked = sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&db).await;
                asked.map(drop).map_err(|error| error.to_string())
            }
        })
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    /// `ok`, or `failed` when something needed is.
    status: &'static str,
    /// By name.
    dependencies: BTreeMap<&'static str, Dependency>,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Dependency {
    /// ok, failed, disabled.
    state: &'static str,
    /// How long the answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
}

impl Health {
    /// The registry.
    pub fn new(probes: Vec<Probe>) -> Self {
        Self(Arc::new(probes))
    }

    async fn ask(&self, wanted: fn(&Probe) -> bool) -> (StatusCode, Report) {
        let asked: Vec<_> = self.0.iter().filter(|probe| wanted(probe)).collect();
        let found = futures_util::future::join_all(asked.iter().map(|probe| look(probe))).await;
        let is_down = asked.iter().zip(&found).any(|(probe, found)| probe.needed && found.state == "failed");
        let dependencies = asked.iter().map(|probe| probe.name).zip(found).collect();
        let (code, status) = if is_down { (StatusCode::SERVICE_UNAVAILABLE, "failed") } else { (StatusCode::OK, "ok") };
        (code, Report { status, dependencies })
    }
}

async fn look(probe: &Probe) -> Dependency {
    let Some(look) = &probe.look else { return Dependency { state: "disabled", ms: None } };
    let began = Instant::now();
    let found = tokio::time::timeout(ANSWER_MAX, look()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let ms = Some((began.elapsed().as_secs_f64() * 100_000.0).round() / 100.0);
    match found {
        Ok(()) => Dependency { state: "ok", ms },
        Err(error) => {
            tracing::warn!(dependency = probe.name, error, "a dependency is down");
            Dependency { state: "failed", ms }
        }
    }
}

pub(crate) fn routes(health: Health) -> Vec<Route> {
    vec![
        Route::on(Method::GET, "/healthz", read(Who::Anyone), (), alive),
        Route::on(Method::GET, "/readyz", read(Who::Anyone), health.clone(), ready),
        Route::on(Method::GET, "/health/deep", read(Who::Anyone), health, deep),
    ]
}

/// The process is there.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Report)))]
pub(crate) async fn alive() -> impl IntoResponse {
    Json(Report { status: "ok", dependencies: BTreeMap::new() })
}

/// It can serve: everything that it needs answers.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, body = Report), (status = 503, body = Report)))]
pub(crate) async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let (code, report) = health.ask(|probe| probe.needed).await;
    (code, Json(report))
}

/// Each thing that it stands on, with state and milliseconds.
#[utoipa::path(get, path = "/health/deep", tag = "health", responses(
    (status = 200, body = Report), (status = 503, body = Report)))]
pub(crate) async fn deep(State(health): State<Health>) -> impl IntoResponse {
    let (code, report) = health.ask(|_| true).await;
    (code, Json(report))
}
