//! What players may fetch, as the rows have it: the run of a track, its rungs, their segments. Reads only.
//!
//! Promise: whatever is named here is in the store. Absent: whether the asker may have it; that is the grant's to say.

use schema::{Id, machine::State as _, track, track::Track};

use crate::{
    engine::{Engine, from_db},
    store::StoreError,
};

/// A track, as far as playing goes.
#[derive(Clone, Copy, Debug)]
pub struct Playable {
    /// Where it stands.
    pub state: track::State,
    /// Its bytes are verified: others than the uploader may hear it.
    pub verified: bool,
    /// Grants of an older generation are void.
    pub generation: u32,
    /// The run that players are given.
    pub run: Option<i32>,
    /// Of the ladder.
    pub rate: Option<u32>,
    /// Of the ladder, once it is whole.
    pub samples: Option<u64>,
}

/// One rung of a run.
#[derive(Clone, Debug)]
pub struct ShelfRung {
    /// Its number.
    pub rung: i32,
    /// As in the ladder.
    pub name: String,
    /// RFC 6381.
    pub codecs: String,
    /// A bound, known before the first segment.
    pub bound_bps: u64,
    /// The largest of any segment so far.
    pub peak_bps: u64,
    /// Over all segments so far.
    pub average_bps: u64,
}

/// The segments of one rung, from 0, without a gap.
#[derive(Clone, Debug)]
pub struct ShelfList {
    /// `EXT-X-TARGETDURATION`.
    pub target_s: u32,
    /// Samples per second.
    pub rate: u32,
    /// Nothing more will come.
    pub ended: bool,
    /// First sample and samples of each segment.
    pub segments: Vec<(u64, u64)>,
}

/// One thing to fetch.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it is in the store.
    pub key: String,
    /// Its length.
    pub len: u64,
    /// Its SHA-256.
    pub sha: Vec<u8>,
}

impl Engine {
    /// The track, or `None`.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn playable(&self, track: Id<Track>) -> sqlx::Result<Option<Playable>> {
        let row = sqlx::query!(
            "SELECT state, stored_at IS NOT NULL AS \"verified!\", generation, run, rate, samples FROM tracks WHERE id = $1",
            track.uuid()
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(row.and_then(|r| {
            Some(Playable {
                state: track::State::named(&r.state)?,
                verified: r.verified,
                generation: u32::try_from(r.generation).ok()?,
                run: r.run,
                rate: r.rate.map(i32::cast_unsigned),
                samples: r.samples.map(from_db),
            })
        }))
    }

    /// The rungs of a run that have at least one segment, with their measured rates.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn shelf_rungs(&self, track: Id<Track>, run: i32) -> sqlx::Result<Vec<ShelfRung>> {
        let rows = sqlx::query!(
            "SELECT r.rung, r.name, r.codecs, r.bandwidth,
                    ceil(max(s.len * 8.0 * runs.rate / s.samples))::bigint AS \"peak!\",
                    ceil(sum(s.len) * 8.0 * min(runs.rate) / sum(s.samples))::bigint AS \"average!\"
               FROM rungs r
               JOIN runs USING (track_id, run)
               JOIN segments s USING (track_id, run, rung)
              WHERE r.track_id = $1 AND r.run = $2
              GROUP BY r.rung, r.name, r.codecs, r.bandwidth ORDER BY r.rung",
            track.uuid(),
            run
        )
        .fetch_all(&self.db)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| ShelfRung {
                rung: r.rung,
                name: r.name,
                codecs: r.codecs,
                bound_bps: from_db(r.bandwidth),
                peak_bps: from_db(r.peak),
                average_bps: from_db(r.average),
            })
            .collect())
    }

    /// The segments of one rung; `None` when there is no such rung.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn shelf_list(&self, track: Id<Track>, run: i32, rung: i32) -> sqlx::Result<Option<ShelfList>> {
        let head = sqlx::query!(
            "SELECT rate, target_s, finished_at IS NOT NULL AS \"ended!\" FROM runs JOIN rungs USING (track_id, run)
              WHERE track_id = $1 AND run = $2 AND rung = $3",
            track.uuid(),
            run,
            rung
        )
        .fetch_optional(&self.db)
        .await?;
        let Some(head) = head else { return Ok(None) };
        let rows = sqlx::query!(
            "SELECT n, first_sample, samples FROM segments WHERE track_id = $1 AND run = $2 AND rung = $3 ORDER BY n",
            track.uuid(),
            run,
            rung
        )
        .fetch_all(&self.db)
        .await?;
        let whole = rows.iter().zip(0..).take_while(|(r, n)| r.n == *n).count();
        Ok(Some(ShelfList {
            target_s: head.target_s.cast_unsigned(),
            rate: head.rate.cast_unsigned(),
            ended: head.ended,
            segments: rows[..whole].iter().map(|r| (from_db(r.first_sample), from_db(r.samples))).collect(),
        }))
    }

    /// A rung's init.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn shelf_init(&self, track: Id<Track>, run: i32, rung: i32) -> sqlx::Result<Option<Item>> {
        let row = sqlx::query!(
            "SELECT init_key, init_len, init_sha FROM rungs WHERE track_id = $1 AND run = $2 AND rung = $3",
            track.uuid(),
            run,
            rung
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(|r| Item { key: r.init_key, len: from_db(r.init_len), sha: r.init_sha }))
    }

    /// A segment.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn shelf_segment(&self, track: Id<Track>, run: i32, rung: i32, n: i32) -> sqlx::Result<Option<Item>> {
        let row = sqlx::query!(
            "SELECT key, len, sha FROM segments WHERE track_id = $1 AND run = $2 AND rung = $3 AND n = $4",
            track.uuid(),
            run,
            rung,
            n
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(row.map(|r| Item { key: r.key, len: from_db(r.len), sha: r.sha }))
    }

    /// The waveform of a track that is ready: audiowaveform's `.dat`.
    ///
    /// # Errors
    /// The database's or the store's.
    pub async fn peaks(&self, track: Id<Track>) -> Result<Option<bytes::Bytes>, StoreError> {
        let key = sqlx::query_scalar!("SELECT peaks_key FROM tracks WHERE id = $1", track.uuid())
            .fetch_optional(&self.db)
            .await
            .map_err(|e| StoreError::Away(std::io::Error::other(e)))?
            .flatten();
        match key {
            // 24 hours at 512 samples a pixel, twice over.
            Some(key) => self.store.read(&key, 0, 64 << 20).await.map(Some),
            None => Ok(None),
        }
    }
}
