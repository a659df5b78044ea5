//! Every request on its way: given up when nothing moves, and heard when the store says "slow down".
//!
//! Promise: a request that goes on sending or receiving is never cut, however slow; one that doesn't is cut after its stall
//! limit, which the SDK takes for a timeout and may retry. Each try has its own watch.
//! Absent:  a deadline for the whole of a request; Complete has one, in `complete`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_sdk_s3::{
    config::{
        ConfigBag, HttpClient, RuntimeComponents, RuntimeComponentsBuilder, SharedHttpClient,
        http::{HttpRequest, HttpResponse},
    },
    error::{BoxError, ConnectorError},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::limiter::Limiter;

/// The SDK's own connections, watched.
#[derive(Debug)]
pub(super) struct Wire {
    inner: SharedHttpClient,
    connect_max: Duration,
    stall_max: Duration,
    limiter: Arc<Limiter>,
}

impl Wire {
    pub(super) fn new(
        inner: SharedHttpClient,
        connect_max: Duration,
        stall_max: Duration,
        limiter: Arc<Limiter>,
    ) -> Self {
        Self { inner, connect_max, stall_max, limiter }
    }
}

impl HttpClient for Wire {
    /// The operation's read timeout is its stall limit here; the connections below know of none, so all share one pool.
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let below = HttpConnectorSettings::builder().connect_timeout(self.connect_max).build();
        SharedHttpConnector::new(Watched {
            inner: self.inner.http_connector(&below, components),
            stall_max: settings.read_timeout().unwrap_or(self.stall_max),
            limiter: Arc::clone(&self.limiter),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        cfg: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, cfg)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, cfg: &ConfigBag) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, cfg)
    }
}

#[derive(Debug)]
struct Watched {
    inner: SharedHttpConnector,
    stall_max: Duration,
    limiter: Arc<Limiter>,
}

impl HttpConnector for Watched {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let progress = Progress::now();
        if request.body().content_length() != Some(0) {
            let body = request.take_body();
            *request.body_mut() = SdkBody::from_body_1_x(Sent { body, progress: progress.clone() });
        }
        let (answer, stall_max, limiter) = (self.inner.call(request), self.stall_max, Arc::clone(&self.limiter));
        HttpConnectorFuture::new(async move {
            let answer = tokio::select! {
                answer = answer => answer?,
                // Cancel-safe: whoever drops the answer wants the connection closed.
                () = progress.stalled(stall_max) => return Err(ConnectorError::timeout(Stalled(stall_max).into())),
            };
            if matches!(answer.status().as_u16(), 503 | 429) {
                limiter.slow_down();
            }
            Ok(answer.map_body_watched(stall_max))
        })
    }
}

/// When something last moved.
#[derive(Clone, Debug)]
struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once nothing has moved for `max`.
    async fn stalled(&self, max: Duration) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + max;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Nothing moved.
#[derive(Debug, thiserror::Error)]
#[error("nothing moved for {} ms", .0.as_millis())]
struct Stalled(Duration);

/// A request's body that notes when its bytes are asked for: hyper asks when the socket has taken the ones before.
struct Sent {
    body: SdkBody,
    progress: Progress,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.progress.moved();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

/// An answer's body that ends in an error when it stalls.
struct Received {
    body: SdkBody,
    stall_max: Duration,
    until: Pin<Box<Sleep>>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer's body")
    }
}

trait WatchBody {
    fn map_body_watched(self, stall_max: Duration) -> Self;
}

impl WatchBody for HttpResponse {
    fn map_body_watched(mut self, stall_max: Duration) -> Self {
        if self.body().content_length() != Some(0) {
            let (body, until) = (self.take_body(), Box::pin(tokio::time::sleep(stall_max)));
            *self.body_mut() = SdkBody::from_body_1_x(Received { body, stall_max, until });
        }
        self
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.until.as_mut().reset(Instant::now() + this.stall_max);
            return Poll::Ready(frame);
        }
        ready!(this.until.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled(this.stall_max).into())))
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}
