//! The web pages: what the server renders, and the scripts and styles that it carries for them.
//!
//! Promises: no inline script or style, no request to anybody else, and a list that reads well without JavaScript.
//! Absent:   what may be done without signing in: nothing. Who has no session is sent to `/sign-in`, but for the owner on
//!           their own machine ([`crate::accounts::model::Arrival`]).

pub(crate) mod assets;
pub(crate) mod http;
mod model;
mod sql;

use std::time::Duration;

use ::http::Method;
use front::{BodyLimit, Cache, Csrf, Policy, Route, Time, Who, csrf};

use crate::accounts::Accounts;

/// What the pages need.
#[derive(Clone)]
pub struct Pages {
    /// Where the tracks are listed from. The pages only read.
    pub db: sqlx::PgPool,
    /// Signs the owner in on their own machine.
    pub accounts: Accounts,
    /// What a write by cookie must repeat in `X-CSRF-Token`; the page hands it to its scripts in a `<meta>`.
    pub csrf: csrf::Key,
}

/// A page is rendered from one query.
const PAGE: Policy = Policy {
    who: Who::Visitor,
    csrf: Csrf::Exempt,
    body: BodyLimit::Bytes(0),
    time: Time::Limit(Duration::from_secs(30)),
    cache: Cache::ByHandler,
    cors: false,
};

/// Scripts and styles hold nothing of anybody.
const ASSET: Policy = Policy { who: Who::Anyone, ..PAGE };

/// The pages and their assets.
pub(crate) fn routes(pages: Pages) -> Vec<Route> {
    vec![
        Route::on(Method::GET, "/", PAGE, pages, http::home),
        Route::on(Method::GET, "/sign-in", ASSET, (), http::sign_in),
        Route::on(Method::GET, "/assets/{name}", ASSET, (), assets::asset),
    ]
}
