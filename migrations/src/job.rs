//! Leased work.
//!
//! Life: `enqueue` (in the wanting row's transaction) → `claim` → `beat` … → `finish` | `give_back` | `retry` | `put_off` |
//! `bury`.
//! A holder that stops beating loses the job after its lease; the next claim raises `token`, and every verb of the old
//! holder then answers `false`: stop, and say nothing. Time is Postgres's alone.
//! Promise: a job of a dead process is claimed again within lease + one poll.

use std::time::Duration;

use sqlx::{PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use crate::Tx;

/// A claimed job: the right to do it until the lease ends.
#[derive(Clone, Debug)]
pub struct Job {
    /// The row.
    pub id: Uuid,
    /// What it is about; by `kind`, a track's or an order's id.
    pub subject: Uuid,
    /// The fencing token of this claim.
    pub token: i64,
    /// How often it failed. A holder that died isn't counted: it says nothing about the work.
    pub failures: i32,
    /// How often it was put off for what isn't the work's fault.
    pub troubles: i32,
    /// What the enqueuer said.
    pub payload: serde_json::Value,
}

/// Wants `kind` done for `subject`. A second enqueue of the same (kind, subject, version) is a no-op.
/// Not due: it waits until [`make_due`], unless [`claim_for`] takes it before.
///
/// # Errors
/// Only the database's.
pub async fn enqueue(
    tx: &mut Tx<'_>,
    kind: &str,
    subject: Uuid,
    version: i32,
    payload: serde_json::Value,
    due: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO jobs (kind, subject, version, payload, run_after)
         VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() ELSE 'infinity' END)
         ON CONFLICT ON CONSTRAINT jobs_once DO NOTHING",
        kind,
        subject,
        version,
        payload,
        due
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Makes the unfinished jobs of `kind` for `subject` due now, in `account`'s turn: behind what that has in the line already, and
/// not before the line's head. So accounts alternate, each oldest first. `known` joins the payload. A holder keeps its lease.
///
/// # Errors
/// Only the database's.
pub async fn make_due(
    tx: &mut Tx<'_>,
    kind: &str,
    subject: Uuid,
    account: Uuid,
    known: serde_json::Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE jobs SET run_after = least(run_after, now()), account = $3, payload = payload || $4::jsonb, turn = coalesce(turn, greatest(0,
                (SELECT turn FROM jobs WHERE kind = $1 AND done_at IS NULL AND dead_at IS NULL AND run_after <= now()
                    AND (lease_until IS NULL OR lease_until < now()) ORDER BY turn LIMIT 1),
                (SELECT max(turn) + 1 FROM jobs WHERE kind = $1 AND account = $3 AND done_at IS NULL AND dead_at IS NULL)))
          WHERE kind = $1 AND subject = $2 AND done_at IS NULL AND dead_at IS NULL",
        kind,
        subject,
        account,
        known
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Opens the jobs of `kind` for `subject` again, due now, where they stood in the line or before it, and with a clean record. A
/// present holder is fenced off.
///
/// # Errors
/// Only the database's.
pub async fn reopen(tx: &mut Tx<'_>, kind: &str, subject: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE jobs SET token = token + 1, node = NULL, lease_until = NULL, run_after = now(), failures = 0,
                turn = coalesce(turn, 0), troubles = 0, rescues = 0, last_error = NULL, done_at = NULL, dead_at = NULL
          WHERE kind = $1 AND subject = $2",
        kind,
        subject
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes the due job of `kind` whose turn it is for `lease`, if there is one: in the order of turns, then the oldest.
///
/// # Errors
/// Only the database's.
pub async fn claim(db: &PgPool, kind: &str, node: Uuid, lease: Duration) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        "UPDATE jobs SET token = token + 1, node = $2, lease_until = now() + $3
          WHERE id = (SELECT id FROM jobs
                       WHERE kind = $1 AND done_at IS NULL AND dead_at IS NULL AND run_after <= now()
                         AND (lease_until IS NULL OR lease_until < now())
                       ORDER BY turn, run_after, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id, subject, token, failures, troubles, payload",
        kind,
        node,
        interval(lease)
    )
    .fetch_optional(db)
    .await
}

/// Takes the job of one `subject`, whether due or not, unless somebody holds it: for work that starts before it is due.
///
/// # Errors
/// Only the database's.
pub async fn claim_for(
    db: &PgPool,
    kind: &str,
    subject: Uuid,
    node: Uuid,
    lease: Duration,
) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        "UPDATE jobs SET token = token + 1, node = $3, lease_until = now() + $4
          WHERE id = (SELECT id FROM jobs
                       WHERE kind = $1 AND subject = $2 AND done_at IS NULL AND dead_at IS NULL
                         AND (lease_until IS NULL OR lease_until < now()) LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id, subject, token, failures, troubles, payload",
        kind,
        subject,
        node,
        interval(lease)
    )
    .fetch_optional(db)
    .await
}

/// Keeps the lease for another `lease` from now. `false`: it is lost.
///
/// # Errors
/// Only the database's.
pub async fn beat(db: &PgPool, job: &Job, lease: Duration) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET lease_until = now() + $3 WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token,
        interval(lease)
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the row and says whether the lease still is this holder's, for effects in the same transaction.
///
/// # Errors
/// Only the database's.
pub async fn still_mine(tx: &mut Tx<'_>, job: &Job) -> sqlx::Result<bool> {
    let row = sqlx::query!(
        "SELECT id FROM jobs WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL FOR UPDATE",
        job.id,
        job.token
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.is_some())
}

/// Done, in the transaction of its effect. `false`: the lease is lost, roll back.
///
/// # Errors
/// Only the database's.
pub async fn finish(tx: &mut Tx<'_>, job: &Job) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET done_at = now(), node = NULL, lease_until = NULL, last_error = NULL
          WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the job back as it is: due if it was. `false`: the lease is lost.
///
/// # Errors
/// Only the database's.
pub async fn give_back(tx: &mut Tx<'_>, job: &Job) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET node = NULL, lease_until = NULL
          WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Counts a failure and gives the job back, due after `wait`. `error` is kept for the operator. `false`: the lease is lost.
///
/// # Errors
/// Only the database's.
pub async fn retry(tx: &mut Tx<'_>, job: &Job, wait: Duration, error: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET node = NULL, lease_until = NULL, run_after = now() + $3, failures = failures + 1, last_error = $4,
                turn = coalesce(turn, 0)
          WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token,
        interval(wait),
        error
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// As [`retry`], for what isn't the work's fault, as a store that doesn't answer: it is tried as often as it takes.
///
/// # Errors
/// Only the database's.
pub async fn put_off(tx: &mut Tx<'_>, job: &Job, wait: Duration, error: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET node = NULL, lease_until = NULL, run_after = now() + $3, troubles = troubles + 1, last_error = $4,
                turn = coalesce(turn, 0)
          WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token,
        interval(wait),
        error
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Opens the job again that nobody would ever take: it is over, or waits for ever. How often that was done; `None` when
/// somebody has it, will have it, or was quicker.
///
/// # Errors
/// Only the database's.
pub async fn rescue(tx: &mut Tx<'_>, kind: &str, subject: Uuid) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!(
        "UPDATE jobs SET token = token + 1, node = NULL, lease_until = NULL, run_after = now(), failures = 0,
                turn = coalesce(turn, 0), done_at = NULL, dead_at = NULL, rescues = rescues + 1
          WHERE kind = $1 AND subject = $2
            AND (done_at IS NOT NULL OR dead_at IS NOT NULL
                 OR (run_after = 'infinity' AND (lease_until IS NULL OR lease_until < now())))
        RETURNING rescues",
        kind,
        subject
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Gives the job up for good, in the transaction that says so to its subject. `false`: the lease is lost.
///
/// # Errors
/// Only the database's.
pub async fn bury(tx: &mut Tx<'_>, job: &Job, error: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE jobs SET dead_at = now(), node = NULL, lease_until = NULL, last_error = $3
          WHERE id = $1 AND token = $2 AND done_at IS NULL AND dead_at IS NULL",
        job.id,
        job.token,
        error
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn interval(d: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(d.as_micros()).unwrap_or(i64::MAX) }
}
