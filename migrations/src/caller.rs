//! Who is asking: the account behind a bearer token or a session cookie.
//!
//! Secrets are compared by their SHA-256 in an index, so neither time nor a dump tells one.
//! Absent: what the caller may do. A route's policy and an owner check decide that.

use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Id;

/// Marker: a row of `accounts`.
pub enum Account {}

/// What an account may do beyond its own things. Stored as the lower-case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Listens and buys.
    Listener,
    /// Uploads and sells.
    Creator,
    /// Sells for several artists.
    Label,
    /// Takes things down.
    Moderator,
    /// Runs the place.
    Admin,
}

/// Somebody who proved who they are.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose account.
    pub account: Id<Account>,
    /// Its role.
    pub role: Role,
    /// The session, when they came by cookie: then a write needs the CSRF token too.
    pub session: Option<Uuid>,
}

/// What the row keeps of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The account of a live API token.
///
/// # Errors
/// Only the database's.
pub async fn by_token(db: &PgPool, token: &str) -> sqlx::Result<Option<Caller>> {
    let row = sqlx::query!(
        "SELECT a.id, a.role FROM api_tokens t JOIN accounts a ON a.id = t.account
          WHERE t.hash = $1 AND t.revoked_at IS NULL",
        &hash(token)[..]
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Caller { account: r.id.into(), role: Role::named(&r.role), session: None }))
}

/// The account of a live browser session.
///
/// # Errors
/// Only the database's.
pub async fn by_session(db: &PgPool, secret: &str) -> sqlx::Result<Option<Caller>> {
    let row = sqlx::query!(
        "SELECT s.id AS session, a.id, a.role FROM sessions s JOIN accounts a ON a.id = s.account
          WHERE s.hash = $1 AND s.revoked_at IS NULL AND s.expires_at > now()",
        &hash(secret)[..]
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Caller { account: r.id.into(), role: Role::named(&r.role), session: Some(r.session) }))
}

impl Role {
    /// The role of that name; the table's CHECK knows no other, and an unknown one gets the least.
    fn named(name: &str) -> Self {
        match name {
            "admin" => Self::Admin,
            "moderator" => Self::Moderator,
            "label" => Self::Label,
            "creator" => Self::Creator,
            _ => Self::Listener,
        }
    }
}
