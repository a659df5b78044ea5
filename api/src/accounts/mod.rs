//! Accounts, their API tokens and their browser sessions.
//!
//! Invariants: there is one owner. A secret is shown once, when it is made, and kept as its hash. Nobody is asked who
//! they are for less than a token or a session; the one exception is the owner's own machine in development
//! ([`model::Arrival`]).
//! Verbs: `ensure_owner`, `create_user`, `create_token`, `open_session`, `close_session`.
//! Absent: passwords, refresh tokens, roles that change.

pub mod flow;
pub(crate) mod http;
pub mod model;
mod sql;

use front::session::Cookies;
use sqlx::PgPool;

/// What the routes of accounts stand on.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Where accounts, tokens and sessions are. Written by this domain alone.
    pub db: PgPool,
    /// How session cookies look.
    pub cookies: Cookies,
    /// Not in production: the owner is signed in by opening the page on their own machine.
    pub is_development: bool,
}
