//! One function per query.

use std::collections::BTreeMap;

use schema::{Id, caller::Account, machine::State as _, track, track::Track};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    byproducts,
    model::{Failure, Upload, View},
};
use crate::cursor::Place;

/// A track's row with what belongs to it.
pub(super) struct Row {
    id: Uuid,
    state: String,
    reason: Option<String>,
    detail: Option<String>,
    title: String,
    filename: Option<String>,
    size: Option<i64>,
    sha256: Option<Vec<u8>>,
    stored_at: Option<OffsetDateTime>,
    codec: Option<String>,
    lossless: Option<bool>,
    samples: Option<i64>,
    rate: Option<i32>,
    priming: Option<i32>,
    loudness: Option<Value>,
    tags: Option<Value>,
    pictures: Option<Value>,
    duplicates: Option<Value>,
    created_at: OffsetDateTime,
    segments_ready: i64,
    upload_offset: Option<i64>,
    upload_length: Option<i64>,
    upload_state: Option<String>,
}

/// What a grant is made from.
pub(super) struct Playing {
    pub(super) state: String,
    pub(super) stored_at: Option<OffsetDateTime>,
    pub(super) samples: Option<i64>,
    pub(super) rate: Option<i32>,
    pub(super) generation: i64,
    /// Postgres's clock, in whole seconds.
    pub(super) now: i64,
}

pub(super) async fn track_of(db: &PgPool, owner: Id<Account>, id: Id<Track>) -> sqlx::Result<Option<View>> {
    let row = sqlx::query_file_as!(Row, "src/tracks/one.sql", owner.uuid(), id.uuid()).fetch_optional(db).await?;
    row.map(View::try_from).transpose()
}

/// Newest first, behind `after`.
pub(super) async fn tracks_of(
    db: &PgPool,
    owner: Id<Account>,
    after: Option<Place>,
    limit: i64,
) -> sqlx::Result<Vec<View>> {
    let (at, id) = after.map_or((None, None), |place| (Some(place.at), Some(place.id)));
    let rows = sqlx::query_file_as!(Row, "src/tracks/page.sql", owner.uuid(), at, id, limit).fetch_all(db).await?;
    rows.into_iter().map(View::try_from).collect()
}

pub(super) async fn playing(db: &PgPool, owner: Id<Account>, id: Id<Track>) -> sqlx::Result<Option<Playing>> {
    sqlx::query_as!(
        Playing,
        r#"SELECT state, stored_at, samples, rate, generation, floor(extract(epoch FROM now()))::bigint AS "now!"
             FROM tracks WHERE owner = $1 AND id = $2"#,
        owner.uuid(),
        id.uuid()
    )
    .fetch_optional(db)
    .await
}

/// What a download is made from.
pub(super) struct Keeping {
    pub(super) state: String,
    pub(super) stored_at: Option<OffsetDateTime>,
    pub(super) lossless: Option<bool>,
    pub(super) title: String,
    pub(super) filename: Option<String>,
    pub(super) codec: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) generation: i64,
    /// Postgres's clock, in whole seconds.
    pub(super) now: i64,
}

pub(super) async fn keeping(db: &PgPool, owner: Id<Account>, id: Id<Track>) -> sqlx::Result<Option<Keeping>> {
    sqlx::query_as!(
        Keeping,
        r#"SELECT state, stored_at, lossless, title, filename, codec, size, generation,
                  floor(extract(epoch FROM now()))::bigint AS "now!"
             FROM tracks WHERE owner = $1 AND id = $2"#,
        owner.uuid(),
        id.uuid()
    )
    .fetch_optional(db)
    .await
}

/// An account's tracks of a release.
pub(super) async fn release(db: &PgPool, owner: Id<Account>, release: Uuid) -> sqlx::Result<Vec<Keeping>> {
    sqlx::query_as!(
        Keeping,
        r#"SELECT state, stored_at, lossless, title, filename, codec, size, generation,
                  floor(extract(epoch FROM now()))::bigint AS "now!"
             FROM tracks WHERE owner = $1 AND release_id = $2"#,
        owner.uuid(),
        release
    )
    .fetch_all(db)
    .await
}

impl TryFrom<Row> for View {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let state = track::State::named(&row.state)
            .ok_or_else(|| sqlx::Error::Decode("a state that this release doesn't know".into()))?;
        let upload = row.upload_state.zip(row.upload_offset).map(|(state, offset)| Upload {
            offset,
            length: row.upload_length,
            state,
        });
        let tags: Option<BTreeMap<String, String>> = row.tags.and_then(|tags| serde_json::from_value(tags).ok());
        Ok(Self {
            id: row.id.into(),
            state,
            title: row.title,
            filename: row.filename,
            duration_ms: duration_ms(row.samples, row.rate),
            samples: row.samples,
            rate: row.rate,
            start_pad: row.priming,
            segments_ready: row.segments_ready,
            size: row.size,
            sha256: row.sha256.as_deref().map(hex),
            replaygain: byproducts::gain(row.loudness.as_ref(), tags.as_ref()),
            loudness: row.loudness,
            tags,
            artwork: byproducts::pictures(row.id, row.pictures),
            duplicates: row.duplicates.and_then(|found| serde_json::from_value(found).ok()),
            error: row
                .reason
                .filter(|_| state == track::State::Failed)
                .map(|code| Failure { code, detail: row.detail }),
            codec: row.codec,
            lossless: row.lossless,
            upload,
            stored: row.stored_at.is_some(),
            created_at: row.created_at,
        })
    }
}

pub(super) fn duration_ms(samples: Option<i64>, rate: Option<i32>) -> Option<i64> {
    let (samples, rate) = (i128::from(samples?), i128::from(rate?));
    if rate > 0 { i64::try_from(samples * 1000 / rate).ok() } else { None }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
