//! `/api/v1/uploads`: the door of numbered chunks. Any order, in parallel, repeatable.
//!
//! Promise: a chunk that was answered with 204 is durable; `complete` answers 200 when the file is verified and stored, and
//! says the same when it is asked again. Absent: offsets to send, and an end by length: the client says when it ends.

mod complete;
mod create;
mod digests;
mod progress;
mod put;
mod terminate;
mod wire;

use std::{sync::Arc, time::Duration};

use front::{BodyLimit, Cache, Csrf, Policy, Route, Time, Who};
use http::Method;
use pipeline::Engine;

/// The documents, for the description of the interface.
pub(crate) mod shapes {
    pub(crate) use super::{
        complete::Stored,
        create::{Created, Wanted},
        progress::{Failure, Standing},
    };
}

/// Of a new upload: a name, a title, a digest, and a release.
const JSON_BYTES: u64 = 16 << 10;

/// Above what `complete` waits for a seal by itself, so that its own answer is the one that is heard.
const TIME: Duration = Duration::from_secs(30);

/// What a chunk's route asks of a caller. Bytes are counted by the engine, time by the minimum rate.
const CHUNK: Policy = Policy {
    who: Who::Creator,
    csrf: Csrf::Checked,
    body: BodyLimit::Streaming,
    time: Time::MinimumRate,
    cache: Cache::NoStore,
    cors: true,
};

/// The same for small documents.
const DOCUMENT: Policy = Policy { body: BodyLimit::Bytes(JSON_BYTES), time: Time::Limit(TIME), ..CHUNK };

/// The same for reading.
const READ: Policy = Policy { csrf: Csrf::Exempt, body: BodyLimit::Bytes(0), ..DOCUMENT };

/// The door's routes.
pub fn routes(engine: &Arc<Engine>) -> Vec<Route> {
    let (all, one) = ("/api/v1/uploads", "/api/v1/uploads/{id}");
    let (chunk, end) = ("/api/v1/uploads/{id}/chunks/{n}", "/api/v1/uploads/{id}/complete");
    vec![
        Route::on(Method::POST, all, DOCUMENT, Arc::clone(engine), create::create),
        Route::on(Method::GET, one, READ, Arc::clone(engine), progress::progress),
        Route::on(Method::PUT, chunk, CHUNK, Arc::clone(engine), put::put),
        Route::on(Method::POST, end, DOCUMENT, Arc::clone(engine), complete::complete),
        Route::on(Method::DELETE, one, DOCUMENT, Arc::clone(engine), terminate::terminate),
    ]
}
