//! Every setting, from the one place that reads the environment.
//!
//! Order: command line over environment over `millrace.toml` over `config.default.toml`. Each value keeps its origin.
//! Promise: an unknown key, an unknown `MILLRACE_*` variable or an unreadable value is refused by name, and a secret
//! is never shown. A variable that is set but empty counts as unset.
//! Absent: reloading. A setting is read once, when the command starts.

mod check;
mod explain;
mod source;
mod text;

use std::{net::SocketAddr, path::PathBuf};

pub use explain::explain;
use source::{Error, Values};
pub use source::{Origin, Start};
pub use text::{
    Backend, ClamdAddress, Environment, FromText, List, LogFormat, Network, Role, Secret, Size, Span, WebUrl,
};

/// What one setting is called.
pub struct Setting {
    /// In `millrace.toml`.
    pub key: &'static str,
    /// In the environment; a secret may also come from the file that this name with `_FILE` tells.
    pub variable: &'static str,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $key:ident = $variable:literal : $type:ty),+ $(,)?) => {
        /// What the command was told.
        #[derive(Clone, Debug, serde::Serialize)]
        pub struct Config { $($(#[$doc])* pub $key: $type),+ }

        /// Every setting's names, in the order of the default file.
        pub const SETTINGS: &[Setting] = &[$(Setting { key: stringify!($key), variable: $variable }),+];

        impl Config {
            fn read(values: &Values) -> Result<Self, Error> {
                Ok(Self { $($key: values.parse::<$type>(stringify!($key))?),+ })
            }
        }
    };
}

settings! {
    /// How strict to be.
    env = "MILLRACE_ENV": Environment,
    /// Database, local store and generated secrets.
    data = "MILLRACE_DATA": PathBuf,
    /// The public listener.
    listen = "MILLRACE_LISTEN": SocketAddr,
    /// The listener of metrics and job views.
    admin = "MILLRACE_ADMIN": SocketAddr,
    /// What this process does.
    roles = "MILLRACE_ROLES": List<Role>,
    /// Where browsers find the public listener.
    public_url = "MILLRACE_PUBLIC_URL": Option<WebUrl>,
    /// Whose forwarded client address is believed.
    trusted_proxies = "MILLRACE_TRUSTED_PROXIES": List<Network>,
    /// Which log lines are written.
    log = "MILLRACE_LOG": String,
    /// Their form.
    log_format = "MILLRACE_LOG_FORMAT": LogFormat,
    /// What the keys of an instance of several nodes are derived from.
    secret = "MILLRACE_SECRET": Option<Secret>,
    /// The client commands' bearer token.
    token = "MILLRACE_TOKEN": Option<Secret>,
    /// Another PostgreSQL than the private one.
    database_url = "DATABASE_URL": Option<Secret>,
    /// Where the private PostgreSQL's programs are.
    pg_bindir = "PG_BINDIR": Option<PathBuf>,
    /// Where bytes are kept.
    track_storage_backend = "TRACK_STORAGE_BACKEND": Backend,
    /// Where the S3-compatible store answers.
    s3_endpoint = "S3_ENDPOINT": Option<WebUrl>,
    /// What its requests are signed for.
    s3_region = "S3_REGION": Option<String>,
    /// Which bucket is ours.
    s3_bucket = "S3_BUCKET": Option<String>,
    /// Who we are to it.
    s3_access_key_id = "S3_ACCESS_KEY_ID": Option<Secret>,
    /// And the proof.
    s3_secret_access_key = "S3_SECRET_ACCESS_KEY": Option<Secret>,
    /// Whether the bucket is named in the path rather than in the host.
    s3_force_path_style = "S3_FORCE_PATH_STYLE": bool,
    /// How long a request to the store may stand still.
    s3_stall = "S3_STALL": Span,
    /// The bus between processes.
    redis_url = "REDIS_URL": Option<Secret>,
    /// Size of a stored part.
    upload_part_bytes = "UPLOAD_PART_BYTES": Size,
    /// The largest file.
    upload_max_bytes = "UPLOAD_MAX_BYTES": Size,
    /// Upload bytes in memory, for the whole process.
    upload_memory_bytes = "UPLOAD_MEMORY_BYTES": Size,
    /// When an upload that nobody goes on with is removed.
    upload_expiry = "UPLOAD_EXPIRY": Span,
    /// Parts of one upload on their way to the store at once.
    upload_parts_in_flight = "UPLOAD_PARTS_IN_FLIGHT": u32,
    /// How long the uploads of a dead process stay locked.
    upload_lease = "UPLOAD_LEASE": Span,
    /// What one account may have stored.
    upload_account_bytes = "UPLOAD_ACCOUNT_BYTES": Option<Size>,
    /// What one account may have open.
    upload_account_open = "UPLOAD_ACCOUNT_OPEN": u32,
    /// How fast one account may begin uploads.
    upload_creations_per_minute = "UPLOAD_CREATIONS_PER_MINUTE": u32,
    /// Where the virus scanner listens.
    clamd_addr = "CLAMD_ADDR": Option<ClamdAddress>,
    /// How long it may be silent.
    clamd_timeout = "CLAMD_TIMEOUT": Span,
    /// How often the store is looked through for what no row names.
    orphan_sweep = "ORPHAN_SWEEP": Span,
    /// How old that must be.
    orphan_age = "ORPHAN_AGE": Span,
    /// Life of a playlist's entry URL.
    stream_url_ttl = "STREAM_URL_TTL": Span,
    /// Life of a download URL.
    download_url_ttl = "DOWNLOAD_URL_TTL": Span,
    /// Life of a source URL given to a remote transcoder.
    transcode_url_ttl = "TRANSCODE_URL_TTL": Span,
    /// Life of any other signed URL.
    url_ttl = "URL_TTL": Span,
    /// The variants that every track is encoded to.
    hls_ladder = "HLS_LADDER": List<String>,
    /// Length of a segment.
    hls_segment_seconds = "HLS_SEGMENT_SECONDS": u32,
    /// When an unfinished track without a live job is taken up again.
    track_processing_stuck_after = "TRACK_PROCESSING_STUCK_AFTER": Span,
}

/// The commented defaults, which are also the template for a `millrace.toml`.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The settings together with where each came from.
pub struct Loaded {
    /// The settings, checked.
    pub config: Config,
    /// What is odd but no reason to stop.
    pub warnings: Vec<String>,
    /// The directories of `PATH`, for finding PostgreSQL's programs.
    pub path: Vec<PathBuf>,
    /// Private folder of this login, if the system has such.
    pub runtime_dir: Option<PathBuf>,
    /// Where the client keeps what it needs to resume.
    pub state_dir: PathBuf,
    values: Values,
}

/// Reads, overlays and checks all settings.
///
/// # Errors
/// One sentence that names the setting, where it came from and what is allowed.
pub fn load(start: Start) -> Result<Loaded, Error> {
    let (values, start) = Values::overlay(start)?;
    let mut config = Config::read(&values)?;
    config.data = std::path::absolute(&config.data).unwrap_or(config.data);
    let warnings = check::check(&config, &start)?;
    let path = start.path_dirs();
    Ok(Loaded { config, warnings, path, runtime_dir: start.runtime_dir(), state_dir: start.state_dir(), values })
}

#[cfg(test)]
mod tests;
