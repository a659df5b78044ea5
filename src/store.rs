//! The store that the settings name.

use std::sync::Arc;

use anyhow::{Context, bail};
use pipeline::store::{Local, S3, Store, s3::Settings};

use crate::config::{Backend, Config};

/// To make an object whole, a store may take this many times what it may stand still: it puts thousands of parts together.
const COMPLETE_STALLS: u32 = 2;

/// Opens the store. A bucket isn't asked anything yet: a store that is away at our start may come.
///
/// # Errors
/// The local folder can't be used, or the bucket isn't named whole.
pub fn open(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.track_storage_backend {
        Backend::S3 => Ok(Arc::new(bucket(config)?)),
        Backend::Local => {
            let folder = config.data.join("store");
            let store = Local::open(&folder).with_context(|| format!("can't open the store {}", folder.display()))?;
            Ok(Arc::new(store))
        }
    }
}

/// The same, beside a process that serves from it: for reading and deleting.
///
/// # Errors
/// The bucket isn't named whole.
pub fn beside(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.track_storage_backend {
        Backend::S3 => Ok(Arc::new(bucket(config)?)),
        Backend::Local => Ok(Arc::new(Local::beside(config.data.join("store")))),
    }
}

/// The bucket that the settings name, whichever backend is in use.
///
/// # Errors
/// What isn't set.
pub fn bucket(config: &Config) -> anyhow::Result<S3> {
    let (Some(endpoint), Some(region), Some(bucket), Some(id), Some(secret)) = (
        &config.s3_endpoint,
        &config.s3_region,
        &config.s3_bucket,
        &config.s3_access_key_id,
        &config.s3_secret_access_key,
    ) else {
        bail!("name the bucket: S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY");
    };
    let settings = Settings::new(&endpoint.to_string(), region, bucket, id.expose(), secret.expose());
    let stall_max = config.s3_stall.0;
    let complete_max = stall_max * COMPLETE_STALLS;
    Ok(S3::open(Settings { force_path_style: config.s3_force_path_style, stall_max, complete_max, ..settings }))
}
