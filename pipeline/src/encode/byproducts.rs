//! What a run learns besides the ladder, and where it goes: tags, pictures, waveform, loudness, fingerprint.
//!
//! Order: 1 the tags' row as soon as they are heard; at the end, over verified bytes, 2 the objects, 3 the fingerprint
//! (`alike`), 4 the rows that name the objects, with the edge `Finish`.
//! Dead after 2: objects of a run that isn't over; the next holder puts the same bytes under the same names.
//! Never: a row that names a missing object. Absent: a track that waits or fails for one of them.

use bytes::Bytes;
use schema::{Id, Tx, job::Job, track::Track};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use super::{
    rows::{self, Stored},
    run::Ended,
};
use crate::{
    engine::db_int,
    fenced::{RowError, fenced},
    media::{Event, Tag, tags},
    store::Store,
};

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Byproducts {
    loudness: Option<serde_json::Value>,
    /// A day of sound makes 15 MiB of it.
    peaks: Option<Bytes>,
    pictures: Vec<(u32, u32, Bytes)>,
    fingerprint: Vec<u32>,
}

/// The same, for the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) loudness: Option<serde_json::Value>,
    pub(super) peaks_key: Option<String>,
    pictures: Vec<(u32, u32, Stored)>,
}

impl Byproducts {
    /// Takes in what is one.
    pub(super) fn hear(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Loudness(loudness) => {
                let told = serde_json::to_value(loudness).map_err(|e| Ended::Trouble(e.to_string()))?;
                self.loudness = Some(told);
            }
            Event::Peaks { dat } => self.peaks = Some(dat),
            Event::Picture { width, height, bytes } => self.pictures.push((width, height, bytes)),
            Event::Fingerprint(items) => self.fingerprint = items,
            _ => {}
        }
        Ok(())
    }

    /// The items, once.
    pub(super) fn fingerprint(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.fingerprint)
    }

    /// Puts the objects of a run whose bytes are verified.
    pub(super) async fn put(&mut self, store: &dyn Store, track: Id<Track>, run: i32) -> Result<Named, Ended> {
        let below = rows::run_key(track, run);
        let mut named = Named { loudness: self.loudness.take(), ..Named::default() };
        if let Some(dat) = self.peaks.take() {
            let key = format!("{below}/peaks.dat");
            store.put(&key, dat).await?;
            named.peaks_key = Some(key);
        }
        for (width, height, bytes) in self.pictures.drain(..) {
            let sha: [u8; 32] = Sha256::digest(&bytes).into();
            let name: String = sha.iter().map(|byte| format!("{byte:02x}")).collect();
            let stored = Stored { key: format!("{below}/artwork/{name}.jpg"), len: bytes.len() as u64, sha };
            store.put(&stored.key, bytes).await?;
            named.pictures.push((width, height, stored));
        }
        Ok(named)
    }
}

/// The file's own words. Its title is the track's until its owner gives another.
pub(super) async fn tell_tags(db: &PgPool, job: &Job, track: Id<Track>, told: &[Tag]) -> Result<(), RowError> {
    let told = tags::named(told);
    let title = told.get("title").cloned();
    let mut tx = fenced(db, job).await?;
    sqlx::query!(
        "UPDATE tracks SET tags = $2, title = CASE WHEN title_given THEN title ELSE coalesce($3, title) END,
                updated_at = now() WHERE id = $1",
        track.uuid(),
        serde_json::json!(told),
        title
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The rows of a run's pictures, in the transaction that makes the track ready.
pub(super) async fn name_pictures(tx: &mut Tx<'_>, track: Id<Track>, run: i32, named: &Named) -> sqlx::Result<()> {
    for (width, height, stored) in &named.pictures {
        sqlx::query!(
            "INSERT INTO pictures (track_id, run, side, width, height, key, len, sha) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT DO NOTHING",
            track.uuid(),
            run,
            width.max(height).cast_signed(),
            width.cast_signed(),
            height.cast_signed(),
            stored.key,
            db_int(stored.len),
            &stored.sha[..]
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
