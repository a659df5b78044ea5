//! Every request on its way: given up when nothing moves, and heard when the store says "slow down".
//!
//! Promise: a request that goes on sending or receiving is never cut, however slow; one that doesn't is cut after its stall
//! limit, which the SDK takes for a timeout and may retry. Each try has its own watch. What was handed to the socket may
//! still be on its way when the last byte was: so the answer may take as long again as the sending did, and the limit.
//! Absent:  a deadline for the whole of a request; Complete has one, in `complete`.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
            let left = body.content_length().unwrap_or(u64::MAX);
            *request.body_mut() = SdkBody::from_body_1_x(Sent { body, left, progress: progress.clone() });
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
struct Progress(Arc<Mutex<Moved>>);

#[derive(Debug)]
struct Moved {
    began: Instant,
    last: Instant,
    /// What the answer may take beyond the limit.
    grace: Duration,
}

impl Progress {
    fn now() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Moved { began: now, last: now, grace: Duration::ZERO })))
    }

    fn moved(&self, is_all: bool) {
        let mut moved = self.lock();
        moved.last = Instant::now();
        if is_all {
            moved.grace = moved.last - moved.began;
        }
    }

    /// Returns once nothing has moved for `max`.
    async fn stalled(&self, max: Duration) {
        loop {
            let until = {
                let moved = self.lock();
                moved.last + max + moved.grace
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing moved.
#[derive(Debug, thiserror::Error)]
#[error("nothing moved for {} ms", .0.as_millis())]
struct Stalled(Duration);

/// A request's body that notes when its bytes are asked for: hyper asks when the socket has taken the ones before.
struct Sent {
    body: SdkBody,
    left: u64,
    progress: Progress,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.left = self.left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        self.progress.moved(self.left == 0);
        frame
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
