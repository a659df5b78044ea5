//! `DELETE /files/{id}`: the upload ends. A running PATCH is stopped first; a stored track lives on.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode};
use pipeline::Engine;
use schema::caller::Caller;

use super::wire;

/// 204; afterwards 410.
pub(super) async fn terminate(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    wire::version(&headers)?;
    engine.terminate(caller.account, wire::id(&id)?).await.map_err(|e| wire::gone(&e))?;
    wire::sent(wire::answer(StatusCode::NO_CONTENT).body(Body::empty()))
}
