//! A transaction that its caller stops waiting for, at every point at which that can happen.

use std::{future::poll_fn, pin::pin, task::Poll};

use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::support::postgres::Database;

/// One connection, so that whoever comes next has the same.
async fn alone() -> PgPool {
    let url = Database::new().await.url;
    PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap()
}

/// Begins, and goes away instead of looking the n-th time. Whether it came so far.
async fn left_at(n: usize, begun: impl Future<Output = sqlx::Result<schema::Tx<'static>>>) -> bool {
    let mut begun = pin!(begun);
    let mut left = n;
    let ended = poll_fn(|wakes| {
        left -= 1;
        if left == 0 { Poll::Ready(None) } else { begun.as_mut().poll(wakes).map(Some) }
    });
    ended.await.is_none()
}

/// Whether the connection is inside a transaction that began before: outside, each statement is one of its own.
async fn is_inside(db: &PgPool) -> bool {
    let mut each = Vec::new();
    for _ in 0..2 {
        each.push(sqlx::query_scalar::<_, String>("SELECT pg_current_xact_id()::text").fetch_one(db).await.unwrap());
    }
    each[0] == each[1]
}

#[tokio::test]
async fn leaves_no_transaction_behind() {
    let db = alone().await;
    let mut n = 1;
    while left_at(n, schema::begin(&db)).await {
        assert!(!is_inside(&db).await, "left at {n}");
        n += 1;
    }
    assert!(n > 2, "it was never waited for");
}

/// Each is a race with the server's answer to BEGIN, which may be there before anybody would have to wait for it.
const ROUNDS: usize = 1000;

#[tokio::test]
async fn sqlx_alone_would() {
    // When this fails, sqlx has mended it, and `schema::begin` may go.
    let db = alone().await;
    for _ in 0..ROUNDS {
        let mut n = 1;
        #[expect(clippy::disallowed_methods, reason = "what is shown")]
        while left_at(n, db.begin()).await {
            if is_inside(&db).await {
                return;
            }
            n += 1;
        }
    }
    panic!("never, in {ROUNDS} rounds");
}
