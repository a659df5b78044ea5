//! The web pages: what the server renders, and the scripts and styles that it carries for them.
//!
//! Promises: no inline script or style, no request to anybody else, and a list that reads well without JavaScript.
//! Absent:   who the caller is and how they prove it. Whoever composes the routes puts [`Caller`](schema::caller::Caller)
//!           and [`CsrfToken`] into the request's extensions; without a caller the home page sends to `/sign-in`.

mod assets;
mod http;
mod model;
mod sql;

pub use assets::asset;
pub use http::{home, sign_in};

use axum::{Router, routing::get};

/// What the pages need.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Where the tracks are listed from. The pages only read.
    pub db: sqlx::PgPool,
}

/// What a write by cookie must repeat in `X-CSRF-Token`; the page hands it to its scripts in a `<meta>`.
#[derive(Clone, Debug)]
pub struct CsrfToken(pub String);

/// The pages and their assets.
pub fn routes(pages: Pages) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in))
        .route("/assets/{name}", get(asset))
        .with_state(pages)
}
