//! Receive, hash, send: the least that an upload into S3 costs on this machine with this HTTP library.
//!
//! hyper with a read buffer of 1 MiB; frames go by reference to a hashing thread and into parts, which are sent as they
//! are over pooled connections, four at a time. A request is answered when the store has all of it.
//! Absent: rows, checksums, signatures, retries, resumption, limits, TLS.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};

use super::{BUCKET, PART_BYTES};
use crate::probe;

const PARTS_IN_FLIGHT: usize = 4;
/// Frames on their way to the hash: enough to ride out a slow part, few enough to bound memory.
const FRAMES_QUEUED: usize = 256;

type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// Serves until it is killed.
pub fn serve(store: String) -> anyhow::Result<()> {
    let server = Arc::new(Server { store, ..Server::default() });
    probe::listen(move |request| {
        let server = Arc::clone(&server);
        async move { server.answer(request).await }
    })
}

#[derive(Default)]
struct Server {
    /// `host:port`.
    store: String,
    idle: Mutex<Vec<SendRequest<Frames>>>,
    uploads: Mutex<HashMap<String, Upload>>,
    count: AtomicU64,
}

/// What is known of one.
#[derive(Clone)]
struct Upload {
    multipart_id: String,
    parts: u64,
    at: u64,
    length: u64,
}

impl Server {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let mut response = Response::new(Empty::new());
        let done = match *request.method() {
            Method::POST => self.create(&request).await.map(|path| {
                response.headers_mut().extend(path.parse().map(|path| (http::header::LOCATION, path)));
                StatusCode::CREATED
            }),
            _ => self.append(request).await.map(|()| StatusCode::NO_CONTENT),
        };
        *response.status_mut() = done.unwrap_or_else(|error| {
            eprintln!("{error:#}");
            StatusCode::INTERNAL_SERVER_ERROR
        });
        response
    }

    async fn create(&self, request: &Request<Incoming>) -> anyhow::Result<String> {
        let length = request.headers().get("upload-length").context("no Upload-Length")?.to_str()?.parse()?;
        let path = format!("/files/{}", self.count.fetch_add(1, Ordering::Relaxed));
        let begun = self.call(Method::POST, &format!("{path}?uploads"), Vec::new()).await?;
        let begun = String::from_utf8(begun.to_vec())?;
        let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).context("no upload id")?;
        self.keep(&path, Upload { multipart_id: id.to_owned(), parts: 0, at: 0, length });
        Ok(path)
    }

    async fn append(self: &Arc<Self>, request: Request<Incoming>) -> anyhow::Result<()> {
        let path = request.uri().path().to_owned();
        let mut upload = self.lock().get(&path).context("no such upload")?.clone();
        let (to_hash, mut frames) = mpsc::channel::<Bytes>(FRAMES_QUEUED);
        let hash = tokio::task::spawn_blocking(move || {
            let mut sha = Sha256::new();
            while let Some(frame) = frames.blocking_recv() {
                sha.update(&frame);
            }
            <[u8; 32]>::from(sha.finalize())
        });
        let mut body = request.into_body();
        let (mut sent, mut part, mut filled) = (JoinSet::new(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame?.into_data() else { continue };
            to_hash.send(bytes.clone()).await?;
            (filled, upload.at) = (filled + bytes.len(), upload.at + bytes.len() as u64);
            part.push(bytes);
            if filled >= PART_BYTES {
                self.send(&mut sent, &path, &mut upload, std::mem::take(&mut part)).await?;
                filled = 0;
            }
        }
        if filled > 0 {
            self.send(&mut sent, &path, &mut upload, part).await?;
        }
        drop(to_hash);
        while let Some(part) = sent.join_next().await {
            part??;
        }
        let _digest = hash.await.context("the hash failed")?;
        if upload.at == upload.length {
            self.call(Method::POST, &format!("{path}?uploadId={}", upload.multipart_id), Vec::new()).await?;
        }
        self.keep(&path, upload);
        Ok(())
    }

    async fn send(
        self: &Arc<Self>,
        sent: &mut JoinSet<anyhow::Result<Bytes>>,
        path: &str,
        upload: &mut Upload,
        part: Vec<Bytes>,
    ) -> anyhow::Result<()> {
        if sent.len() >= PARTS_IN_FLIGHT
            && let Some(done) = sent.join_next().await
        {
            done??;
        }
        upload.parts += 1;
        let target = format!("{path}?partNumber={}&uploadId={}", upload.parts, upload.multipart_id);
        let server = Arc::clone(self);
        sent.spawn(async move { server.call(Method::PUT, &target, part).await });
        Ok(())
    }

    /// One request over a connection that is idle, or a new one.
    async fn call(&self, method: Method, path: &str, frames: Vec<Bytes>) -> anyhow::Result<Bytes> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let length: usize = frames.iter().map(Bytes::len).sum();
        let frames: Vec<_> = frames.into_iter().map(|frame| Ok(Frame::data(frame))).collect();
        let request = Request::builder().method(method).uri(format!("/{BUCKET}{path}")).header("host", &self.store);
        let request = request.header("content-length", length).body(StreamBody::new(stream::iter(frames)))?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "the store said {status}");
        connection.ready().await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(body)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Frames>> {
        let stream = TcpStream::connect(&self.store).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        // How it broke shows in the request that was on it.
        tokio::spawn(async move { drop(driver.await) });
        Ok(connection)
    }

    fn keep(&self, path: &str, upload: Upload) {
        self.lock().insert(path.to_owned(), upload);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
