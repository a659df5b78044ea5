//! An upload begins: its row, its track and the track's job, in one transaction, before the first byte.
//!
//! Dead before the commit: nothing is there. Dead after it: an upload that its client may never hear of; it expires.

use std::sync::Arc;

use schema::{
    Id, Tx,
    track::Track,
    upload::{self, Upload},
};
use uuid::Uuid;

use crate::{
    chunks,
    engine::{Engine, db_int},
    lease::interval,
    limits::PartMap,
    resource::{CreateError, Kind, Look, NewUpload, title_given, title_of},
};

impl Engine {
    /// Creates an upload and its track, in one transaction. Both exist before the first byte.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn create(self: &Arc<Self>, new: NewUpload) -> Result<Look, CreateError> {
        if let Some(length) = new.length.filter(|l| *l > self.limits.max_bytes) {
            return Err(CreateError::TooLarge { length, max: self.limits.max_bytes });
        }
        let fits = |length: &u64| self.chunks_fit(PartMap::choose(&self.limits, Some(*length)));
        if let Some(length) = new.length.filter(|length| new.door == chunks::DOOR && !fits(length)) {
            return Err(CreateError::TooLarge { length, max: self.chunked_max() });
        }
        let mut tx = schema::begin(&self.db).await?;
        self.admit(&mut tx, new.owner, new.length.unwrap_or(0)).await?;
        let look = self.open(&mut tx, &new).await?;
        tx.commit().await?;
        tell(&look);
        if look.ended && look.length == Some(0) {
            // Whole at once. A seal that fails is taken up by `recover`.
            match self.seal_again(new.owner, look.id).await {
                Ok(look) => return Ok(look),
                Err(error) => tracing::warn!(upload.id = %look.id, %error, "empty upload not sealed yet"),
            }
        }
        Ok(look)
    }

    /// The rows of a new upload.
    pub(crate) async fn open(&self, tx: &mut Tx<'_>, new: &NewUpload) -> sqlx::Result<Look> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))?;
        let id = Id::<Upload>::from(Uuid::from_bytes(random));
        let track = (new.kind != Kind::Partial).then(Id::<Track>::in_order);
        let map = PartMap::choose(&self.limits, new.length);
        let key = track.map_or_else(|| format!("partials/{id}"), |track| format!("tracks/{track}/{id}"));
        let ended = new.ends_at_length && new.length.is_some();
        if let Some(track) = track {
            self.open_track(tx, track, new).await?;
        }
        let row = sqlx::query!(
            "INSERT INTO uploads (id, owner, track_id, door, state, length, part_bytes, key, sha256_want, metadata, expires_at,
                                  kind, concat, ended)
             VALUES ($1, $2, $3, $4, 'opened', $5, $6, $7, $8, $9, now() + $10, $11, $12, $13) RETURNING expires_at",
            id.uuid(),
            new.owner.uuid(),
            track.map(Id::uuid),
            new.door,
            new.length.map(db_int),
            db_int(map.part_bytes),
            key,
            new.sha256.as_ref().map(|s| &s[..]),
            new.metadata,
            interval(self.limits.expiry),
            new.kind.name(),
            new.concat,
            ended
        )
        .fetch_one(&mut **tx)
        .await?;
        if let Some(track) = track {
            crate::encode::enqueue(tx, track).await?;
        }
        Ok(Look {
            id,
            track,
            door: new.door.into(),
            kind: new.kind,
            concat: new.concat.clone(),
            ended,
            state: upload::State::Opened,
            reason: None,
            offset: 0,
            length: new.length,
            metadata: new.metadata.clone(),
            expires_at: row.expires_at,
            sha256: None,
            part_bytes: map.part_bytes,
        })
    }

    async fn open_track(&self, tx: &mut Tx<'_>, track: Id<Track>, new: &NewUpload) -> sqlx::Result<()> {
        sqlx::query!(
            "INSERT INTO tracks (id, owner, state, title, title_given, filename, release_id, storage_backend)
             VALUES ($1, $2, 'ingesting', $3, $4, $5, $6, $7)",
            track.uuid(),
            new.owner.uuid(),
            title_of(new),
            title_given(new).is_some(),
            new.filename,
            new.release,
            self.store.backend().name()
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Says so once it is committed.
pub(crate) fn tell(created: &Look) {
    let Look { id, track, length, .. } = created;
    tracing::info!(upload.id = %id, track.id = track.map(tracing::field::display), upload.length = *length, "upload created");
    metrics::counter!("millrace_uploads_created_total").increment(1);
}
