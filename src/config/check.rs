//! What settings must hold together, and what production must say knowingly.

use super::{
    Backend, Config, Environment, Origin, Size,
    source::{Error, Start, variable_of},
};

/// S3's bounds for a part, kept on every backend so that an object can move.
const PART_BYTES_MIN: u64 = 5 << 20;
/// As above.
const PART_BYTES_MAX: u64 = 5 << 30;
/// S3's bound on the parts of one object.
const PARTS_MAX: u64 = 10_000;
/// Shorter leases would be lost to a pause of the host.
const LEASE_MS_MIN: u128 = 1_000;
/// Stores pause for so long while they are well.
const S3_STALL_MS_MIN: u128 = 100;
/// More parts at once than this buys nothing on any line that we know.
const PARTS_IN_FLIGHT_MAX: u32 = 64;
/// HLS players expect segments of a few seconds.
const SEGMENT_SECONDS_MAX: u32 = 30;
/// Bitrates that AAC-LC in stereo is useful at, in kbit/s.
const AAC_KBITS: std::ops::RangeInclusive<u32> = 16..=512;
/// Settings of later releases: ignored now, but not in silence.
const LATER: &[&str] =
    &["HYPERSWITCH_ENABLED", "HYPERSWITCH_URL", "STRIPE_SECRET_KEY", "STRIPE_URL", "PSP", "SMTP_HOST", "GEOIP_DB_PATH"];

pub(super) fn check(config: &Config, start: &Start) -> Result<Vec<String>, Error> {
    sizes(config)?;
    media(config)?;
    let mut warnings: Vec<String> = LATER
        .iter()
        .filter(|name| start.is_set(name))
        .map(|name| format!("{name} is set, and this release doesn't use it"))
        .collect();
    if config.roles.0.is_empty() {
        return Err(refused("roles", "name at least one of uploads, playback, api, worker"));
    }
    s3(config, &mut warnings)?;
    redis(config, &mut warnings)?;
    if config.env == Environment::Production {
        production(config)?;
    }
    Ok(warnings)
}

fn sizes(config: &Config) -> Result<(), Error> {
    let part = config.upload_part_bytes.0;
    if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&part) {
        return Err(refused("upload_part_bytes", "a part has between 5MiB and 5GiB"));
    }
    if config.upload_parts_in_flight == 0 || config.upload_parts_in_flight > PARTS_IN_FLIGHT_MAX {
        return Err(refused("upload_parts_in_flight", "must be between 1 and 64"));
    }
    if config.upload_max_bytes.0.div_ceil(part) > PARTS_MAX {
        let why = format!("an object has at most {PARTS_MAX} parts: raise UPLOAD_PART_BYTES or lower this");
        return Err(refused("upload_max_bytes", why));
    }
    let needed = part.saturating_mul(u64::from(config.upload_parts_in_flight));
    if config.upload_memory_bytes.0 < needed {
        let why = format!("one upload alone may hold {} (part size × parts in flight)", Size(needed));
        return Err(refused("upload_memory_bytes", why));
    }
    if config.upload_account_open == 0 {
        return Err(refused("upload_account_open", "must be at least 1"));
    }
    if config.upload_creations_per_minute == 0 {
        return Err(refused("upload_creations_per_minute", "must be at least 1"));
    }
    if config.upload_lease.0.as_millis() < LEASE_MS_MIN {
        return Err(refused("upload_lease", "must be at least 1s"));
    }
    Ok(())
}

fn media(config: &Config) -> Result<(), Error> {
    if config.hls_segment_seconds == 0 || config.hls_segment_seconds > SEGMENT_SECONDS_MAX {
        return Err(refused("hls_segment_seconds", "must be between 1 and 30"));
    }
    if config.hls_ladder.0.is_empty() {
        return Err(refused("hls_ladder", "name at least one rung, such as aac:160k"));
    }
    for rung in &config.hls_ladder.0 {
        let kbits = rung.strip_prefix("aac:").and_then(|r| r.strip_suffix('k')).and_then(|n| n.parse().ok());
        if rung != "flac" && !kbits.is_some_and(|n| AAC_KBITS.contains(&n)) {
            return Err(refused("hls_ladder", format!("\"{rung}\" isn't a rung; write aac:160k or flac")));
        }
    }
    Ok(())
}

/// A bucket is named whole or not at all: a default would send people's files to a store that nobody chose.
fn s3(config: &Config, warnings: &mut Vec<String>) -> Result<(), Error> {
    let named = [
        ("s3_endpoint", config.s3_endpoint.is_some()),
        ("s3_region", config.s3_region.is_some()),
        ("s3_bucket", config.s3_bucket.is_some()),
        ("s3_access_key_id", config.s3_access_key_id.is_some()),
        ("s3_secret_access_key", config.s3_secret_access_key.is_some()),
    ];
    if config.s3_stall.0.as_millis() < S3_STALL_MS_MIN {
        return Err(refused("s3_stall", format!("below {S3_STALL_MS_MIN}ms a store that is well looks dead")));
    }
    match config.track_storage_backend {
        Backend::S3 => match named.iter().find(|(_, is_set)| !is_set) {
            Some((key, _)) => Err(refused(key, "must be set when TRACK_STORAGE_BACKEND is s3")),
            None => Ok(()),
        },
        Backend::Local => {
            if let Some((key, _)) = named.iter().find(|(_, is_set)| *is_set) {
                let name = variable_of(key);
                warnings.push(format!("{name} is set, and not used: TRACK_STORAGE_BACKEND is local"));
            }
            Ok(())
        }
    }
}

fn redis(config: &Config, warnings: &mut Vec<String>) -> Result<(), Error> {
    match config.redis_url.as_ref().map(|url| url.expose() == "none") {
        Some(false) if config.env == Environment::Production => {
            Err(refused("redis_url", "a shared bus isn't in this release; set it to none and run one process"))
        }
        Some(false) => {
            warnings.push("REDIS_URL is set, and this release doesn't use it".into());
            Ok(())
        }
        None if config.env == Environment::Production => {
            Err(refused("redis_url", "production must say it: set it to none to run one process"))
        }
        _ => Ok(()),
    }
}

fn production(config: &Config) -> Result<(), Error> {
    match &config.public_url {
        None => Err(refused("public_url", "production must name the address that browsers use")),
        Some(url) if url.url().scheme() != "https" => {
            Err(refused("public_url", "in production it must start with https://"))
        }
        Some(_) => Ok(()),
    }
}

/// A rule between settings has no single origin; `config explain` tells each one's.
fn refused(key: &'static str, why: impl Into<String>) -> Error {
    Error::Value { name: variable_of(key).into(), origin: Origin::Default, why: why.into() }
}
