//! Receive, hash, write: the least that an upload costs on this machine with this HTTP library.
//!
//! hyper with a read buffer of 1 MiB; frames go by reference to a hashing thread and into parts of 10 MiB, which are
//! written in place and synced, three at a time. Absent: rows, checks, resumption, limits, TLS.

use std::{
    convert::Infallible,
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinSet};

const READ_BUFFER_BYTES: usize = 1 << 20;
const PART_BYTES: usize = 10 << 20;
const PARTS_IN_FLIGHT: usize = 3;
/// Frames on their way to the hash: enough to ride out a slow sync, few enough to bound memory.
const FRAMES_QUEUED: usize = 256;

/// Serves until it is killed.
pub fn serve(folder: PathBuf) -> anyhow::Result<()> {
    let (folder, count) = (Arc::new(folder), Arc::new(AtomicU64::new(0)));
    listen(move |request| answer(request, Arc::clone(&folder), Arc::clone(&count)))
}

/// Says its address, and answers every request until it is killed.
pub fn listen<A, F>(answer: A) -> anyhow::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Empty<Bytes>>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("ready: http://{}/", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // A small answer must not wait for the next request.
            stream.set_nodelay(true)?;
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async { Ok::<_, Infallible>(answered.await) }
                });
                let mut http = http1::Builder::new();
                http.max_buf_size(READ_BUFFER_BYTES);
                // A connection that broke shows in the client's answer.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, folder: Arc<PathBuf>, count: Arc<AtomicU64>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    if request.method() == Method::POST {
        let id = count.fetch_add(1, Ordering::Relaxed);
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(location) = format!("/files/{id}").parse() {
            response.headers_mut().insert("location", location);
        }
        return response;
    }
    let name = request.uri().path().rsplit('/').next().unwrap_or("x").to_owned();
    *response.status_mut() = match receive(request.into_body(), folder.join(name)).await {
        Ok(_digest) => StatusCode::NO_CONTENT,
        Err(error) => {
            eprintln!("{error:#}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    response
}

async fn receive(mut body: Incoming, path: PathBuf) -> anyhow::Result<[u8; 32]> {
    let file = Arc::new(OpenOptions::new().write(true).create(true).truncate(true).open(path)?);
    let (to_hash, frames) = mpsc::sync_channel::<Bytes>(FRAMES_QUEUED);
    let hash = tokio::task::spawn_blocking(move || {
        let mut sha = Sha256::new();
        frames.iter().for_each(|frame| sha.update(&frame));
        <[u8; 32]>::from(sha.finalize())
    });
    let mut writes = JoinSet::new();
    let (mut part, mut filled, mut at) = (Vec::new(), 0, 0);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        // A full queue blocks a thread here; with one upload nothing else waits for it.
        to_hash.send(bytes.clone())?;
        filled += bytes.len();
        part.push(bytes);
        if filled >= PART_BYTES {
            write(&mut writes, &file, &mut part, at).await?;
            at += filled as u64;
            filled = 0;
        }
    }
    write(&mut writes, &file, &mut part, at).await?;
    drop(to_hash);
    while let Some(done) = writes.join_next().await {
        done??;
    }
    hash.await.context("the hash failed")
}

async fn write(
    writes: &mut JoinSet<std::io::Result<()>>,
    file: &Arc<std::fs::File>,
    part: &mut Vec<Bytes>,
    mut at: u64,
) -> anyhow::Result<()> {
    if writes.len() >= PARTS_IN_FLIGHT
        && let Some(done) = writes.join_next().await
    {
        done??;
    }
    let (file, frames) = (Arc::clone(file), std::mem::take(part));
    writes.spawn_blocking(move || {
        for frame in &frames {
            file.write_all_at(frame, at)?;
            at += frame.len() as u64;
        }
        file.sync_data()
    });
    Ok(())
}
