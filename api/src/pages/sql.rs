//! What the pages read. They write nothing.

use schema::{Id, caller::Account};
use sqlx::PgPool;

use super::model::Row;

/// The newest tracks of an account, those that were taken down left out.
pub(super) async fn tracks_of(db: &PgPool, owner: Id<Account>, limit: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT t.title, t.filename, t.state, t.detail, t.samples, t.rate, t.size, t.sha256,
                  u.committed AS "arrived?", u.length AS "length?"
             FROM tracks t LEFT JOIN uploads u ON u.track_id = t.id AND t.stored_at IS NULL
            WHERE t.owner = $1 AND t.state <> 'taken_down'
            ORDER BY t.created_at DESC, t.id LIMIT $2"#,
        owner.uuid(),
        limit
    )
    .fetch_all(db)
    .await
}
