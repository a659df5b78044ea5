//! What the sink remembers, and what it therefore answers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum, checksum_combine};

use super::{
    SMALL_BYTES,
    answer::Answer,
    head::{Body, Head},
};

const CRC64: &str = "x-amz-checksum-crc64nvme";
/// Where the bench asks what was counted. No bucket is called so.
pub(super) const COUNTS: &str = "/-counts";

/// Bytes of objects in all; then the oldest become lengths. A turn's unfinished uploads have a quarter of it.
const KEPT_BYTES_MAX: u64 = 1 << 30;

#[derive(Default)]
pub(super) struct Objects(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, BTreeMap<u32, Part>>,
    /// Keys of objects with bytes, oldest first, and how many those have.
    kept: VecDeque<(String, u64)>,
    kept_bytes: u64,
    named: u64,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
}

struct Object {
    etag: String,
    len: u64,
    /// Where it is small.
    bytes: Option<Vec<u8>>,
    metadata: Vec<(String, String)>,
}

struct Part {
    etag: String,
    len: u64,
    crc64: Option<u64>,
}

impl Objects {
    pub(super) fn answer(&self, head: &Head, body: Body) -> Answer {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if head.path == COUNTS {
            return Answer::xml(format!("{} {} {}", state.requests, state.bytes_in, state.bytes_out));
        }
        state.requests += 1;
        state.bytes_in += body.len();
        let answer = state.answer(head, body);
        state.bytes_out += if head.method == "GET" { answer.zeros + answer.body.len() as u64 } else { 0 };
        answer
    }
}

impl State {
    fn answer(&mut self, head: &Head, body: Body) -> Answer {
        let key = head.path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        let upload = head.query.get("uploadId");
        match (head.method.as_str(), upload) {
            ("HEAD", _) if key.is_empty() => Answer::new("200 OK"),
            ("GET", _) if key.is_empty() => self.list(head),
            ("POST", _) if head.query.contains_key("delete") => self.delete_all(&body),
            ("POST", None) if head.query.contains_key("uploads") => self.begin(key),
            ("POST", Some(id)) => self.complete(head, key, id, &body),
            ("PUT", Some(id)) => self.part(head, id, &body),
            ("GET", Some(id)) => self.parts(key, id),
            ("DELETE", Some(id)) => {
                self.uploads.remove(id);
                Answer::new("204 No Content")
            }
            ("PUT", None) => self.put(head, key, body),
            ("GET" | "HEAD", None) => self.get(head, key),
            ("DELETE", None) => {
                self.objects.remove(key);
                Answer::new("204 No Content")
            }
            _ => Answer::error("501 Not Implemented", "NotImplemented"),
        }
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("\"{:032x}\"", self.named)
    }

    fn is_taken(&self, head: &Head, key: &str) -> bool {
        head.header("if-none-match") == Some("*") && self.objects.contains_key(key)
    }

    fn put(&mut self, head: &Head, key: &str, body: Body) -> Answer {
        if self.is_taken(head, key) {
            return Answer::error("412 Precondition Failed", "PreconditionFailed");
        }
        let Ok(crc64) = crc64_of(head, &body) else { return Answer::error("400 Bad Request", "BadDigest") };
        let (etag, len) = (self.name(), body.len());
        let bytes = match body {
            Body::Kept(bytes) => Some(bytes),
            Body::Dropped(_) => None,
        };
        let (metadata, is_kept) = (head.metadata(), bytes.is_some());
        self.objects.insert(key.to_owned(), Object { etag: etag.clone(), len, bytes, metadata });
        if is_kept {
            self.keep_some(key, len);
        }
        stored(&etag, crc64)
    }

    fn keep_some(&mut self, key: &str, len: u64) {
        self.kept.push_back((key.to_owned(), len));
        self.kept_bytes += len;
        while self.kept_bytes > KEPT_BYTES_MAX
            && let Some((oldest, len)) = self.kept.pop_front()
        {
            self.kept_bytes -= len;
            if let Some(object) = self.objects.get_mut(&oldest).filter(|object| object.len > SMALL_BYTES) {
                object.bytes = None;
            }
        }
    }

    fn get(&self, head: &Head, key: &str) -> Answer {
        let Some(object) = self.objects.get(key) else { return Answer::missing("NoSuchKey") };
        let range = head.range(object.len);
        if head.header("range").is_some() && range.is_none() {
            return Answer::error("416 Range Not Satisfiable", "InvalidRange");
        }
        let (from, to) = range.map_or((0, object.len), |(first, last)| (first, last + 1));
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let mut answer = Answer::object(status, &object.etag);
        for (name, value) in &object.metadata {
            answer = answer.with(name, value.clone());
        }
        if range.is_some() {
            answer = answer.with("content-range", format!("bytes {from}-{}/{}", to - 1, object.len));
        }
        if head.method == "HEAD" {
            return answer.announcing(to - from);
        }
        match &object.bytes {
            // Kept ones have some MiB.
            Some(bytes) => answer.body = bytes[from as usize..to as usize].to_vec(),
            None => answer.zeros = to - from,
        }
        answer
    }

