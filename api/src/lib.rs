//! The companion API and its pages. Each domain is a folder with the same rooms: `model`, `http`, `flow`, `sql`.
//!
//! A domain calls only another's `flow` or `model`, and only one listed before it.

pub mod accounts;
pub mod tracks;

pub mod pages;

mod cursor;
pub mod health;
pub mod openapi;
mod policy;

pub use cursor::CursorKey;

use front::Route;

/// Everything that the routes stand on.
#[derive(Clone)]
pub struct Api {
    /// Who people are.
    pub accounts: accounts::Accounts,
    /// What they have.
    pub tracks: tracks::Tracks,
    /// What they look at.
    pub pages: pages::Pages,
    /// Whether it all works.
    pub health: health::Health,
    /// Documents of the routes that other crates serve, to be told beside ours.
    pub documents: Vec<utoipa::openapi::OpenApi>,
    /// Those routes: their policies say who may call.
    pub beside: Vec<Route>,
}

/// Every route of this crate.
pub fn routes(api: Api) -> Vec<Route> {
    let ours = [
        accounts::http::routes(api.accounts),
        tracks::http::routes(api.tracks),
        pages::routes(api.pages),
        health::routes(api.health),
    ]
    .concat();
    let document = openapi::document(api.documents, &[api.beside, ours.clone()].concat());
    [ours, openapi::routes(document)].concat()
}

/// The routes that answer even where the process has no other role.
pub fn health_routes(health: health::Health) -> Vec<Route> {
    health::routes(health)
}
