//! `GET /api/v1/uploads/{id}`: what is there, for whoever goes on. Reads rows; stops nobody.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use front::Problem;
use pipeline::{Engine, publish::hex};
use schema::{caller::Caller, machine::State as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire;

/// An upload.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Standing {
    /// `opened`, `receiving`, `sealing`, `stored` or `failed`.
    state: &'static str,
    /// Its length in bytes.
    size: Option<u64>,
    /// The end of what is there without a hole.
    offset: u64,
    /// All that is there: from (inclusive) and to (exclusive), in order.
    received: Vec<(u64, u64)>,
    /// Of the stored bytes, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The track that it becomes.
    track_id: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Why an upload failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    /// A stable name.
    code: String,
    /// The same in a sentence.
    detail: String,
}

/// 200; what was ended or has expired is 410.
pub(super) async fn progress(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Standing>, Problem> {
    let progress = engine.progress(caller.account, wire::id(&id)?).await.map_err(|e| wire::gone(&e))?;
    let look = progress.look;
    Ok(Json(Standing {
        state: look.state.name(),
        size: look.length,
        offset: look.offset,
        received: progress.received,
        sha256: look.sha256.as_deref().map(hex),
        track_id: look.track.map(|track| track.to_string()),
        error: look.reason.map(|code| Failure { detail: wire::why_failed(&code).to_owned(), code }),
    }))
}
