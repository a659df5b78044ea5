//! `/api/v1/…`

mod events;
mod tracks;

use schema::{
    Id,
    caller::Account,
    machine::take,
    track::{self, Track},
};
use sqlx::PgPool;

/// A track of `owner` in its first state.
pub(super) async fn ingesting(db: &PgPool, owner: Id<Account>, title: &str) -> Id<Track> {
    let id = Id::in_order();
    let sql = "INSERT INTO tracks (id, owner, state, title, filename, storage_backend) VALUES ($1, $2, 'ingesting', $3, 'a.flac', 'local')";
    sqlx::query(sql).bind(id.uuid()).bind(owner.uuid()).bind(title).execute(db).await.unwrap();
    id
}

/// It plays: one run of two rungs with `segments` of them each, and one more in the first.
pub(super) async fn play(db: &PgPool, id: Id<Track>, segments: i32) {
    let mut tx = schema::begin(db).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO runs (track_id, run, token, rate, first_samples, grid_samples, target_s) VALUES ('{id}', 1, 1, 48000, 4096, 4096, 6);
         INSERT INTO rungs (track_id, run, rung, name, codecs, bandwidth, init_key, init_len, init_sha)
              SELECT '{id}', 1, r, 'aac', 'mp4a.40.2', 64000, 'i' || r, 1, '' FROM generate_series(0, 1) r;
         INSERT INTO segments (track_id, run, rung, n, first_sample, samples, key, len, sha)
              SELECT '{id}', 1, r, n, n * 4096, 4096, 's', 1, '' FROM generate_series(0, 1) r, generate_series(0, {segments} - r) n"
    )))
    .execute(&mut *tx)
    .await
    .unwrap();
    let _took = take(&mut tx, id, track::Play { run: 1 }).await.unwrap();
    tx.commit().await.unwrap();
}

/// Its bytes are verified.
pub(super) async fn store(db: &PgPool, id: Id<Track>) {
    let sql =
        "UPDATE tracks SET stored_at = now(), file_path = '/a', sha256 = $2, size = 7, rate = 48000 WHERE id = $1";
    sqlx::query(sql).bind(id.uuid()).bind(&[0xab_u8; 32][..]).execute(db).await.unwrap();
}

/// All of it is there, `seconds` long.
pub(super) async fn finish(db: &PgPool, id: Id<Track>, seconds: i64) {
    let mut tx = schema::begin(db).await.unwrap();
    let _took = take(&mut tx, id, track::Finish { run: 1, samples: seconds * 48_000 }).await.unwrap();
    tx.commit().await.unwrap();
}

/// It failed for good.
pub(super) async fn fail(db: &PgPool, id: Id<Track>) {
    let mut tx = schema::begin(db).await.unwrap();
    let edge = track::Fail { reason: "unsupported_media".into(), detail: "This is no music.".into() };
    let _took = take(&mut tx, id, edge).await.unwrap();
    tx.commit().await.unwrap();
}
