//! `HEAD /files/{id}`: how much is durable. Reads one row; takes no lease, stops nobody.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode};
use pipeline::{Engine, Kind};
use schema::caller::Caller;

use super::{concat, wire};

/// 200 with `Upload-Offset`, and `Upload-Length` or that it is to come. A final upload has an offset once it is stored. Unknown and foreign are the same 404; aborted, expired and failed are 410.
pub(super) async fn offset(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    wire::version(&headers)?;
    let look = engine.look(caller.account, wire::id(&id)?).await.map_err(|e| wire::gone(&e))?;
    let mut built = wire::about(StatusCode::OK, &look);
    match look.length {
        Some(length) => built = built.header(wire::LENGTH, length),
        // A final upload's comes from its partials, whoever sends them.
        None if look.kind == Kind::Final => {}
        None => built = built.header(wire::DEFER_LENGTH, "1"),
    }
    if let Some(concat) = &look.concat {
        built = built.header(concat::CONCAT, concat);
    }
    if !look.metadata.is_empty() {
        built = built.header(wire::METADATA, &look.metadata);
    }
    if let Some(digest) = wire::repr_digest(&look) {
        built = built.header("repr-digest", digest);
    }
    wire::sent(built.body(Body::empty()))
}