    fn begin(&mut self, key: &str) -> Answer {
        let id = self.name().trim_matches('"').to_owned();
        self.uploads.insert(id.clone(), BTreeMap::new());
        let result = "InitiateMultipartUploadResult";
        Answer::xml(format!("<{result}><Bucket>b</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></{result}>"))
    }

    fn part(&mut self, head: &Head, id: &str, body: &Body) -> Answer {
        let Ok(crc64) = crc64_of(head, body) else { return Answer::error("400 Bad Request", "BadDigest") };
        let etag = self.name();
        let (Some(parts), Some(part_no)) = (self.uploads.get_mut(id), head.part_no()) else {
            return Answer::missing("NoSuchUpload");
        };
        parts.insert(part_no, Part { etag: etag.clone(), len: body.len(), crc64 });
        stored(&etag, crc64)
    }

    fn parts(&self, key: &str, id: &str) -> Answer {
        let Some(parts) = self.uploads.get(id) else { return Answer::missing("NoSuchUpload") };
        let mut text = format!("<ListPartsResult><Bucket>b</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
        for (part_no, Part { etag, len, .. }) in parts {
            let _ =
                write!(text, "<Part><PartNumber>{part_no}</PartNumber><ETag>{etag}</ETag><Size>{len}</Size></Part>");
        }
        Answer::xml(text + "<IsTruncated>false</IsTruncated></ListPartsResult>")
    }

    fn complete(&mut self, head: &Head, key: &str, id: &str, _: &Body) -> Answer {
        let Some(parts) = self.uploads.get(id) else { return Answer::missing("NoSuchUpload") };
        if self.is_taken(head, key) {
            return Answer::error("412 Precondition Failed", "PreconditionFailed");
        }
        let whole = parts.values().try_fold(checksum(Crc64Nvme, &[]), |crc, part| {
            part.crc64.map(|next| checksum_combine(Crc64Nvme, crc, next, part.len))
        });
        if let (Some(said), Some(found)) = (said(head), whole)
            && said != found
        {
            return Answer::error("400 Bad Request", "BadDigest");
        }
        let (len, etag) = (parts.values().map(|part| part.len).sum(), self.name());
        self.uploads.remove(id);
        self.objects.insert(key.to_owned(), Object { etag: etag.clone(), len, bytes: None, metadata: Vec::new() });
        let result = "CompleteMultipartUploadResult";
        Answer::xml(format!("<{result}><Bucket>b</Bucket><Key>{key}</Key><ETag>{etag}</ETag></{result}>"))
    }

    fn delete_all(&mut self, body: &Body) -> Answer {
        let Body::Kept(bytes) = body else { return Answer::error("400 Bad Request", "MalformedXML") };
        let text = String::from_utf8_lossy(bytes);
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            self.objects.remove(key);
        }
        Answer::xml("<DeleteResult></DeleteResult>".to_owned())
    }

    /// Of objects; of uploads there is nothing that anybody here looks for.
    fn list(&self, head: &Head) -> Answer {
        if head.query.contains_key("uploads") {
            return Answer::xml("<ListMultipartUploadsResult></ListMultipartUploadsResult>".to_owned());
        }
        let prefix = head.query.get("prefix").map_or(String::new(), |prefix| prefix.replace("%2F", "/"));
        let mut text = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (key, Object { etag, len, .. }) in self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let _ = write!(text, "<Contents><Key>{key}</Key><ETag>{etag}</ETag><Size>{len}</Size></Contents>");
        }
        Answer::xml(text + "</ListBucketResult>")
    }
}

/// As the request says it.
fn said(head: &Head) -> Option<u64> {
    let bytes = STANDARD.decode(head.header(CRC64)?).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The CRC-64 of a body: looked at where it is small, believed where it isn't. An error where the request lies.
fn crc64_of(head: &Head, body: &Body) -> Result<Option<u64>, ()> {
    let said = said(head);
    let Some(bytes) = body.small() else { return Ok(said) };
    let found = checksum(Crc64Nvme, bytes);
    if said.is_some_and(|said| said != found) { Err(()) } else { Ok(Some(found)) }
}

fn stored(etag: &str, crc64: Option<u64>) -> Answer {
    let answer = Answer::object("200 OK", etag);
    match crc64 {
        Some(crc) => answer.with(CRC64, STANDARD.encode(crc.to_be_bytes())),
        None => answer,
    }
}
