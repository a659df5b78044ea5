//! An S3 in memory that refuses what AWS refuses, or has the manners of another store.

use std::{ops::Deref, time::Duration};

use super::{
    gate::{Behind, Gate},
    site::{Settings, Site},
    store::Store,
};

const BUCKET: &str = "tests";

/// How a store behaves where stores differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// 5 MiB at least, no gaps with checksums, conditional writes, Complete can be repeated.
    #[default]
    Aws,
    /// Parts of any size, gaps, conditions ignored, Complete once; a part that is sent again and breaks off is lost, and
    /// so are open uploads to a key that is written or deleted after they began.
    Garage,
    /// As AWS, but Complete once, and a list of open uploads wants the exact key.
    Minio,
}

impl Manners {
    pub(super) fn is_lax(self) -> bool {
        self == Self::Garage
    }

    /// Whether what is written to a key ends the uploads to it that began before.
    pub(super) fn forgets_older_uploads(self) -> bool {
        self == Self::Garage
    }

    /// The code of a body that isn't as its digest says.
    pub(super) fn bad_digest(self) -> &'static str {
        if self == Self::Garage { "InvalidDigest" } else { "BadDigest" }
    }

    pub(super) fn knows_conditions(self) -> bool {
        self != Self::Garage
    }
}

/// What is kept of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Bytes,
    /// Nothing is hashed or checked and the objects can't be read: for what is measured. Whole objects are kept.
    Lengths,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub manners: Manners,
    pub keep: Keep,
}

/// A running one; it ends with this.
pub struct Strict(Gate);

impl Strict {
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self(Gate::open(Behind::Memory(Box::new(Store::new(BUCKET, options)))))
    }

    pub fn site(&self) -> Site {
        Site {
            endpoint: self.endpoint(),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            access_key_id: "anybody".to_owned(),
            secret_access_key: "anything".to_owned(),
        }
    }

    pub fn settings(&self) -> Settings {
        self.site().settings()
    }

    /// The bytes of an object, as they are kept.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.store().lock().objects.get(key).map(|object| object.payload.frames.concat())
    }

    pub fn object_bytes(&self, key: &str) -> Option<u64> {
        self.store().lock().objects.get(key).map(|object| object.payload.len)
    }

    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.store().lock().objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Key and id of every open multipart upload.
    pub fn multiparts(&self) -> Vec<(String, String)> {
        self.store().lock().uploads.keys().cloned().collect()
    }

    /// Forgets the open uploads of keys with this text, as a lifecycle rule does.
    pub fn lose_uploads(&self, key: &str) {
        self.store().lock().uploads.retain(|(found, _), _| !found.contains(key));
    }

    /// Forgets the objects of keys with this text: what a long test stores must not fill the memory.
    pub fn lose_objects(&self, key: &str) {
        self.store().lock().objects.retain(|found, _| !found.contains(key));
    }

    /// From now on everything is written so long ago.
    pub fn backdate(&self, by: Duration) {
        self.store().lock().backdated = by.try_into().expect("a time that the calendar knows");
    }

    fn store(&self) -> &Store {
        match self.0.behind() {
            Behind::Memory(store) => store,
            Behind::Real(_) => unreachable!("opened over memory"),
        }
    }
}

impl Deref for Strict {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}
