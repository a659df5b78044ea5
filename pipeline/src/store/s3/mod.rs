//! Any S3-compatible store, over one client for the process.
//!
//! ```text
//! client    the SDK with our settings        wire      deadlines by progress, and ears for "slow down"
//! limiter   parts in flight, for the bucket  powers    what this store can do, asked once
//! parts     begin, parts, tails, abort       complete  one object out of parts, whatever the answer was
//! objects   whole objects                    listing   what is there, and what was begun
//! ```
//! Promise: no payload byte touches a disk of ours; a byte that changed on its way is found before the call answers `Ok`;
//! a Complete is never sent twice at once, and nothing is aborted once a Complete was sent.
//! Memory:  the caller's frames are the request's body; nothing is assembled.
//! Absent:  reading an unfinished object (S3 can't), and making the bucket.

mod client;
mod complete;
mod examine;
mod frames;
mod limiter;
mod listing;
mod objects;
mod parts;
mod powers;
mod proof;
mod refusal;
mod wire;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::{Bytes, BytesMut};
use tokio::sync::{OnceCell, Semaphore};

use self::{complete::Running, limiter::Limiter};
pub use self::{examine::ExamineError, powers::Powers};
use super::{
    Backend, Listed, Multipart, Object, Part, SignedUrls, Store, StoreError, Tail, Unfinished, assert_own_key,
};

/// Which store, and how to treat it.
#[derive(Clone)]
pub struct Settings {
    /// Where it answers, such as `https://s3.example`.
    pub endpoint: String,
    /// What requests are signed for; the store must be configured with the same.
    pub region: String,
    /// An existing bucket.
    pub bucket: String,
    /// Who we are.
    pub access_key_id: String,
    /// And the proof; never shown.
    pub secret_access_key: String,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub force_path_style: bool,
    /// The most parts of all uploads on their way at once; the limit that holds adapts below it.
    pub parts_in_flight_max: usize,
    /// A request that neither sends nor receives anything for this long is given up, and tried again if it may be.
    pub stall_max: Duration,
    /// How long the store may take to make an object whole.
    pub complete_max: Duration,
}

impl Settings {
    /// Defaults for everything that doesn't name the store.
    pub fn new(endpoint: &str, region: &str, bucket: &str, access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            region: region.into(),
            bucket: bucket.into(),
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            force_path_style: true,
            parts_in_flight_max: PARTS_IN_FLIGHT_MAX,
            stall_max: STALL_MAX,
            complete_max: COMPLETE_MAX,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.bucket, self.endpoint)
    }
}

/// Default. Parts at once for the whole bucket: 640 MiB of default parts hide the latency of any line we know.
pub const PARTS_IN_FLIGHT_MAX: usize = 64;

/// Default. Longer than a store's pause for housekeeping, shorter than a client's patience, even three times in a row.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// Default. Stores put thousands of parts together in seconds; after this we ask what became of it.
pub const COMPLETE_MAX: Duration = Duration::from_secs(20);

/// A bucket. Cheap to clone; all clones share the client, its connections and the limit of parts in flight.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    settings: Arc<Settings>,
    limiter: Arc<Limiter>,
    powers: Arc<OnceCell<Powers>>,
    /// When they were last asked for in vain, and why.
    powerless: Arc<Mutex<Option<(Instant, String)>>>,
    running: Arc<Running>,
    piecemeal: Arc<Semaphore>,
}

impl S3 {
    /// Makes the client. Nothing is asked of the store yet: that it is away is for the first call to say.
    pub fn open(settings: Settings) -> Self {
        let limiter = Arc::new(Limiter::new(settings.parts_in_flight_max));
        Self {
            client: client::client(&settings, Arc::clone(&limiter)),
            settings: Arc::new(settings),
            limiter,
            piecemeal: Arc::new(Semaphore::new(objects::PIECES_AT_ONCE)),
            powers: Arc::default(),
            powerless: Arc::default(),
            running: Arc::default(),
        }
    }

