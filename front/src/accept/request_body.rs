//! A request's body, bounded in time while its reader wants bytes.
//!
//! The clock runs from the poll that found nothing until bytes wake the reader: what a busy handler leaves in the
//! channel, and what it doesn't ask for at all, costs the client nothing.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{
    Cut,
    flow::{Flow, Lag, Pace},
    reads::Reader,
    watch::Watch,
};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client was cut off.
    #[error(transparent)]
    Cut(Cut),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

/// In a request's extensions: how much of its body came, and whether it was cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyFate(Arc<Fate>);

#[derive(Debug, Default)]
struct Fate {
    received: AtomicU64,
    cut: OnceLock<Cut>,
    left_unread: AtomicBool,
}

impl BodyFate {
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.0.cut.get().copied()
    }

    /// The handler was done with it before its end.
    pub(super) fn is_left_unread(&self) -> bool {
        self.0.left_unread.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }
}

pub(super) struct RequestBody {
    incoming: Incoming,
    pace: Arc<Clock>,
    alarm: Option<Pin<Box<Sleep>>>,
    fate: BodyFate,
    watch: Arc<Watch>,
    reader: Option<Arc<Reader>>,
}

struct Clock {
    flow: Mutex<Flow>,
    reader: Mutex<Option<Waker>>,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        pace: Pace,
        fate: BodyFate,
        watch: Arc<Watch>,
        reader: Option<Arc<Reader>>,
    ) -> Self {
        let pace = Arc::new(Clock { flow: Mutex::new(Flow::new(pace)), reader: Mutex::new(None) });
        Self { incoming, pace, alarm: None, fate, watch, reader }
    }

    /// Arms the alarm for the next look at the clock; says what it saw if that is too bad.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        loop {
            let verdict = self.pace.flow.lock().unwrap_or_else(PoisonError::into_inner).verdict(Instant::now());
            let next = match verdict {
                Ok(Some(next)) => next.into(),
                Ok(None) => return Poll::Pending, // bytes came in the meantime, and the wake-up with them
                Err(Lag::Stalled) => return Poll::Ready(Cut::BodyStalled),
                Err(Lag::Slow) => return Poll::Ready(Cut::BodySlow),
            };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if alarm.is_elapsed() || alarm.deadline() > next {
                alarm.as_mut().reset(next);
            }
            // An alarm that is early only looks again; so it isn't moved with every frame.
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Some(cut) = self.fate.cut() {
            return Poll::Ready(Some(Err(BodyError::Cut(cut))));
        }
        self.pace.listen(cx.waker());
        // Before the look, so that a wake-up in between stops the clock again.
        self.pace.flow.lock().unwrap_or_else(PoisonError::into_inner).wait(Instant::now());
        let waker = Waker::from(Arc::clone(&self.pace));
        let poll = Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(&waker));
        let mut flow = self.pace.flow.lock().unwrap_or_else(PoisonError::into_inner);
        match poll {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                flow.progress(Instant::now(), bytes);
                self.fate.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
                drop(flow);
                Poll::Ready(Some(Ok(frame.map_data(|bytes| match &self.reader {
                    Some(reader) => reader.apart(bytes),
                    // HTTP/2 has small frames, cut from buffers that nobody tells us of.
                    None => Bytes::copy_from_slice(&bytes),
                }))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                drop(flow);
                let cut = std::task::ready!(self.poll_clock(cx));
                cut.count();
                self.fate.0.cut.get_or_init(|| cut);
                Poll::Ready(Some(Err(BodyError::Cut(cut))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.incoming.is_end_stream() {
            self.fate.0.left_unread.store(true, Ordering::Relaxed);
            self.watch.left_unread();
        }
    }
}

impl Clock {
    fn listen(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }
}

impl Wake for Clock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner).pause(Instant::now());
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
