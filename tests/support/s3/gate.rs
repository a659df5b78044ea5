//! The door of an endpoint: accepts connections, counts and logs requests, and does to them what the rules say.
//!
//! It has threads of its own: a test that blocks doesn't stop it. A lost connection is always a reset. What a rule
//! lets the store do is done to the end, also when the client goes away meanwhile.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::{
    body::{self, Stream},
    call::{Call, Op},
    checksum::Algorithm,
    faults::{Action, Armed, Faults},
    log::Log,
    meter::Meter,
    objects,
    store::Store,
    toxic::Forward,
};

/// Read at once from a client: large pieces, so that the tests' own cost stays small.
const READ_BYTES: usize = 1 << 20;
const WORKERS: usize = 2;

pub struct Gate {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

struct Shared {
    faults: Faults,
    log: Log,
    meter: Arc<Meter>,
    behind: Behind,
}

/// Who answers in the end.
pub(super) enum Behind {
    Memory(Box<Store>),
    Real(Box<Forward>),
}

impl Gate {
    pub(super) fn open(behind: Behind) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().expect("threads");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        listener.set_nonblocking(true).expect("a socket can wait");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { faults: Faults::default(), log: Log::default(), meter: Arc::default(), behind });
        runtime.spawn(accept(listener, shared.clone()));
        Self { shared, address, runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Bytes of request bodies that came through.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    pub(super) fn behind(&self) -> &Behind {
        &self.shared.behind
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Held requests and hanging ones end here.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a socket that can wait");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, shared.clone()))),
            // Out of descriptors: the clients wait in the queue.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| shared.clone().pass(request));
    let mut http = http1::Builder::new();
    let mut connection =
        http.timer(TokioTimer::new()).max_buf_size(READ_BYTES).serve_connection(TokioIo::new(stream), service);
    if (&mut connection).await.is_err() {
        let stream = connection.into_parts().io.into_inner();
        let reset = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        reset.expect("a socket can be told not to linger");
    }
}

impl Shared {
    /// An error resets the connection.
    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Stream>> {
        let call = Call::of(&request);
        let entry = self.log.begin(&call);
        let request = request.map(|body| match body.is_end_stream() {
            true => body::of_bytes(Bytes::new()),
            false => body::metered(body.map_err(io::Error::other).boxed_unsync(), self.meter.clone()),
        });
        let struck = self.faults.strike(&call);
        let job = Job { shared: self.clone(), call: Arc::new(call), entry };
        let response = match struck {
            Some(armed) => job.struck(armed, request).await?,
            None => job.run(request, None).await?,
        };
        self.log.told(entry, response.status().as_u16());
        Ok(response)
    }
}

/// One request on its way.
#[derive(Clone)]
struct Job {
    shared: Arc<Shared>,
    call: Arc<Call>,
    entry: usize,
}

impl Job {
    /// What the store itself says.
    async fn run(self, request: Request<Stream>, rot: Option<u64>) -> io::Result<Response<Stream>> {
        let response = match &self.shared.behind {
            Behind::Memory(store) => store.serve(&self.call, request, rot).await?,
            Behind::Real(forward) => forward.serve(&self.call, request).await?,
        };
        self.shared.log.done(self.entry, response.status().as_u16());
        Ok(response)
    }

    async fn struck(self, armed: Armed, request: Request<Stream>) -> io::Result<Response<Stream>> {
        let lost = || Err(io::ErrorKind::ConnectionReset.into());
        match armed.action().clone() {
            Action::Answer(answer) => {
                body::frames_of(request.into_body()).await?;
                Ok(answer.response())
            }
            Action::AnswerAfter(answer) => {
                self.whole(request).await?;
                Ok(answer.response())
            }
            Action::Drop => lost(),
            Action::Cut { after } => {
                self.run(request.map(|body| body::cut(body, after)), None).await.ok();
                lost()
            }
            Action::DropAnswer => {
                self.whole(request).await?;
                lost()
            }
            Action::Hang => pending().await,
            Action::HangAnswer => {
                self.whole(request).await?;
                pending().await
            }
            Action::Slow { bytes_per_s } => {
                let response = self.run(request.map(|body| body::slowed(body, bytes_per_s)), None).await?;
                Ok(response.map(|body| body::slowed(body, bytes_per_s)))
            }
            Action::Truncate { keep } => self.damaged(request, move |frames| body::slice(frames, 0, keep)).await,
            Action::FlipBit { at } => self.damaged(request, move |frames| body::flipped(frames, at)).await,
            Action::Rot { at } => {
                assert!(matches!(self.shared.behind, Behind::Memory(_)), "only a store in memory rots");
                self.run(request, Some(at)).await
            }
            Action::Hold => {
                let (head, body) = request.into_parts();
                let frames = body::frames_of(body).await?;
                let later = async move {
                    armed.released().await;
                    self.run(Request::from_parts(head, body::of_frames(frames)), None).await
                };
                joined(tokio::spawn(later)).await
            }
            Action::HoldAnswer => {
                let response = self.whole(request).await?;
                armed.released().await;
                Ok(response)
            }
        }
    }

    /// Whether or not the client waits for it.
    async fn whole(self, request: Request<Stream>) -> io::Result<Response<Stream>> {
        joined(tokio::spawn(self.run(request, None))).await
    }

    /// Other bytes go in, or, where none go in, come out.
    async fn damaged(
        self,
        request: Request<Stream>,
        change: impl FnOnce(&[Bytes]) -> Vec<Bytes>,
    ) -> io::Result<Response<Stream>> {
        if !matches!(self.call.op, Op::PutObject | Op::UploadPart) {
            return objects::replaced(self.run(request, None).await?, change).await;
        }
        let (mut head, body) = request.into_parts();
        let frames = change(&body::frames_of(body).await?);
        if let Behind::Real(forward) = &self.shared.behind {
            let with_crc = head.headers.contains_key(Algorithm::Crc64Nvme.header());
            let response = forward.put_afresh(&self.call, &frames, with_crc).await;
            self.shared.log.done(self.entry, response.status().as_u16());
            return Ok(response);
        }
        // A store that notices nothing: the request's claims are of what it got.
        head.headers.remove("content-md5");
        for algorithm in Algorithm::ALL {
            if let Some(claim) = head.headers.get_mut(algorithm.header()) {
                *claim = HeaderValue::from_str(&algorithm.of(&frames).text()).expect("base64 is plain text");
            }
        }
        self.run(Request::from_parts(head, body::of_frames(frames)), None).await
    }
}

async fn joined(task: JoinHandle<io::Result<Response<Stream>>>) -> io::Result<Response<Stream>> {
    task.await.map_err(io::Error::other)?
}
