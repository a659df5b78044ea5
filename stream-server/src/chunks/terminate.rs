//! `DELETE /api/v1/uploads/{id}`: the upload ends. Chunks on their way are not kept; a stored track lives on.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
};
use front::Problem;
use http::StatusCode;
use pipeline::Engine;
use schema::caller::Caller;

use super::wire;

/// 204; afterwards 410.
pub(super) async fn terminate(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Problem> {
    engine.terminate(caller.account, wire::id(&id)?).await.map_err(|e| wire::gone(&e))?;
    Ok(StatusCode::NO_CONTENT)
}
