//! Is the process there, and can it serve?

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::postgres;

/// A probe that hears nothing for longer counts as refused anyway.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone)]
pub struct Health {
    /// The database.
    pub pool: PgPool,
    /// The private server's supervisor.
    pub private: Option<watch::Receiver<postgres::State>>,
}

#[derive(Clone)]
struct Probe {
    health: Health,
    stop: CancellationToken,
}

#[derive(serde::Serialize)]
struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `/healthz` and `/readyz`.
pub fn routes(health: Health, stop: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(Answer { status: "ok", reason: None }) }))
        .route("/readyz", get(readyz))
        .with_state(Probe { health, stop })
}

async fn readyz(State(probe): State<Probe>) -> impl IntoResponse {
    match obstacle(&probe).await {
        None => (StatusCode::OK, Json(Answer { status: "ready", reason: None })),
        reason => (StatusCode::SERVICE_UNAVAILABLE, Json(Answer { status: "not ready", reason })),
    }
}

async fn obstacle(probe: &Probe) -> Option<String> {
    if probe.stop.is_cancelled() {
        return Some("draining".into());
    }
    let asked = sqlx::query_scalar!("SELECT 1 AS \"one!\"").fetch_one(&probe.health.pool);
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(_)) => None,
        // What the database says in detail is for the log, not for every caller.
        Ok(Err(e)) => {
            tracing::warn!("the database doesn't answer: {e}");
            Some(probe.reason())
        }
        Err(_) => Some(probe.reason()),
    }
}

impl Probe {
    fn reason(&self) -> String {
        let state = self.health.private.as_ref().map(|state| state.borrow().clone());
        match state {
            Some(postgres::State::Ready) | None => "the database doesn't answer".into(),
            Some(_) => "the private database is being started again".into(),
        }
    }
}
