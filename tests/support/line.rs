//! A line between a client and a daemon: its address stays, what it leads to may change, and it breaks at a byte.
//!
//! Counted is what goes up, over all connections together. At the mark not one byte more passes; `cut` then ends every
//! connection by a reset at both ends. While the line leads nowhere, new connections wait, as at a socket whose
//! daemon is just being started again: so no client's patience decides how a test ends.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{app::PATIENCE, s3::Meter};

/// Taken from a socket at once. Small, so that little is under way where a mark cuts.
const READ_BYTES: usize = 64 << 10;

/// It ends with this, and so do its connections.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    to: watch::Sender<Option<SocketAddr>>,
    meter: Meter,
    open: Mutex<JoinSet<()>>,
}

impl Line {
    /// Leads to `host:port`.
    pub async fn to(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = watch::Sender::new(Some(host.parse().unwrap()));
        let shared = Arc::new(Shared { to, meter: Meter::default(), open: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on connections wait.
    pub fn leads_nowhere(&self) {
        self.shared.to.send_replace(None);
    }

    /// Those that wait go there, and those that come.
    pub fn leads_to(&self, host: &str) {
        self.shared.to.send_replace(Some(host.parse().unwrap()));
    }

    /// Nothing goes up beyond so many bytes since the start, until `cut`.
    pub fn stop_at(&self, bytes: u64) {
        self.shared.meter.stop_at(bytes);
    }

    /// Returns once so many bytes have gone up.
    pub async fn until_passed(&self, bytes: u64) {
        let passed = timeout(PATIENCE, self.shared.meter.until_passed(bytes)).await;
        assert!(passed.is_ok(), "only {} of {bytes} bytes came", self.shared.meter.passed());
    }

    /// Resets every connection there is, and only then takes the mark away.
    pub async fn cut(&self) {
        let mut open = std::mem::take(&mut *self.shared.open());
        open.shutdown().await;
        self.shared.meter.go_on();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.open().abort_all();
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        // A test that panicked elsewhere still ends its connections.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self: Arc<Self>, client: TcpStream) {
        let Ok(to) = self.to.subscribe().wait_for(Option::is_some).await.map(|to| *to) else { return };
        let mut ends = Ends { client, daemon: None, at_peace: false };
        let Ok(daemon) = TcpStream::connect(to.expect("waited for")).await else { return };
        let daemon = ends.daemon.insert(daemon);
        for stream in [&ends.client, &*daemon] {
            stream.set_nodelay(true).ok();
        }
        let ((from_client, to_client), (from_daemon, to_daemon)) = (ends.client.split(), daemon.split());
        let up = pump(from_client, to_daemon, Some(&self.meter));
        let down = pump(from_daemon, to_client, None);
        ends.at_peace = tokio::try_join!(up, down).is_ok();
    }
}

/// Both ends of one connection; one that doesn't end by itself is reset.
struct Ends {
    client: TcpStream,
    daemon: Option<TcpStream>,
    at_peace: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        for stream in [Some(&self.client), self.daemon.as_ref()].into_iter().flatten().filter(|_| !self.at_peace) {
            let reset = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            reset.expect("a socket can be told not to linger");
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let carried = Arc::clone(&shared).carry(client);
        shared.open().spawn(carried);
    }
}

/// Until the sender has no more.
async fn pump(mut from: tcp::ReadHalf<'_>, mut to: tcp::WriteHalf<'_>, meter: Option<&Meter>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let mut at = 0;
        while at < read {
            let may = match meter {
                Some(meter) => meter.pass(read - at).await,
                None => read - at,
            };
            to.write_all(&buffer[at..at + may]).await?;
            at += may;
        }
    }
}
