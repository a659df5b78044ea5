//! An upload whose parts aren't what the store needs to make it whole: the last one is still tails, or a dead holder's
//! late write has replaced one.
//!
//! Never guess: a part is taken from its copy, or adopted when its bytes provably are the acknowledged ones, or the
//! upload fails.
//! Dead at any step: `recover` seals again, and finds the parts as they are then.

use crate::{
    digest,
    engine::Engine,
    lease::Lease,
    parts::{self, Piece, Standing, Terms, What},
    publish::SealError,
    store::{Multipart, Part, StoreError, Tail},
};

impl Engine {
    /// Makes the last part of the tails that it was acknowledged as: its length became known after them.
    pub(crate) async fn close_tail(&self, lease: &Lease, standing: &Standing) -> Result<(), SealError> {
        let (Some(first), Some(multipart_id)) = (standing.tails.first(), &standing.multipart_id) else { return Ok(()) };
        let to = Multipart { key: standing.key.clone(), multipart_id: multipart_id.clone() };
        let len = standing.committed - first.off;
        let part_no = i32::try_from(first.off / standing.part_bytes + 1).unwrap_or(i32::MAX);
        let mut part = Part { part_no, off: first.off, len, etag: String::new(), crc64: standing.tails_crc };
        let _share = match self.store.tails_in_place() {
            true => None,
            false => Some(self.budget.reserve(len).await),
        };
        let put = self.store.put_part(&to, &part, &standing.tails, standing.committed, Vec::new()).await;
        part.etag = match put {
            Ok(etag) => etag,
            Err(error) if self.is_lost(lease, &error).await => {
                self.fail(lease, "store_lost_upload", "the store lost what it had of this upload").await?;
                return Err(SealError::Lost);
            }
            Err(error) => return Err(SealError::NotYet(error)),
        };
        let piece = Piece { what: What::Part(part, None), sha_state: standing.sha_state.clone() };
        let terms = Terms { expiry: self.limits.expiry, lets_go: false };
        parts::commit(&self.db, lease.upload, lease.epoch, &[piece], terms).await?.ok_or(SealError::Fenced)?;
        Ok(())
    }

    /// Brings the store's parts back to what the rows say, or ends the upload: where nothing can be brought back, the store
    /// will refuse it for ever. Answers the parts as they are now.
    pub(crate) async fn mended(
        &self,
        lease: &Lease,
        standing: &Standing,
        mut parts: Vec<Part>,
    ) -> Result<Vec<Part>, SealError> {
        let copied = self.copied_parts(lease).await?;
        let mut is_mended = false;
        let Some(multipart_id) = &standing.multipart_id else { return Err(SealError::Lost) };
        let to = Multipart { key: standing.key.clone(), multipart_id: multipart_id.clone() };
        let listed = self.store.listed(&to).await.map_err(SealError::NotYet)?;
        let is_there = |part: &Part| {
            let found = listed.iter().find(|l| l.part_no == part.part_no);
            found.is_some_and(|l| l.etag == part.etag && l.len == part.len)
        };
        // Garage hides a part whose second sending broke off, and lists it as if it were there.
        let hidden = parts.iter().all(is_there);
        for part in &mut parts {
            let found = listed.iter().find(|l| l.part_no == part.part_no).filter(|_| !hidden);
            // One without a copy was committed before anybody died over it: nobody else was sending it.
            if is_there(part) && !(hidden && copied.contains(&part.part_no)) {
                continue;
            }
            let etag = match found.filter(|l| l.len == part.len && l.crc64 == Some(part.crc64)) {
                Some(same) => same.etag.clone(),
                None => self.sent_again(lease, &to, part).await?,
            };
            sqlx::query!(
                "UPDATE upload_parts SET etag = $3 WHERE upload_id = $1 AND part_no = $2
                    AND EXISTS (SELECT 1 FROM uploads WHERE id = $1 AND epoch = $4)",
                lease.upload.uuid(),
                part.part_no,
                etag,
                lease.epoch
            )
            .execute(&self.db)
            .await?;
            metrics::counter!("millrace_parts_mended_total").increment(1);
            (part.etag, is_mended) = (etag, true);
        }
        match parts.first() {
            Some(part) if !is_mended => Err(self.overwritten(lease, part).await),
            _ => Ok(parts),
        }
    }

    /// The parts that are kept twice.
    async fn copied_parts(&self, lease: &Lease) -> sqlx::Result<Vec<i32>> {
        let copied = sqlx::query_scalar!(
            "SELECT DISTINCT shadows_part AS \"part_no!\" FROM upload_tails
              WHERE upload_id = $1 AND shadows_part IS NOT NULL",
            lease.upload.uuid()
        );
        copied.fetch_all(&self.db).await
    }

    /// One part from its copy. Without a copy nobody has its bytes any more.
    async fn sent_again(&self, lease: &Lease, to: &Multipart, part: &Part) -> Result<String, SealError> {
        let row = sqlx::query!(
            "SELECT object_key, len, crc64 FROM upload_tails WHERE upload_id = $1 AND shadows_part = $2
              ORDER BY epoch DESC LIMIT 1",
            lease.upload.uuid(),
            part.part_no
        )
        .fetch_optional(&self.db)
        .await?;
        let Some(row) = row.filter(|r| r.crc64.cast_unsigned() == part.crc64) else {
            return Err(self.overwritten(lease, part).await);
        };
        let copy = Tail { key: row.object_key, off: part.off, len: part.len, crc64: part.crc64 };
        let _share = self.budget.reserve(part.len).await;
        let again = self.store.put_part(to, part, std::slice::from_ref(&copy), part.off + part.len, Vec::new()).await;
        match again {
            Err(StoreError::Missing(key) | StoreError::Wrong { key, .. }) if key == copy.key => {
                Err(self.overwritten(lease, part).await)
            }
            again => again.map_err(SealError::NotYet),
        }
    }

    /// For good: a client can send the file again, and that is all that helps.
    pub(crate) async fn overwritten(&self, lease: &Lease, part: &Part) -> SealError {
        tracing::error!(upload.id = %lease.upload, part.part_no, "an acknowledged part was overwritten");
        let detail = "the store has other bytes than those that were acknowledged";
        self.fail(lease, "part_overwritten", detail).await.err().unwrap_or(SealError::Lost)
    }

    /// CRC-64/NVME of the whole upload.
    pub(crate) fn crc_of(parts: &[Part]) -> u64 {
        parts.iter().fold(digest::crc64(&[]), |crc, p| digest::crc64_join(crc, p.crc64, p.len))
    }
}
