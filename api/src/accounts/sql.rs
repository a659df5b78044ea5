//! One function per query.

use std::time::Duration;

use schema::{Id, Tx, caller::Account};
use sqlx::{PgExecutor, PgPool, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use super::model::User;

/// The owner, made if there is none.
pub(super) async fn owner(db: &PgPool, id: Id<Account>, name: &str) -> sqlx::Result<Id<Account>> {
    sqlx::query!(
        "INSERT INTO accounts (id, name, role, is_owner) VALUES ($1, $2, 'admin', true)
         ON CONFLICT (is_owner) WHERE is_owner DO NOTHING",
        id.uuid(),
        name
    )
    .execute(db)
    .await?;
    Ok(sqlx::query_scalar!("SELECT id FROM accounts WHERE is_owner").fetch_one(db).await?.into())
}

pub(super) async fn open_account(db: &PgPool, id: Id<Account>, name: &str, role: &str) -> sqlx::Result<()> {
    sqlx::query!("INSERT INTO accounts (id, name, role) VALUES ($1, $2, $3)", id.uuid(), name, role)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn all_users(db: &PgPool) -> sqlx::Result<Vec<User>> {
    sqlx::query_as!(User, "SELECT id, name, role, is_owner, created_at FROM accounts ORDER BY created_at, id")
        .fetch_all(db)
        .await
}

pub(super) async fn user(db: &PgPool, id: Id<Account>) -> sqlx::Result<Option<User>> {
    sqlx::query_as!(User, "SELECT id, name, role, is_owner, created_at FROM accounts WHERE id = $1", id.uuid())
        .fetch_optional(db)
        .await
}

pub(super) async fn add_token(
    db: impl PgExecutor<'_>,
    account: Id<Account>,
    hash: &[u8],
    label: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO api_tokens (id, account, hash, label) VALUES ($1, $2, $3, $4)",
        Uuid::new_v4(),
        account.uuid(),
        hash,
        label
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn revoke_tokens_labelled(tx: &mut Tx<'_>, account: Id<Account>, label: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api_tokens SET revoked_at = now() WHERE account = $1 AND label = $2 AND revoked_at IS NULL",
        account.uuid(),
        label
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Until when the new session lives. Those that have expired go with it.
pub(super) async fn open_session(
    db: &PgPool,
    account: Id<Account>,
    hash: &[u8],
    lives: Duration,
) -> sqlx::Result<(Uuid, OffsetDateTime)> {
    let lives = PgInterval { months: 0, days: 0, microseconds: i64::try_from(lives.as_micros()).unwrap_or(i64::MAX) };
    let row = sqlx::query!(
        "WITH expired AS (DELETE FROM sessions WHERE expires_at < now())
         INSERT INTO sessions (id, account, hash, expires_at) VALUES ($1, $2, $3, now() + $4)
         RETURNING id, expires_at",
        Uuid::new_v4(),
        account.uuid(),
        hash,
        lives
    )
    .fetch_one(db)
    .await?;
    Ok((row.id, row.expires_at))
}

pub(super) async fn close_session(db: &PgPool, session: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE sessions SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", session)
        .execute(db)
        .await?;
    Ok(())
}
