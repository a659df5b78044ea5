//! What a process is made of: its roles' routes and workers.
//!
//! The one place where the crates meet. Each role adds its routes to `public`, its views to `admin`, and its tasks to
//! `tasks`, which the drain waits for; each task ends when `stop` is cancelled.

use anyhow::Context;
use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusBuilder;
use sqlx::PgPool;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    health::{self, Health},
    secrets::Secrets,
};
use crate::config::Config;

/// What roles are made from.
#[expect(dead_code, reason = "the roles that read these are composed next")]
pub struct Parts<'a> {
    /// The settings.
    pub config: &'a Config,
    /// The migrated database.
    pub pool: &'a PgPool,
    /// Keys of this instance.
    pub secrets: Secrets,
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
}

/// Composes the roles of this process.
///
/// # Errors
/// What a role lacks.
pub async fn compose(parts: Parts<'_>) -> anyhow::Result<Routers> {
    let metrics = PrometheusBuilder::new().install_recorder().context("can't install the metrics recorder")?;
    let public = health::routes(parts.health.clone(), parts.stop.clone());
    let admin = health::routes(parts.health, parts.stop.clone())
        .route("/metrics", get(move || std::future::ready(metrics.render())));
    Ok(Routers { public, admin })
}
