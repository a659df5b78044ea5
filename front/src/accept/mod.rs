//! The one accept loop: every listener of the process goes through `serve`.
//!
//! Promise: no client holds a connection without moving bytes for longer than [`Limits`] says, whether it is silent,
//!          slow to ask, slow to send or slow to read; and no wait of ours is ever charged to a client.
//! Promise: one address can't take the places of the others; running out of descriptors slows accepting, nothing more.
//! Drain:   1 listeners close, 2 idle connections close and busy ones are told, 3 what is left after `drain` is cut.
//! Absent:  TLS and PROXY protocol.

mod addresses;
mod answer;
mod connection;
mod flow;
mod interim;
mod io;
mod reads;
mod request_body;
mod streams;
mod watch;

use std::{io as std_io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::client_address::TrustedProxies;
use addresses::Addresses;
pub use interim::{Interim, TooLate};
pub use reads::Reads;
pub(crate) use request_body::BodyFate;

const KIB: u64 = 1024;

/// Descriptors kept for the database, the store, workers and logs when the limit of the process is small.
const DESCRIPTOR_RESERVE: u64 = 256;

/// First pause after the system refused a descriptor or memory; doubled up to [`ACCEPT_BACKOFF_MAX`].
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Long enough not to spin, short enough that the first free descriptor is used at once by a human's measure.
const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long, how much and how many. The defaults are the production values; tests shorten the times.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to the first byte and a known protocol version. A browser's spare connection is silent: it reconnects.
    pub first_byte: Duration,
    /// From a request head's first byte to its last. A head fits in a few packets, whatever the line.
    pub head: Duration,
    /// Between two requests. Above the 60 s that common proxies keep theirs.
    pub idle: Duration,
    /// Without a byte while we want some, or while the client takes none of ours.
    pub stalled: Duration,
    /// Over this much waiting, `rate` must be held.
    pub rate_window: Duration,
    /// Bytes per second: slower than any line that carries music, faster than an attack can afford by the thousand.
    pub rate: u64,
    /// Size of a request head (HTTP/1) or header list (HTTP/2), in bytes.
    pub head_bytes: usize,
    /// Length of a request target, in bytes.
    pub uri_bytes: usize,
    /// What one read from a socket may bring.
    pub reads: Arc<Reads>,
    /// Connections in all; lowered when the process may not open as many descriptors.
    pub connections: usize,
    /// Connections of one address (of one /64 for IPv6). Trusted proxies are exempt.
    pub connections_per_address: usize,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// From the drain's begin until what is left is cut.
    pub drain: Duration,
    /// After an early answer to an unread body: until the client has seen it and stops sending.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(30),
            rate_window: Duration::from_secs(30),
            rate: KIB,
            head_bytes: 16 * KIB as usize,
            uri_bytes: 8 * KIB as usize,
            reads: Arc::default(),
            connections: 8192,
            connections_per_address: 512,
            streams: 100,
            drain: Duration::from_secs(25),
            linger: Duration::from_secs(2),
        }
    }
}

/// How a server is told to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Finish what is in progress, take nothing new.
    pub drain: CancellationToken,
    /// End at once. Set by a second signal.
    pub cut: CancellationToken,
}

/// In every request's extensions: cancelled when the server drains, so that an endless answer ends by itself.
#[derive(Clone, Debug)]
pub struct Draining(pub CancellationToken);

/// In every request's extensions: the other end of the socket. Who that is, says [`crate::ClientAddress`].
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Why a client was cut off. A request's body yields it as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// Said nothing after connecting.
    #[error("the client sent nothing")]
    Silent,
    /// Began a request head and didn't end it.
    #[error("the request head took too long")]
    SlowHead,
    /// Asked nothing more.
    #[error("the connection was idle")]
    Idle,
    /// No byte of the body came while we waited for one.
    #[error("the body stalled")]
    BodyStalled,
    /// The body came below the minimum rate.
    #[error("the body was too slow")]
    BodySlow,
    /// The client took no byte of the answer.
    #[error("the reader stalled")]
    ReaderStalled,
    /// The client took the answer below the minimum rate.
    #[error("the reader was too slow")]
    ReaderSlow,
    /// Went on sending a body that was answered already.
    #[error("the client went on sending")]
    Lingered,
    /// Was still busy when the drain's time was up.
    #[error("the server ended")]
    Shutdown,
}

