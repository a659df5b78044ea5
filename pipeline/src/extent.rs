//! How far an upload goes: its object begun at the first byte, its length said late, its end.
//!
//! An upload is whole when its client has said all that it will (`ended`) and the committed prefix reaches the length.
//! tus says both by the length alone; the IETF draft and the chunk door say the end by itself.
//!
//! Order at the end of a request that says so: 1 the length, 2 the last part, 3 `ended` and the edge `Seal` together.
//! Dead after 1: an upload with a length whose client asks HEAD and sends the rest. Dead after 2: the same, with nothing
//! left to send but the end. Dead after 3: `recover` seals.

use schema::machine::{Refused, take};
use schema::upload;

use crate::{
    engine::Engine,
    lease::Lease,
    parts::Standing,
    session::{Append, AppendError, Ends},
    store::Multipart,
    writing::Writing,
};

impl Engine {
    /// Takes the length that a request says. Once, and not below what is there. Of a request with a checksum nothing is
    /// taken before that holds: the length is answered, for `flush_last`.
    pub(crate) async fn extend(
        &self,
        lease: &Lease,
        standing: &mut Standing,
        request: &Append,
    ) -> Result<Option<u64>, AppendError> {
        let Some(said) = request.length else { return Ok(None) };
        let refused = AppendError::BadLength { said, length: standing.length, offset: standing.committed };
        match standing.length {
            Some(length) if length == said => return Ok(None),
            Some(_) => return Err(refused),
            None if said < standing.committed => return Err(refused),
            None if said > self.limits.max_bytes => return Err(AppendError::TooLarge { max: self.limits.max_bytes }),
            None => {}
        }
        standing.length = Some(said);
        if request.check.is_some() {
            return Ok(Some(said));
        }
        self.set_length(lease, said, request.ends == Ends::AtLength).await?;
        Ok(None)
    }

    /// Makes durable what came with a request that arrived whole, and takes its word that this was the end. `late`: the
    /// length that it said too.
    pub(crate) async fn flush_last(
        &self,
        lease: &Lease,
        writing: &mut Writing<'_>,
        ends: Ends,
        late: Option<u64>,
    ) -> Result<(), AppendError> {
        if let Some(length) = late {
            writing.check_now()?;
            self.set_length(lease, length, ends == Ends::AtLength).await?;
        }
        if ends != Ends::Yes {
            return writing.flush().await;
        }
        match writing.length {
            Some(length) if length != writing.at() => {
                writing.flush().await?;
                return Err(AppendError::BadLength {
                    said: writing.committed,
                    length: Some(length),
                    offset: writing.committed,
                });
            }
            Some(_) => {}
            None => {
                writing.check_now()?;
                self.set_length(lease, writing.at(), false).await?;
                writing.length = Some(writing.at());
            }
        }
        writing.flush().await?;
        let done = sqlx::query!(
            "UPDATE uploads SET ended = true WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch
        )
        .execute(&self.db)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(AppendError::Fenced) }
    }

    /// The multipart object of an upload; begun at its first byte.
    pub(crate) async fn opened(&self, lease: &Lease, standing: &Standing) -> Result<Multipart, AppendError> {
        if let Some(multipart_id) = &standing.multipart_id {
            return Ok(Multipart { key: standing.key.clone(), multipart_id: multipart_id.clone() });
        }
        let to = self.store.begin(&standing.key).await?;
        match self.named(lease, &to).await {
            Ok(true) => return Ok(to),
            Ok(false) => {}
            // It may be committed, so it must not be aborted. If it isn't, the orphan sweep finds it.
            Err(error) => return Err(error.into()),
        }
        // Another writer begins one of its own: no row will name this one.
        sqlx::query!("INSERT INTO store_trash (key, multipart_id) VALUES ($1, $2)", to.key, to.multipart_id)
            .execute(&self.db)
            .await?;
        Err(AppendError::Fenced)
    }

    /// Writes down what was begun in the store. `false`: the lease is gone, or the upload is.
    async fn named(&self, lease: &Lease, to: &Multipart) -> sqlx::Result<bool> {
        let mut tx = schema::begin(&self.db).await?;
        match take(&mut tx, lease.upload, upload::Receive {}).await {
            Ok(_) | Err(Refused::AlreadyThere) => {}
            Err(Refused::Db(e)) => return Err(e),
            Err(_) => return Ok(false),
        }
        let done = sqlx::query!(
            "UPDATE uploads SET multipart_id = $3 WHERE id = $1 AND epoch = $2",
            lease.upload.uuid(),
            lease.epoch,
            to.multipart_id
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// `true`: every byte is committed and the client has said that these are all; the row says `sealing` now. A client for
    /// whom the length says it may end what another began (`Ends::AtLength`).
    pub(crate) async fn seal_if_whole(&self, lease: &Lease, ends: Ends) -> Result<bool, AppendError> {
        let mut tx = schema::begin(&self.db).await?;
        let whole = sqlx::query!(
            "UPDATE uploads SET ended = true
              WHERE id = $1 AND epoch = $2 AND committed = length AND (ended OR $3)",
            lease.upload.uuid(),
            lease.epoch,
            ends == Ends::AtLength
        )
        .execute(&mut *tx)
        .await?;
        if whole.rows_affected() == 0 {
            return Ok(false);
        }
        match take(&mut tx, lease.upload, upload::Seal {}).await {
            Ok(_) | Err(Refused::AlreadyThere) => {}
            Err(Refused::Db(e)) => return Err(e.into()),
            Err(_) => return Err(AppendError::Fenced),
        }
        tx.commit().await?;
        Ok(true)
    }
}
