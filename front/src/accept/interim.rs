//! 104 (Upload Resumption Supported) on HTTP/1.1: an answer before the answer, which hyper can't send for us.
//!
//! ```text
//! request N ─► gate N opens ─► handler: send, offer ─► queue ─► flush with hyper's buffer empty ─► socket
//!                 └─ closes before the handler's response is hyper's: what isn't begun by then is never sent
//! ```
//! Promise: an interim answer stands between the answers before it and the final head of its own request, and is whole.
//! It rests on two habits of hyper, which the raw tests watch: it flushes the socket only when nothing of its own waits,
//! and it encodes a head only after the service has returned it.
//! Absent: HTTP/1.0, whose clients take it for the answer, and HTTP/2, where raw bytes would break the header compression:
//! their requests carry no [`Interim`]. And 100 (Continue), which stays hyper's.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use tokio::{sync::oneshot, time::timeout};

/// How long `send` waits for a client that doesn't read. Its request goes on without the interim answer.
const SEND_WAIT: Duration = Duration::from_secs(2);

/// Interim answers that wait for the socket of one connection. A handler sends them one by one, so more are a mistake.
const QUEUE_MAX: usize = 16;

const STATUS_LINE: &[u8] = b"HTTP/1.1 104 Upload Resumption Supported\r\n";

/// In an HTTP/1.1 request's extensions: the way to its client before the final answer.
#[derive(Clone, Debug)]
pub struct Interim {
    line: Arc<Line>,
    request: u64,
}

/// The final answer was on its way, or the client doesn't read: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too late for an interim answer")]
pub struct TooLate;

impl Interim {
    /// Sends a 104 with these headers; returns when the socket has it. One that is dropped before it began is not sent.
    ///
    /// # Errors
    /// [`TooLate`], after two seconds at most.
    pub async fn send(&self, headers: &HeaderMap) -> Result<(), TooLate> {
        let (tell, told) = oneshot::channel();
        self.line.push(self.request, encode(headers), Some(tell), QUEUE_MAX)?;
        match timeout(SEND_WAIT, told).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(TooLate),
        }
    }

    /// Sends a 104 if the socket is free for it: waits for nobody, and is left out while another one waits.
    pub fn offer(&self, headers: &HeaderMap) {
        // Left out is what an offer may be.
        let _ = self.line.push(self.request, encode(headers), None, 1);
    }
}

/// Names and values are tokens and visible text by their types: no CR or LF is in them.
fn encode(headers: &HeaderMap) -> Bytes {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_slice(STATUS_LINE);
    for (name, value) in headers {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(b"\r\n");
    bytes.freeze()
}

/// What one connection's requests have to say, on its way to the I/O wrapper.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: u64,
    open: Option<u64>,
    queue: VecDeque<Queued>,
    flusher: Option<Waker>,
}

/// One interim answer. `told` hears of it when its last byte is in the socket, or by being dropped that it never will be.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) bytes: Bytes,
    told: Option<oneshot::Sender<()>>,
}

/// Closes the gate of its request. Dropped before hyper sees the response.
pub(super) struct Gate(Arc<Line>);

impl Line {
    /// Opens the gate of the request that begins.
    pub(super) fn open(self: &Arc<Self>) -> (Interim, Gate) {
        let mut state = self.state();
        state.requests += 1;
        let request = state.requests;
        state.open = Some(request);
        drop(state);
        (Interim { line: Arc::clone(self), request }, Gate(Arc::clone(self)))
    }

    /// The next one to write; when there is none, `cx` is woken for it.
    pub(super) fn next(&self, cx: &Context<'_>) -> Option<Queued> {
        let mut state = self.state();
        while let Some(queued) = state.queue.pop_front() {
            if queued.told.as_ref().is_none_or(|told| !told.is_closed()) {
                return Some(queued);
            }
        }
        match &mut state.flusher {
            Some(flusher) => flusher.clone_from(cx.waker()),
            None => state.flusher = Some(cx.waker().clone()),
        }
        None
    }

    fn push(&self, request: u64, bytes: Bytes, told: Option<oneshot::Sender<()>>, room: usize) -> Result<(), TooLate> {
        let mut state = self.state();
        if state.open != Some(request) || state.queue.len() >= room {
            return Err(TooLate);
        }
        state.queue.push_back(Queued { bytes, told });
        let flusher = state.flusher.take();
        drop(state);
        if let Some(flusher) = flusher {
            flusher.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queued {
    /// Its last byte is in the socket.
    pub(super) fn sent(self) {
        if let Some(told) = self.told {
            let _ = told.send(()); // who waits no longer needn't know
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open = None;
        state.queue.clear();
    }
}
