//! A proxy before a real store: requests stream through as they were signed, and rules strike some of them.
//!
//! With `aws_rules` it also refuses what AWS would and the store behind it wouldn't: part numbers, part sizes, gaps,
//! and a Complete or PutObject with `If-None-Match: *` of a key that is there (seen just before, not at once).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    ops::Deref,
    sync::{Mutex, MutexGuard},
};

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use bytes::Bytes;
use http::{HeaderName, Request, Response, header::ETAG};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    body::{self, Stream},
    call::{Call, Op},
    checksum::Algorithm,
    gate::{Behind, Gate},
    multipart, objects,
    reply::{self, Refusal},
    rules,
    site::{Settings, Site},
};

/// A running proxy; it ends with this.
pub struct Toxic {
    gate: Gate,
    site: Site,
}

impl Toxic {
    /// Changes nothing by itself.
    pub fn before(site: &Site) -> Self {
        Self::open(site, false)
    }

    /// Refuses what AWS would refuse.
    pub fn aws_rules(site: &Site) -> Self {
        Self::open(site, true)
    }

    fn open(site: &Site, aws_rules: bool) -> Self {
        let address = site.endpoint.trim_start_matches("http://").parse().expect("a store on loopback, by address");
        let forward = Forward { address, site: site.clone(), aws_rules, lengths: Mutex::default() };
        let gate = Gate::open(Behind::Real(Box::new(forward)));
        let site = site.through(&gate.endpoint());
        Self { gate, site }
    }

    /// The bucket, by way of the proxy.
    pub fn site(&self) -> Site {
        self.site.clone()
    }

    pub fn settings(&self) -> Settings {
        self.site.settings()
    }
}

impl Deref for Toxic {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

/// The way to the real store.
pub(super) struct Forward {
    address: SocketAddr,
    site: Site,
    aws_rules: bool,
    /// Of the parts that were stored, by upload and number.
    lengths: Mutex<HashMap<(String, u64), u64>>,
}

impl Forward {
    pub(super) async fn serve(&self, call: &Call, request: Request<Stream>) -> io::Result<Response<Stream>> {
        let request = match self.aws_rules {
            true => match self.refused(call, request).await? {
                Ok(request) => request,
                Err(refusal) => return Ok(refusal.response()),
            },
            false => request,
        };
        let response = self.send(request).await?;
        if let (Op::UploadPart, Some(number), Some(bytes), true) =
            (call.op, call.part(), call.body_bytes, response.status().is_success())
        {
            self.lengths().insert((call.upload_id().to_owned(), number), bytes);
        }
        Ok(response)
    }

    /// Through a connection of its own, so that what breaks here breaks there.
    async fn send(&self, request: Request<Stream>) -> io::Result<Response<Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }

    /// Puts other bytes than the client signed, by a request of our own, with their own checksum where the client sent
    /// one. The answer tells their digests.
    pub(super) async fn put_afresh(&self, call: &Call, frames: &[Bytes], with_crc: bool) -> Response<Stream> {
        let sum = with_crc.then(|| Algorithm::Crc64Nvme.of(frames).text());
        let client = self.site.client();
        let body = ByteStream::from(frames.concat());
        let told = match call.op {
            Op::UploadPart => {
                let number = call.part().and_then(|number| i32::try_from(number).ok()).unwrap_or_default();
                let put = client.upload_part().bucket(&call.bucket).key(&call.key).upload_id(call.upload_id());
                let sent = put.part_number(number).set_checksum_crc64_nvme(sum).body(body).send().await;
                sent.map(|done| (done.e_tag, done.checksum_crc64_nvme)).map_err(refusal_of)
            }
            _ => {
                let put = client.put_object().bucket(&call.bucket).key(&call.key).body(body);
                let sent = put.set_checksum_crc64_nvme(sum).send().await;
                sent.map(|done| (done.e_tag, done.checksum_crc64_nvme)).map_err(refusal_of)
            }
        };
        let (etag, sum) = match told {
            Ok(told) => told,
            Err(refusal) => return refusal.response(),
        };
        let mut response = reply::empty(200);
        let headers = response.headers_mut();
        if let Some(etag) = etag {
            objects::set(headers, ETAG, &etag);
        }
        if let Some(sum) = sum {
            objects::set(headers, HeaderName::from_static("x-amz-checksum-crc64nvme"), &sum);
        }
        response
    }

    /// The request again, unless AWS would refuse it.
    async fn refused(&self, call: &Call, request: Request<Stream>) -> io::Result<Result<Request<Stream>, Refusal>> {
        let is_conditional = request.headers().get("if-none-match").is_some_and(|value| value == "*");
        if is_conditional && matches!(call.op, Op::PutObject | Op::Complete) && self.is_there(call).await {
            body::frames_of(request.into_body()).await?;
            return Ok(Err(Refusal::precondition()));
        }
        match call.op {
            Op::UploadPart => Ok(rules::number(call.part()).and(rules::length(call.body_bytes)).map(|_| request)),
            Op::Complete => {
                let (head, body) = request.into_parts();
                let frames = body::frames_of(body).await?;
                let verdict = self.judge(call, &String::from_utf8_lossy(&frames.concat()));
                Ok(verdict.map(|()| Request::from_parts(head, body::of_frames(frames))))
            }
            _ => Ok(Ok(request)),
        }
    }

    fn judge(&self, call: &Call, text: &str) -> Result<(), Refusal> {
        let listed = multipart::listed_parts(text)?;
        let numbers: Vec<u64> = listed.iter().map(|part| part.number).collect();
        rules::order(&numbers, true)?;
        let lengths = self.lengths();
        let length = |number: &u64| lengths.get(&(call.upload_id().to_owned(), *number)).copied();
        // One that didn't pass here is the real store's to judge.
        let known: Option<Vec<u64>> = numbers.iter().map(length).collect();
        known.map_or(Ok(()), |known| rules::sizes(&known))
    }

    async fn is_there(&self, call: &Call) -> bool {
        self.site.client().head_object().bucket(&call.bucket).key(&call.key).send().await.is_ok()
    }

    fn lengths(&self) -> MutexGuard<'_, HashMap<(String, u64), u64>> {
        self.lengths.lock().expect("nothing panics while it writes here")
    }
}

/// What the store said to a request of our own.
fn refusal_of<E: ProvideErrorMetadata>(error: SdkError<E>) -> Refusal {
    let status = error.raw_response().map_or(502, |response| response.status().as_u16());
    Refusal::new(status, "BadGateway", format!("the store said {}", error.code().unwrap_or("nothing")))
}
