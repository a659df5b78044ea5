//! The bucket in memory: what it holds, and who answers which operation.
//!
//! Promise: an operation happens wholly or not at all, once its body is whole; the next request sees it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use time::{Duration, OffsetDateTime};

use super::{
    body::{self, Stream},
    call::{Call, Op},
    checksum::{self, Checksum, Claims},
    reply::{self, Refusal},
    rules,
    strict::{Keep, Options},
};

/// Parts that aren't larger are hashed and checked in any case: by them, clients find out what a store can do.
const CHECKED_BYTES: u64 = 64 << 10;

pub(super) struct Store {
    pub(super) bucket: String,
    pub(super) options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Object>,
    /// By key and id: in the order of lists.
    pub(super) uploads: BTreeMap<(String, String), Upload>,
    /// By id: the parts, and the answer.
    pub(super) completed: HashMap<String, (Vec<(u64, String)>, String)>,
    /// How long ago everything happens from now on.
    pub(super) backdated: Duration,
    counter: u64,
}

#[derive(Clone)]
pub(super) struct Object {
    pub(super) payload: Payload,
    pub(super) etag: String,
    pub(super) sum: Option<Checksum>,
    pub(super) content_type: Option<http::HeaderValue>,
    pub(super) modified: OffsetDateTime,
}

pub(super) struct Upload {
    pub(super) algorithm: Option<checksum::Algorithm>,
    pub(super) content_type: Option<http::HeaderValue>,
    pub(super) initiated: OffsetDateTime,
    pub(super) parts: BTreeMap<u64, Part>,
}

#[derive(Clone)]
pub(super) struct Part {
    pub(super) payload: Payload,
    pub(super) md5: [u8; 16],
    pub(super) sum: Option<Checksum>,
    pub(super) modified: OffsetDateTime,
    /// Sent again over a broken connection: with Garage's manners a list still tells it, and Complete doesn't find it.
    pub(super) is_hidden: bool,
}

/// Bytes, or only how many there were.
#[derive(Clone, Default)]
pub(super) struct Payload {
    pub(super) frames: Vec<Bytes>,
    pub(super) len: u64,
    pub(super) is_kept: bool,
}

/// A request that has arrived whole.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// The bit to lose once the digests are taken.
    pub(super) rot: Option<u64>,
}

pub(super) type Answered = Result<Response<Stream>, Refusal>;

impl Store {
    pub(super) fn new(bucket: &str, options: Options) -> Self {
        Self { bucket: bucket.to_owned(), options, state: Mutex::default() }
    }

    /// An error if the request's body broke.
    pub(super) async fn serve(
        &self,
        call: &Call,
        request: Request<Stream>,
        rot: Option<u64>,
    ) -> io::Result<Response<Stream>> {
        let (head, body) = request.into_parts();
        let whole = match self.options.keep {
            Keep::Lengths if call.op == Op::UploadPart && call.body_bytes > Some(CHECKED_BYTES) => counted(body).await,
            _ => body::frames_of(body).await.map(Payload::kept),
        };
        let payload = whole.inspect_err(|_| self.broken_off(call))?;
        let asked = Asked { call, headers: head.headers, payload, rot };
        Ok(self.answer(asked).unwrap_or_else(|mut refusal| {
            if refusal.code == "BadDigest" {
                refusal.code = self.options.manners.bad_digest();
            }
            if call.op == Op::HeadObject || call.op == Op::HeadBucket {
                return reply::empty(refusal.status);
            }
            refusal.response()
        }))
    }

    fn answer(&self, asked: Asked<'_>) -> Answered {
        let call = asked.call;
        if call.bucket != self.bucket {
            return Err(Refusal::new(404, "NoSuchBucket", "there is one bucket here, and this isn't it"));
        }
        if asked.headers.get("content-encoding").is_some_and(|coding| coding.as_bytes().starts_with(b"aws-chunked")) {
            return Err(Refusal::new(501, "NotImplemented", "aws-chunked bodies"));
        }
        rules::key(&call.key)?;
        match call.op {
            Op::PutObject => self.put(asked),
            Op::GetObject => self.get(asked, true),
            Op::HeadObject => self.get(asked, false),
            Op::DeleteObject => self.delete(asked),
            Op::DeleteObjects => self.delete_many(asked),
            Op::ListObjects => self.list_objects(asked),
            Op::CreateMultipart => self.create(asked),
            Op::UploadPart => self.part(asked),
            Op::UploadPartCopy => self.copy_part(asked),
            Op::ListParts => self.list_parts(asked),
            Op::ListMultiparts => self.list_uploads(asked),
            Op::Complete => self.complete(asked),
            Op::Abort => self.abort(asked),
            Op::HeadBucket => Ok(reply::empty(200)),
            Op::CopyObject | Op::Other => Err(Refusal::new(501, "NotImplemented", "not part of the subset")),
        }
    }

    /// A version of this key is the newest now. `began` is the upload that made it.
    pub(super) fn supersede(&self, state: &mut State, key: &str, began: Option<&str>) {
        if self.options.manners.forgets_older_uploads() {
            state.uploads.retain(|(other, id), _| other != key || began.is_some_and(|began| id.as_str() > began));
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it answers")
    }
}

impl State {
    pub(super) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() - self.backdated
    }

    /// Never the same twice.
    pub(super) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl Payload {
    pub(super) fn kept(frames: Vec<Bytes>) -> Self {
        Self { len: body::bytes_in(&frames), frames, is_kept: true }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.frames.concat()).into_owned()
    }

    pub(super) fn rotten(self, at: Option<u64>) -> Self {
        match at {
            Some(at) => Self::kept(body::flipped(&self.frames, at)),
            None => self,
        }
    }
}

impl Asked<'_> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the request says about its body, found to be true unless the bytes are gone.
    pub(super) fn checked_claims(&self) -> Result<Claims, Refusal> {
        let claims = Claims::of(&self.headers)?;
        if self.payload.is_kept {
            claims.check(&self.payload.frames)?;
        }
        Ok(claims)
    }
}

async fn counted(body: Stream) -> io::Result<Payload> {
    use http_body_util::BodyExt;
    let mut body = body;
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        len += frame?.into_data().map_or(0, |bytes| bytes.len() as u64);
    }
    Ok(Payload { frames: Vec::new(), len, is_kept: false })
}
