//! The SDK's client, set up once.
//!
//! Promise: a payload is read once on its way out. The signature doesn't cover it (over plain HTTP the SDK would hash each
//! part again), a checksum of ours does; the SDK adds none of its own and checks none that we didn't ask for.
//! Absent:  its stalled-stream protection, which ends honest slow transfers; `wire` looks for progress instead.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::{Settings, limiter::Limiter, wire::Wire};

/// A store that is up takes a connection in milliseconds, a far one in a few hundred.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The first try and two more: a third failure in a row isn't a hiccup, and the caller has its own patience.
const TRIES: u32 = 3;

/// Before the second try; then twice that. Each wait is a random share of it.
const BACKOFF_FIRST: Duration = Duration::from_millis(300);

/// A health check's patience: less than a balancer's.
const PROBE_MAX: Duration = Duration::from_millis(1500);

pub(super) fn client(settings: &Settings, limiter: Arc<Limiter>) -> Client {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let http = SharedHttpClient::new(Wire::new(http, CONNECT_MAX, settings.stall_max, limiter));
    let (id, secret) = (settings.access_key_id.clone(), settings.secret_access_key.clone());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&settings.endpoint)
        .region(Region::new(settings.region.clone()))
        .credentials_provider(Credentials::new(id, secret, None, None, "settings"))
        .force_path_style(settings.force_path_style)
        .http_client(http)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_MAX).read_timeout(settings.stall_max).build())
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES).with_initial_backoff(BACKOFF_FIRST))
        .build();
    Client::from_conf(config)
}

/// For a request that is sent once and may take `max` from its first byte to the last of its answer.
pub(super) fn once_within(max: Duration) -> Builder {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_MAX).read_timeout(max).operation_timeout(max);
    Builder::new().retry_config(RetryConfig::disabled()).timeout_config(timeouts.build())
}

/// For a look at whether the store is there.
pub(super) fn a_quick_look() -> Builder {
    once_within(PROBE_MAX)
}
