//! What an operator wants to know before anybody uploads: is it there, is it ours, does it do what we need?

use super::{
    Powers, S3, StoreError,
    refusal::{Refusal, words},
};

/// Why the store can't be used, so that somebody can do something about it. Each has the store's words.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// Nothing answers there, or nothing that we understand.
    #[error("it doesn't answer: {0}")]
    Away(String),
    /// Key, secret, region or rights are wrong.
    #[error("it refuses us: {0}")]
    Refused(String),
    /// There is no such bucket.
    #[error("the bucket isn't there: {0}")]
    NoBucket(String),
    /// The clocks differ by more than a signature may.
    #[error("its clock isn't ours: {0}")]
    Clock(String),
    /// It can be listed, but not used as we must.
    #[error("it doesn't do what we need: {0}")]
    Lacking(String),
}

impl S3 {
    /// Lists, puts, uploads in parts and deletes, below `probe/`; nothing of it stays.
    ///
    /// # Errors
    /// [`ExamineError`].
    pub async fn examine(&self) -> Result<Powers, ExamineError> {
        let list = self.client.list_objects_v2().bucket(self.bucket()).max_keys(1).send();
        if let Err(error) = Box::pin(list).await {
            let refusal = Refusal::of("ListObjectsV2", error);
            let said = words(&refusal);
            return Err(match (refusal.status, refusal.code.as_str()) {
                (_, "RequestTimeTooSkewed") => ExamineError::Clock(said),
                (_, "NoSuchBucket") | (Some(404), _) => ExamineError::NoBucket(said),
                (Some(400..=403), _) => ExamineError::Refused(said),
                _ => ExamineError::Away(said),
            });
        }
        let powers = self.powers().await.map_err(|e| ExamineError::Lacking(words(&e)))?;
        let key = format!("{}examine", super::powers::PREFIX);
        let unfit = |e: StoreError| ExamineError::Lacking(words(&e));
        let begun = Box::pin(self.multipart_begun(&key)).await.map_err(unfit)?;
        Box::pin(self.aborted(&begun)).await.map_err(unfit)?;
        Box::pin(self.unfinished_below(super::powers::PREFIX)).await.map_err(unfit)?;
        Ok(powers)
    }
}
