//! The S3-compatible store, where one is in use: there, ours, on time, and able to do what uploads need.
//!
//! Promise: what is put to find out is deleted again. Absent: its speed, and how it keeps what it has.

use std::time::{Duration, SystemTime};

use pipeline::store::s3::ExamineError;

use super::Finding;
use crate::{
    config::{Backend, Loaded, WebUrl},
    store,
};

const SUBJECT: &str = "s3";
/// Nobody waits longer for a store, not even a far one.
const EXAMINE_MAX: Duration = Duration::from_secs(30);
/// An answer to nobody in particular.
const GREETING_MAX: Duration = Duration::from_secs(5);
/// Stores refuse signatures that are 15 minutes off; a third of that is a clock that runs away.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// What a store says to whoever asks without a key.
struct Greeting {
    is_garage: bool,
    /// How far its clock is from ours.
    skew: Option<Duration>,
}

pub async fn bucket(loaded: &Loaded) -> Option<Finding> {
    let config = &loaded.config;
    if config.track_storage_backend != Backend::S3 {
        return None;
    }
    let (Ok(s3), Some(endpoint)) = (store::bucket(config), &config.s3_endpoint) else { return None };
    let named = format!("{} at {endpoint}", config.s3_bucket.as_deref().unwrap_or_default());
    let greeting = greeting(endpoint).await;
    if let Some(skew) = greeting.as_ref().and_then(|g| g.skew).filter(|skew| *skew > SKEW_MAX) {
        let found = format!("{named}: its clock and ours differ by {} s", skew.as_secs());
        return Some(Finding::ill(SUBJECT, found, "set both clocks (timedatectl set-ntp true)"));
    }
    let examined = match tokio::time::timeout(EXAMINE_MAX, s3.examine()).await {
        Ok(examined) => examined,
        Err(_) => Err(ExamineError::Away(format!("nothing within {} s", EXAMINE_MAX.as_secs()))),
    };
    let powers = match examined {
        Ok(powers) => powers,
        Err(error) => return Some(Finding::ill(SUBJECT, format!("{named}: {error}"), cure(&error))),
    };
    let proof = if powers.crc64 { "CRC-64/NVME" } else { "MD5 (its uploads cost more processor time)" };
    let condition = if powers.put_if_free { "" } else { ", no conditional writes" };
    let mut finding = Finding::well(SUBJECT, format!("{named}: takes uploads in parts, compares {proof}{condition}"));
    if greeting.is_some_and(|g| g.is_garage) {
        // No request tells. Off is its default.
        let advice =
            "it is Garage: set metadata_fsync = true and data_fsync = true, or a power cut takes what we were promised";
        finding.cure = Some(advice.into());
    }
    Some(finding)
}

fn cure(error: &ExamineError) -> &'static str {
    match error {
        ExamineError::Away(_) => "start it, or correct S3_ENDPOINT",
        ExamineError::Refused(_) => {
            "correct S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY or S3_REGION, or give the key its rights"
        }
        ExamineError::NoBucket(_) => "make the bucket, or correct S3_BUCKET or S3_FORCE_PATH_STYLE",
        ExamineError::Clock(_) => "set both clocks (timedatectl set-ntp true)",
        ExamineError::Lacking(_) => "use a store with multipart uploads, or give the key the right to write and delete",
    }
}

async fn greeting(endpoint: &WebUrl) -> Option<Greeting> {
    let asked = reqwest::Client::new().get(endpoint.to_string()).timeout(GREETING_MAX).send();
    let answer = asked.await.ok()?;
    let now = SystemTime::now();
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|d| time::OffsetDateTime::parse(d, &time::format_description::well_known::Rfc2822).ok());
    let skew = theirs.map(|theirs| (time::OffsetDateTime::from(now) - theirs).unsigned_abs());
    let is_garage = answer.text().await.is_ok_and(|text| text.contains("Garage"));
    Some(Greeting { is_garage, skew })
}
