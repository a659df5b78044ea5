//! The companion API. Each domain is a folder with the same rooms: `model`, `http`, `flow`, `sql`.
//!
//! A domain calls only another's `flow` or `model`, and only one listed before it.

pub mod accounts;
pub mod tracks;

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
    /// Whether it all works.
    pub health: health::Health,
    /// Documents of the routes that other crates serve, to be told beside ours.
    pub documents: Vec<utoipa::openapi::OpenApi>,
}

/// Every route of this crate.
pub fn routes(api: Api) -> Vec<Route> {
    let document = openapi::document(api.documents);
    [
        accounts::http::routes(api.accounts),
        tracks::http::routes(api.tracks),
        health::routes(api.health),
        openapi::routes(document),
    ]
    .concat()
}
