//! What is in the bucket below a prefix of ours, and what was begun there.

use super::{Multipart, Object, S3, StoreError, Unfinished, objects::instant, proof, refusal::Refusal};
use crate::store::LIST_MAX;

impl S3 {
    /// A page may be short without being the last: pages are asked for until there are enough, or no more.
    pub(super) async fn objects_below(&self, prefix: &str, after: &str) -> Result<Vec<Object>, StoreError> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let wanted = i32::try_from(LIST_MAX - found.len()).unwrap_or(i32::MAX);
            let page = self.client.list_objects_v2().bucket(self.bucket()).prefix(prefix).max_keys(wanted);
            let page = page.set_start_after(Some(after.to_owned()).filter(|after| !after.is_empty()));
            let page = page.set_continuation_token(next).send().await;
            let page = page.map_err(|e| Refusal::of("ListObjectsV2", e).into_away())?;
            found.extend(page.contents().iter().map(|object| Object {
                key: object.key().unwrap_or_default().to_owned(),
                size: object.size().unwrap_or_default().cast_unsigned(),
                etag: proof::bare(object.e_tag().unwrap_or_default()).to_owned(),
                modified: object.last_modified().and_then(instant),
            }));
            next = page.next_continuation_token;
            if found.len() >= LIST_MAX || page.is_truncated != Some(true) || next.is_none() {
                found.truncate(LIST_MAX);
                return Ok(found);
            }
        }
    }

    pub(super) async fn unfinished_below(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError> {
        let mut found = Vec::new();
        let (mut key, mut id) = (None, None);
        loop {
            let page = self.client.list_multipart_uploads().bucket(self.bucket()).prefix(prefix);
            let page = page.set_key_marker(key).set_upload_id_marker(id).send().await;
            let page = page.map_err(|e| Refusal::of("ListMultipartUploads", e).into_away())?;
            found.extend(page.uploads().iter().filter_map(|upload| {
                Some(Unfinished {
                    of: Multipart { key: upload.key()?.to_owned(), multipart_id: upload.upload_id()?.to_owned() },
                    begun: upload.initiated().and_then(instant)?,
                })
            }));
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || key.is_none() {
                // Garage tells them in the order of their ids.
                found.sort_by(|a: &Unfinished, b| (&a.of.key, a.begun).cmp(&(&b.of.key, b.begun)));
                return Ok(found);
            }
        }
    }
}
