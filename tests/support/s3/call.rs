//! What a request asks of S3, read from its method, path and query. Path style only.

use http::{Method, Request, header::CONTENT_LENGTH};
use url::form_urlencoded;

/// The operations that the rig tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    PutObject,
    GetObject,
    HeadObject,
    DeleteObject,
    DeleteObjects,
    CopyObject,
    ListObjects,
    CreateMultipart,
    UploadPart,
    UploadPartCopy,
    ListParts,
    ListMultiparts,
    Complete,
    Abort,
    HeadBucket,
    Other,
}

/// One request, without its body.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) op: Op,
    pub(super) bucket: String,
    /// Empty for what concerns the bucket.
    pub(super) key: String,
    pub(super) query: Query,
    /// As announced.
    pub(super) body_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }
}

impl Call {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = Query::of(request.uri().query().unwrap_or_default());
        let copies = request.headers().contains_key("x-amz-copy-source");
        let op = if key.is_empty() {
            of_bucket(request.method(), &query)
        } else {
            of_object(request.method(), &query, copies)
        };
        let announced = request.headers().get(CONTENT_LENGTH);
        let body_bytes = announced.and_then(|n| n.to_str().ok()).and_then(|n| n.parse().ok());
        Self { op, bucket: percent_decoded(bucket), key: percent_decoded(key), query, body_bytes }
    }

    pub(super) fn part(&self) -> Option<u64> {
        self.query.number("partNumber")
    }

    pub(super) fn upload_id(&self) -> &str {
        self.query.value("uploadId").unwrap_or_default()
    }
}

fn of_bucket(method: &Method, query: &Query) -> Op {
    match *method {
        Method::GET if query.has("uploads") => Op::ListMultiparts,
        Method::GET if query.value("list-type") == Some("2") => Op::ListObjects,
        Method::POST if query.has("delete") => Op::DeleteObjects,
        Method::HEAD => Op::HeadBucket,
        _ => Op::Other,
    }
}

fn of_object(method: &Method, query: &Query, copies: bool) -> Op {
    let in_upload = query.has("uploadId");
    match *method {
        Method::PUT if in_upload && copies => Op::UploadPartCopy,
        Method::PUT if in_upload => Op::UploadPart,
        Method::PUT if copies => Op::CopyObject,
        Method::PUT => Op::PutObject,
        Method::GET if in_upload => Op::ListParts,
        Method::GET => Op::GetObject,
        Method::HEAD => Op::HeadObject,
        Method::DELETE if in_upload => Op::Abort,
        Method::DELETE => Op::DeleteObject,
        Method::POST if query.has("uploads") => Op::CreateMultipart,
        Method::POST if in_upload => Op::Complete,
        _ => Op::Other,
    }
}

/// `%2F` and its like; a plus sign in a path is itself.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
