//! The S3 backend against real and strict stores: the contract, every answer to Complete, damage and silence.

mod complete;
mod kept;
mod line;
mod listing;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use pipeline::store::{Multipart, Part, S3, Store, contract, s3::Settings};

use crate::support::s3::Site;

/// Silence after which a request is given up here: far more than a store in this process needs.
const STALL: Duration = Duration::from_millis(1500);
/// A Complete's time.
const COMPLETE: Duration = Duration::from_millis(800);

/// The store as the program opens it, with less patience.
fn store(site: &Site) -> S3 {
    let (id, secret) = (&site.access_key_id, &site.secret_access_key);
    let settings = Settings::new(&site.endpoint, &site.region, &site.bucket, id, secret);
    S3::open(Settings { stall_max: STALL, complete_max: COMPLETE, ..settings })
}

/// An upload of one part, ready to be completed.
async fn one_part(store: &S3, key: &str, bytes: &[u8]) -> (Multipart, Vec<Part>) {
    let to = store.begin(key).await.unwrap();
    let mut part = contract::part(1, 0, bytes);
    part.etag = store.put_part(&to, &part, &[], 0, vec![Bytes::copy_from_slice(bytes)]).await.unwrap();
    (to, vec![part])
}
