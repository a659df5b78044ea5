//! A request's head, as far as the sink looks at it.

use std::collections::HashMap;

use super::SMALL_BYTES;

/// Path and query are as they came, `%2F` and all: nobody who is measured here writes one key in two ways.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: HashMap<String, String>,
    headers: HashMap<String, String>,
    pub(super) content_length: Option<u64>,
    /// Of the payload, where it came in a signed stream's frames.
    pub(super) decoded_length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) is_aws_chunked: bool,
    pub(super) expects_continue: bool,
}

/// What came with it.
pub(super) enum Body {
    Kept(Vec<u8>),
    /// So many bytes.
    Dropped(u64),
}

impl Body {
    /// Its bytes, where looking at them costs nothing.
    pub(super) fn small(&self) -> Option<&[u8]> {
        match self {
            Self::Kept(bytes) if bytes.len() as u64 <= SMALL_BYTES => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Dropped(len) => *len,
        }
    }
}

impl Head {
    /// `None`: that isn't HTTP/1.1.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let number = |name: &str| headers.get(name).and_then(|n| n.parse().ok());
        let says = |name: &str, word: &str| headers.get(name).is_some_and(|v| v.to_ascii_lowercase().contains(word));
        Some(Self {
            method,
            path: path.to_owned(),
            query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            content_length: number("content-length"),
            decoded_length: number("x-amz-decoded-content-length"),
            is_chunked: says("transfer-encoding", "chunked"),
            is_aws_chunked: says("content-encoding", "aws-chunked") || says("x-amz-content-sha256", "streaming-"),
            expects_continue: says("expect", "100-continue"),
            headers,
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// What a client says about an object, for who reads it.
    pub(super) fn metadata(&self) -> Vec<(String, String)> {
        let kept = self.headers.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// An object, not a part of one.
    pub(super) fn is_put_whole(&self) -> bool {
        self.method == "PUT" && !self.query.contains_key("uploadId")
    }

    pub(super) fn part_no(&self) -> Option<u32> {
        self.query.get("partNumber")?.parse().ok()
    }

    /// First and last byte asked for of an object with `len` bytes.
    pub(super) fn range(&self, len: u64) -> Option<(u64, u64)> {
        let (from, to) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let from: u64 = from.parse().ok()?;
        (from < len).then(|| (from, to.parse().unwrap_or(u64::MAX).min(len - 1)))
    }
}

/// The payload out of `size;signature CRLF bytes CRLF …`, without what trails it.
pub(super) fn without_aws_chunks(mut framed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(framed.len());
    while let Some(end) = framed.windows(2).position(|two| two == b"\r\n") {
        let line = String::from_utf8_lossy(&framed[..end]);
        let size = line.split(';').next().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
        let Some(size) = size.filter(|size| *size > 0 && end + 2 + size <= framed.len()) else { break };
        bytes.extend_from_slice(&framed[end + 2..end + 2 + size]);
        framed = framed.get(end + 2 + size + 2..).unwrap_or_default();
    }
    bytes
}
