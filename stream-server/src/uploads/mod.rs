//! `/files`: one engine behind two protocols, tus 1.0 (<https://tus.io/protocols/resumable-upload>; core and every extension
//! but `challenge`) and the IETF's resumable uploads (`ietf`). `door` tells them apart.
//!
//! Promise: what an answer's `Upload-Offset` says is durable; what a client asks for and can't have is refused, never
//! ignored: a checksum that nobody checks is a lie.

mod append;
mod checksum;
mod concat;
mod create;
mod door;
mod ietf;
mod metadata;
mod offset;
mod terminate;
pub(crate) mod wire;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, Request, State},
    response::Response,
};
use front::{BodyLimit, Cache, Csrf, Policy, Problem, Route, Time, Who};
use http::{HeaderMap, Method};
use pipeline::Engine;
use schema::caller::Caller;

pub use metadata::{Metadata, MetadataError};

/// What both upload routes ask of a caller. Bytes are counted by the engine, time by the minimum rate.
const POLICY: Policy = Policy {
    who: Who::Creator,
    csrf: Csrf::Checked,
    body: BodyLimit::Streaming,
    time: Time::MinimumRate,
    cache: Cache::NoStore,
    cors: true,
};

/// Nothing about an upload is told by OPTIONS, so everybody may ask.
const OPTIONS_POLICY: Policy = Policy {
    who: Who::Anyone,
    csrf: Csrf::Exempt,
    body: BodyLimit::Bytes(0),
    time: Time::Limit(Duration::from_secs(10)),
    ..POLICY
};

/// The door's routes.
pub fn routes(engine: &Arc<Engine>) -> Vec<Route> {
    let on = |method, path| (method, path, engine.clone());
    let (options, collection, one) = (Method::OPTIONS, "/files", "/files/{id}");
    vec![
        Route::on(options.clone(), collection, OPTIONS_POLICY, engine.clone(), ietf::options),
        Route::on(options, one, OPTIONS_POLICY, engine.clone(), ietf::options),
        route(on(Method::POST, collection), door::create),
        route(on(Method::HEAD, one), door::offset),
        route(on(Method::GET, one), ietf::offset),
        route(on(Method::PATCH, one), door::append),
        route(on(Method::DELETE, one), door::terminate),
        route(on(Method::POST, one), overridden),
    ]
}

fn route<H, T>((method, path, engine): (Method, &'static str, Arc<Engine>), handler: H) -> Route
where
    H: axum::handler::Handler<T, Arc<Engine>>,
    T: 'static,
{
    Route::on(method, path, POLICY, engine, handler)
}

/// Firewalls that know only GET and POST: the method that is meant comes in a header.
async fn overridden(
    engine: State<Arc<Engine>>,
    id: Path<String>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let meant = headers.get("x-http-method-override").map(http::HeaderValue::as_bytes);
    match meant {
        Some(b"PATCH") => door::append(engine, id, caller, headers, request).await,
        Some(b"DELETE") => door::terminate(engine, id, caller, headers).await,
        Some(b"HEAD") => door::offset(engine, id, caller, headers).await,
        _ => Err(Problem::new(
            http::StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "POST on an upload needs X-HTTP-Method-Override: PATCH, HEAD or DELETE.",
        )),
    }
}