impl Cut {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::BodyStalled => "body_stalled",
            Self::BodySlow => "body_slow",
            Self::ReaderStalled => "reader_stalled",
            Self::ReaderSlow => "reader_slow",
            Self::Lingered => "lingered",
            Self::Shutdown => "shutdown",
        }
    }

    pub(crate) fn count(self) {
        metrics::counter!("http_connections_cut_total", "reason" => self.name()).increment(1);
    }
}

/// What every connection of one server shares.
pub(crate) struct Shared {
    pub(crate) app: axum::Router,
    pub(crate) limits: Limits,
    pub(crate) proxies: TrustedProxies,
    pub(crate) stop: Stop,
    pub(crate) tasks: TaskTracker,
    places: Arc<Semaphore>,
    addresses: Addresses,
}

/// Serves `app` on all `listeners` until `stop` says so, then drains. Returns when the last connection is gone.
///
/// The listeners must be bound already: binding is where a wrong address is told to a human.
pub async fn serve(
    listeners: Vec<TcpListener>,
    app: axum::Router,
    limits: Limits,
    proxies: TrustedProxies,
    stop: Stop,
) {
    let places = limits.connections.min(places_by_descriptors()).max(1);
    let shared = Arc::new(Shared {
        app,
        proxies,
        tasks: TaskTracker::new(),
        places: Arc::new(Semaphore::new(places)),
        addresses: Addresses::new(limits.connections_per_address),
        stop: stop.clone(),
        limits,
    });
    for listener in listeners {
        shared.tasks.spawn(accept(listener, Arc::clone(&shared)));
    }
    stop.drain.cancelled().await;
    shared.tasks.close();
    if tokio::time::timeout(shared.limits.drain, shared.tasks.wait()).await.is_err() {
        stop.cut.cancel();
        shared.tasks.wait().await;
    }
}

/// Takes connections off one listener until the drain begins; then the listener closes.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut backoff = ACCEPT_BACKOFF;
    loop {
        let next = async {
            let place = Arc::clone(&shared.places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next, // cancel-safe enough: what is lost is a client that a draining server won't serve
            () = shared.stop.drain.cancelled() => return,
        };
        let Ok(place) = place else { return };
        match accepted {
            Ok((stream, peer)) => {
                backoff = ACCEPT_BACKOFF;
                let address = if shared.proxies.contains(peer.ip()) { None } else { Some(peer.ip()) };
                let Some(seat) = shared.addresses.take(address) else {
                    metrics::counter!("http_connections_refused_total", "reason" => "address").increment(1);
                    continue;
                };
                let task = connection(stream, peer, Arc::clone(&shared));
                shared.tasks.spawn(async move {
                    task.await;
                    drop((seat, place));
                });
            }
            Err(error) if is_shortage(&error) => {
                metrics::counter!("http_accept_errors_total").increment(1);
                tracing::warn!(error = %error, backoff_ms = backoff.as_millis() as u64, "can't accept for now");
                tokio::select! {
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX),
                    () = shared.stop.drain.cancelled() => return,
                }
            }
            // The client gave up between its SYN and our accept: its affair.
            Err(_) => metrics::counter!("http_accept_errors_total").increment(1),
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    metrics::gauge!("http_connections_open").increment(1.0);
    let outcome = connection::run(stream, peer, &shared).await;
    metrics::gauge!("http_connections_open").decrement(1.0);
    if let Err(cut) = outcome {
        cut.count();
        tracing::debug!(peer = %peer, reason = cut.name(), "connection cut");
    }
}

/// Errors that mean "we have too little", not "this client is gone".
fn is_shortage(error: &std_io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn places_by_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserve = DESCRIPTOR_RESERVE.min(limit / 2);
    usize::try_from(limit - reserve).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
