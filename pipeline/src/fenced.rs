//! Transactions of whoever holds a job: none is begun for a holder that lost it.

use schema::{
    Tx,
    job::{self, Job},
};
use sqlx::PgPool;

/// Why a row wasn't written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    /// The job is another holder's.
    #[error("the job's lease is lost")]
    Lost,
    /// An earlier try published something else here.
    #[error("an earlier try published other bytes")]
    Differs,
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Begins a transaction that nobody else can become the holder in the middle of.
pub(crate) async fn fenced<'c>(db: &PgPool, job: &Job) -> Result<Tx<'c>, RowError> {
    let mut tx = schema::begin(db).await?;
    if job::still_mine(&mut tx, job).await? { Ok(tx) } else { Err(RowError::Lost) }
}
