//! The accept loop and the router, over raw sockets. Times are the production's, scaled down by `Limits`.

mod address;
mod caps;
mod drain;
mod errors;
mod interim;
mod log;
mod slow;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::front::{
    BodyLimit, Cache, Csrf, Gate, Policy, Route, Time, TrustedProxies, Who,
    accept::{Limits, Stop, serve},
    csrf::Key,
    router,
    session::Cookies,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Longer than any limit below: who waits this long waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// A policy that lets everybody do everything.
pub(crate) const OPEN: Policy = Policy {
    who: Who::Anyone,
    csrf: Csrf::Exempt,
    body: BodyLimit::Streaming,
    time: Time::MinimumRate,
    cache: Cache::NoStore,
    cors: false,
};

/// A second where production has ten to thirty.
pub(crate) fn quick() -> Limits {
    let second = Duration::from_secs(1);
    Limits {
        first_byte: second,
        head: second,
        idle: 3 * second,
        stalled: second,
        rate_window: second,
        ..Limits::default()
    }
}

pub(crate) struct Server {
    pub address: SocketAddr,
    pub stop: Stop,
    pub done: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(routes: Vec<Route>, limits: Limits) -> Self {
        Self::behind(routes, limits, TrustedProxies::default()).await
    }

    pub(crate) async fn behind(routes: Vec<Route>, limits: Limits, proxies: TrustedProxies) -> Self {
        let gate = Gate {
            db: sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap(),
            csrf: Key::new(&[7; 32]),
            cookies: Cookies { secure: false },
            origins: vec![],
            proxies: proxies.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        let done = tokio::spawn(serve(vec![listener], router(routes, gate), limits, proxies, stop.clone()));
        Self { address, stop, done }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A client that says exactly what it is told to.
pub(crate) struct Client(pub TcpStream);

impl Client {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// One whole answer with a `Content-Length`, or what came until the end of the connection.
    pub(crate) async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let mut byte = [0; 1];
        let answer = async {
            while !heard.ends_with(b"\r\n\r\n") {
                if self.0.read(&mut byte).await.unwrap_or(0) == 0 {
                    return;
                }
                heard.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&heard).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            self.0.read_exact(&mut body).await.unwrap();
            heard.extend(body);
        };
        timeout(PATIENCE, answer).await.expect("an answer");
        String::from_utf8(heard).unwrap()
    }

    /// How long until the server ends the connection; panics if it answers first.
    pub(crate) async fn time_to_end(&mut self) -> Duration {
        let began = Instant::now();
        let mut heard = [0; 256];
        let n = timeout(PATIENCE, self.0.read(&mut heard)).await.expect("the end").unwrap_or(0);
        assert_eq!(n, 0, "an answer instead of the end: {}", String::from_utf8_lossy(&heard[..n]));
        began.elapsed()
    }
}

/// Between `at_least` and two seconds more: what a limit of `at_least` looks like on a busy machine.
pub(crate) fn assert_about(took: Duration, at_least: Duration) {
    let slack = Duration::from_millis(50);
    assert!(took + slack >= at_least && took < at_least + Duration::from_secs(2), "{took:?} for {at_least:?}");
}

/// `GET /hello`.
pub(crate) fn hello() -> Route {
    Route::on(http::Method::GET, "/hello", OPEN, (), async || "hello")
}

pub(crate) fn shared<T: Default>() -> Arc<T> {
    Arc::default()
}