    fn bucket(&self) -> &str {
        &self.settings.bucket
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3({:?})", self.settings)
    }
}

#[async_trait]
impl Store for S3 {
    fn backend(&self) -> Backend {
        Backend::S3
    }

    fn local_path(&self, _key: &str) -> Option<String> {
        None
    }

    async fn begin(&self, key: &str) -> Result<Multipart, StoreError> {
        assert_own_key(key);
        Box::pin(self.multipart_begun(key)).await
    }

    fn tails_in_place(&self) -> bool {
        false
    }

    fn reads_unfinished(&self) -> bool {
        false
    }

    async fn put_part(
        &self,
        to: &Multipart,
        part: &Part,
        tails: &[Tail],
        _off: u64,
        frames: Vec<Bytes>,
    ) -> Result<String, StoreError> {
        Box::pin(self.part_put(to, part, tails, frames)).await
    }

    async fn copy_part(
        &self,
        to: &Multipart,
        part: &Part,
        from: &str,
        from_off: u64,
    ) -> Result<Option<String>, StoreError> {
        assert_own_key(from);
        Box::pin(self.part_copied(to, part, from, from_off)).await
    }

    async fn listed(&self, of: &Multipart) -> Result<Vec<Listed>, StoreError> {
        Box::pin(self.parts_listed(of)).await
    }

    async fn put_tail(&self, _to: &Multipart, tail: &Tail, frames: Vec<Bytes>) -> Result<(), StoreError> {
        assert_own_key(&tail.key);
        Box::pin(self.tail_put(tail, frames)).await
    }

    async fn complete(&self, to: &Multipart, parts: &[Part], size: u64) -> Result<Object, StoreError> {
        Box::pin(self.completed(to, parts, size)).await
    }

    async fn abort(&self, to: &Multipart) -> Result<(), StoreError> {
        Box::pin(self.aborted(to)).await
    }

    async fn read_unfinished(&self, _of: &Multipart, _off: u64, _len: usize) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Object, StoreError> {
        assert_own_key(key);
        Box::pin(self.object_put(key, bytes)).await
    }

    async fn read(&self, key: &str, off: u64, len: usize) -> Result<Bytes, StoreError> {
        assert_own_key(key);
        Ok(Box::pin(self.object_read::<BytesMut>(key, off, len)).await?.freeze())
    }

    async fn read_pieces(&self, key: &str, off: u64, len: usize) -> Result<Vec<Bytes>, StoreError> {
        assert_own_key(key);
        Box::pin(self.pieces_read(key, off, len)).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, StoreError> {
        assert_own_key(key);
        let found = Box::pin(self.object_head(key)).await?;
        Ok(found.map(|found| found.object))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        assert_own_key(key);
        Box::pin(self.object_deleted(key)).await
    }

    async fn delete_all(&self, keys: &[String]) -> Result<(), StoreError> {
        keys.iter().for_each(|key| assert_own_key(key));
        Box::pin(self.objects_deleted(keys)).await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, StoreError> {
        assert_own_key(prefix.trim_end_matches('/'));
        Box::pin(self.objects_below(prefix, after)).await
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError> {
        assert_own_key(prefix.trim_end_matches('/'));
        Box::pin(self.unfinished_below(prefix)).await
    }

    fn complete_span(&self) -> Duration {
        complete::surely_over(self.settings.complete_max)
    }

    fn may_complete(&self, to: &Multipart) -> bool {
        self.running.until(&to.multipart_id).is_some()
    }

    fn signed_urls(&self) -> Option<&dyn SignedUrls> {
        Some(self)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Box::pin(self.bucket_answers()).await
    }
}

#[async_trait]
impl SignedUrls for S3 {
    async fn signed_url(&self, key: &str, ttl: Duration) -> Result<String, StoreError> {
        assert_own_key(key);
        Box::pin(self.object_presigned(key, ttl)).await
    }
}
