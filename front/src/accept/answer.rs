//! A response's body on its way out. It keeps the exchange open until the last byte is handed over.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{flow::Flow, watch::Exchange};

/// Shared with the stream's task: a stream whose client takes nothing is never polled, so somebody else must look.
pub(super) type Meter = Arc<Mutex<Flow>>;

pub(super) struct Answer {
    body: axum::body::Body,
    meter: Option<Meter>,
    _exchange: Exchange,
}

impl Answer {
    /// `meter` for HTTP/2 only: on HTTP/1 the socket itself tells who is waited for.
    pub(super) fn new(body: axum::body::Body, meter: Option<Meter>, exchange: Exchange) -> Self {
        Self { body, meter, _exchange: exchange }
    }

    fn measure(&self, report: impl FnOnce(&mut Flow, Instant)) {
        if let Some(meter) = &self.meter {
            report(&mut meter.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // Being asked for more means that the client took what was handed over before.
        self.measure(Flow::pause);
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &poll {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.measure(|flow, now| {
                flow.progress(now, bytes);
                flow.wait(now);
            });
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
