//! One connection: first byte, version, then hyper under the watch.
//!
//! The version is read here and not by hyper-util's automatic builder: that one waits for the preface without a limit
//! and can't bound a head apart from the read buffer, which is large for the uploads' sake.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, time::sleep_until};
use tower::ServiceExt;

use super::{
    Cut, Draining, Limits, Peer, Shared,
    answer::Answer,
    flow::Pace,
    interim::Line,
    io::Io,
    reads::{Reader, Reads},
    request_body::{BodyFate, RequestBody},
    streams::{self, Streams},
    watch::{Version, Watch},
};
use crate::Problem;

/// What an HTTP/2 client with prior knowledge says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Unsent bytes that the kernel keeps for one connection. Small enough that a reader at the minimum rate is seen to
/// read every few seconds; what is on the line isn't limited by it.
const UNSENT_BYTES: u32 = 32 * 1024;

/// What an HTTP/2 client may send unasked, per stream and per connection: it lies outside the uploads' byte budget.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Waits for the line while an answer is written.
const SEND_BUFFER: usize = 256 * 1024;
/// Streams that a client opened and reset before we saw them: the mark of a rapid-reset flood.
const RESETS_PENDING: usize = 20;
/// Streams that we reset for a client's errors.
const RESETS_BY_ERROR: usize = 256;
/// An HTTP/2 peer that doesn't answer a ping this often and this fast is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves one connection to its end. `Err`: it was cut.
pub(super) async fn run(mut stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) -> Result<(), Cut> {
    let limits = &shared.limits;
    // Neither failing harms more than speed; the socket may be gone already.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let sniffed = tokio::select! {
        sniffed = tokio::time::timeout(limits.first_byte, version(&mut stream)) => sniffed.map_err(|_| Cut::Silent)?,
        () = shared.stop.drain.cancelled() => return Ok(()),
    };
    let Ok(Some((version, begun, since))) = sniffed else { return Ok(()) };
    let watch = Watch::new(version, limits, since);
    let line = Arc::<Line>::default();
    let reader = Arc::new(limits.reads.enter());
    let io = TokioIo::new(Io::new(stream, begun, Arc::clone(&watch), Arc::clone(&line), Arc::clone(&reader)));
    let service = hyper::service::service_fn({
        let of = Connected { shared: Arc::clone(shared), watch: Arc::clone(&watch), line, reader };
        move |request| answer(request, peer, of.clone())
    });
    match version {
        Version::Http1 => {
            let connection = http1_builder(limits).serve_connection(io, service);
            drive(Box::pin(connection), http1::Connection::graceful_shutdown, &watch, shared).await
        }
        Version::Http2 => {
            let connection = http2_builder(shared).serve_connection(io, service);
            drive(Box::pin(connection), http2::Connection::graceful_shutdown, &watch, shared).await
        }
    }
}

/// Reads until the version is known: by HTTP/1 with the first byte that isn't the preface's.
async fn version(stream: &mut TcpStream) -> std::io::Result<Option<(Version, Bytes, Instant)>> {
    let mut begun = [0; PREFACE.len()];
    let (mut len, mut since) = (0, None);
    while len < begun.len() {
        match stream.read(&mut begun[len..]).await? {
            0 => return Ok(None),
            n => len += n,
        }
        let since = *since.get_or_insert_with(Instant::now);
        if begun[..len] != PREFACE[..len] {
            return Ok(Some((Version::Http1, Bytes::copy_from_slice(&begun[..len]), since)));
        }
    }
    Ok(Some((Version::Http2, Bytes::copy_from_slice(&begun), since.unwrap_or_else(Instant::now))))
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper's clock starts when a head is awaited, so it can only back up ours.
        .header_read_timeout(limits.idle + limits.head)
        .max_header_size(limits.head_bytes)
        .max_buf_size(Reads::MAX.max(limits.head_bytes));
    builder
}

fn http2_builder(shared: &Arc<Shared>) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(Arc::clone(shared)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.limits.streams)
        .max_header_list_size(u32::try_from(shared.limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(RESETS_BY_ERROR)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Polls the connection, the drain and the watch, all in this task.
async fn drive<C>(
    mut connection: Pin<Box<C>>,
    drain: fn(Pin<&mut C>),
    watch: &Watch,
    shared: &Shared,
) -> Result<(), Cut>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut draining = pin!(shared.stop.drain.cancelled());
    let mut cut = pin!(shared.stop.cut.cancelled());
    let mut alarm = pin!(sleep_until((Instant::now() + shared.limits.head).into()));
    let mut told = false;
    poll_fn(|cx| {
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Cut::Shutdown));
        }
        if !told && draining.as_mut().poll(cx).is_ready() {
            told = true;
            drain(connection.as_mut());
        }
        // How a connection broke is the client's affair; what a request lost is told to its handler.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let next = match watch.verdict(Instant::now()) {
                Ok(next) => next.into(),
                Err(cut) => return Poll::Ready(Err(cut)),
            };
            // An alarm that is early only looks again: so it isn't moved with every byte.
            if alarm.is_elapsed() || alarm.deadline() > next {
                alarm.as_mut().reset(next);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// What the requests of one connection share.
#[derive(Clone)]
struct Connected {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    line: Arc<Line>,
    reader: Arc<Reader>,
}

/// One request through the application.
async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    Connected { shared, watch, line, reader }: Connected,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let exchange = watch.request();
    let meter = streams::meter();
    let (mut head, incoming) = request.into_parts();
    if head.uri.path_and_query().map_or(0, |target| target.as_str().len()) > shared.limits.uri_bytes {
        let problem = Problem::new(http::StatusCode::URI_TOO_LONG, "uri_too_long", "The request target is too long.");
        let response = axum::response::IntoResponse::into_response(problem);
        return Ok(response.map(|body| Answer::new(body, meter, exchange)));
    }
    let fate = BodyFate::default();
    head.extensions.insert(Peer(peer));
    head.extensions.insert(Draining(shared.stop.drain.clone()));
    head.extensions.insert(fate.clone());
    let is_http1 = head.version < http::Version::HTTP_2;
    let gate = (head.version == http::Version::HTTP_11).then(|| {
        let (interim, gate) = line.open();
        head.extensions.insert(interim);
        gate
    });
    let reader = is_http1.then_some(reader);
    let body = RequestBody::new(incoming, Pace::from(&shared.limits), fate.clone(), watch, reader);
    let request = Request::from_parts(head, axum::body::Body::new(body));
    let mut response = shared.app.clone().oneshot(request).await?;
    drop(gate); // from here on the final head may be written at any time
    // The rest of the body stands where the next request would: a client that isn't told would send that one in vain.
    if is_http1 && fate.is_left_unread() {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, meter, exchange)))
}
