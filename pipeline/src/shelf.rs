//! What players may fetch, as the rows have it: the run of a track, its rungs, their segments. Reads only.
//!
//! Promise: whatever is named here is in the store. Absent: whether the asker may have it; that is the grant's to say.

use schema::{Id, machine::State as _, track, track::Track};

use crate::{
    engine::{Engine, from_db},
    media::{Grid, ladder::RungSpec, peaks},
    store::StoreError,
};

/// 24 hours at 48 kHz, two bytes for 512 samples, twice over.
const PEAKS_BYTES_MAX: usize = 32 << 20;

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
    /// Of its AAC rungs.
    pub priming: u32,
}

/// One rung of a run.
#[derive(Clone, Debug)]
pub struct ShelfRung {
    /// Its number.
    pub rung: i32,
    /// What it is.
    pub spec: RungSpec,
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
    /// Where it is cut.
    pub grid: Grid,
    /// Nothing more will come.
    pub ended: bool,
    /// Samples of each segment.
    pub segments: Vec<u64>,
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
            "SELECT state, stored_at IS NOT NULL AS \"verified!\", generation, run, rate, samples, priming FROM tracks WHERE id = $1",
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
                priming: r.priming.unwrap_or(0).cast_unsigned(),
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
            .filter_map(|r| {
                Some(ShelfRung {
                    rung: r.rung,
                    spec: r.name.parse().ok()?,
                    codecs: r.codecs,
                    bound_bps: from_db(r.bandwidth),
                    peak_bps: from_db(r.peak),
                    average_bps: from_db(r.average),
                })
            })
            .collect())
    }

    /// The segments of one rung; `None` when there is no such rung.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn shelf_list(&self, track: Id<Track>, run: i32, rung: i32) -> sqlx::Result<Option<ShelfList>> {
        let head = sqlx::query!(
            "SELECT rate, target_s, first_samples, grid_samples, finished_at IS NOT NULL AS \"ended!\" FROM runs JOIN rungs USING (track_id, run)
              WHERE track_id = $1 AND run = $2 AND rung = $3",
            track.uuid(),
            run,
            rung
        )
        .fetch_optional(&self.db)
        .await?;
        let Some(head) = head else { return Ok(None) };
        let rows = sqlx::query!(
            "SELECT n, samples FROM segments WHERE track_id = $1 AND run = $2 AND rung = $3 ORDER BY n",
            track.uuid(),
            run,
            rung
        )
        .fetch_all(&self.db)
        .await?;
        let whole = rows.iter().zip(0..).take_while(|(r, n)| r.n == *n).count();
        Ok(Some(ShelfList {
            grid: Grid {
                rate: head.rate.cast_unsigned(),
                first_samples: from_db(head.first_samples),
                grid_samples: from_db(head.grid_samples),
                target_s: head.target_s.cast_unsigned(),
            },
            ended: head.ended,
            segments: rows[..whole].iter().map(|r| from_db(r.samples)).collect(),
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

    /// One of a ready track's pictures, by its longer side.
    ///
    /// # Errors
    /// The database's or the store's.
    pub async fn picture(&self, track: Id<Track>, side: i32) -> Result<Option<bytes::Bytes>, StoreError> {
        let row = sqlx::query!(
            "SELECT p.key, p.len FROM pictures p JOIN tracks t ON t.id = p.track_id AND t.run = p.run
              WHERE p.track_id = $1 AND p.side = $2",
            track.uuid(),
            side
        )
        .fetch_optional(&self.db)
        .await
        .map_err(|e| StoreError::Away(std::io::Error::other(e)))?;
        let Some(row) = row else { return Ok(None) };
        self.store.read(&row.key, 0, usize::try_from(row.len).unwrap_or(0)).await.map(Some)
    }

    /// The waveform as audiowaveform's `.dat`: whole when the track is ready, as far as it is drawn while it is encoded here.
    ///
    /// # Errors
    /// The database's or the store's.
    pub async fn peaks(&self, track: Id<Track>) -> Result<Option<bytes::Bytes>, StoreError> {
        let row = sqlx::query!("SELECT peaks_key, rate FROM tracks WHERE id = $1", track.uuid())
            .fetch_optional(&self.db)
            .await
            .map_err(|e| StoreError::Away(std::io::Error::other(e)))?;
        let Some(row) = row else { return Ok(None) };
        if let Some(key) = row.peaks_key {
            return self.store.read(&key, 0, PEAKS_BYTES_MAX).await.map(Some);
        }
        let drawn = self.window(track).map(|w| w.peaks()).unwrap_or_default();
        Ok(row.rate.filter(|_| !drawn.is_empty()).map(|rate| peaks::dat(rate.cast_unsigned(), &drawn)))
    }
}
