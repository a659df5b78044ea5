//! `POST /api/v1/uploads/{id}/complete`: every chunk is there, and no more come.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use front::Problem;
use pipeline::{Engine, publish::hex};
use schema::caller::Caller;
use serde::Serialize;
use utoipa::ToSchema;

use super::wire;

/// A stored upload.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Stored {
    /// Its track.
    track_id: Option<String>,
    /// Of its bytes, in hex.
    sha256: Option<String>,
    /// Its length in bytes.
    size: Option<u64>,
}

/// 200 when the file is verified and durable. Asked again, the same.
pub(super) async fn complete(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Stored>, Problem> {
    let look = engine.complete(caller.account, wire::id(&id)?).await.map_err(|e| wire::not_complete(&e))?;
    Ok(Json(Stored {
        track_id: look.track.map(|track| track.to_string()),
        sha256: look.sha256.as_deref().map(hex),
        size: look.length,
    }))
}
