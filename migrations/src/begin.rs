//! Transactions whose beginning survives a caller that goes away.
//!
//! sqlx 0.9 forgets a transaction whose `begin` is dropped between BEGIN and its answer, as when a client hangs up: the
//! connection goes back to the pool inside it. What the next user writes there is acknowledged, is committed by nobody, holds
//! its locks, and is undone at the end. Found by `make soak SUITE=malformed`.

use sqlx::PgPool;

use crate::Tx;

/// Begins a transaction; the only way to, as `clippy.toml` has it. Dropped early, it is begun all the same, and rolled back.
///
/// # Errors
/// Only the database's, and `WorkerCrashed` where the runtime ends.
pub async fn begin(db: &PgPool) -> sqlx::Result<Tx<'static>> {
    let db = db.clone();
    #[expect(clippy::disallowed_methods, reason = "in a task of its own, which nobody drops")]
    let begun = tokio::spawn(async move { db.begin().await });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
