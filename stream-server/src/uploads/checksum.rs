//! `Upload-Checksum` (tus 1.0, extensions checksum and checksum-trailer): `algorithm base64`, in the head of a request, or
//! in the trailer that its `Trailer` header announces.
//!
//! Promise: what can't be read is refused, never ignored. Absent: the sums themselves, which the engine takes as bytes pass.

use crate::body::broken;
use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use front::Problem;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, header::TRAILER};
use http_body_util::BodyStream;
use pipeline::{
    BodyBroken,
    check::{Algorithm, Check, Sum},
};

const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");

/// As `Tus-Checksum-Algorithm` says them. SHA-1 is tus's own minimum.
pub(super) const ALGORITHMS: HeaderValue = HeaderValue::from_static("sha1,sha256,md5");

/// What the request wants its bytes checked with.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<Check>, Problem> {
    let announced = headers
        .get_all(TRAILER)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(CHECKSUM.as_str()));
    let mut said = headers.get_all(CHECKSUM).iter();
    match (said.next(), announced) {
        (None, false) => Ok(None),
        (None, true) => Ok(Some(Check::trailing())),
        (Some(value), false) if said.next().is_none() => Ok(Some(Check::known(read(value).ok_or_else(unreadable)?))),
        (Some(_), _) => {
            Err(Problem::bad_request("bad_checksum", "Say one Upload-Checksum: as a header or as a trailer."))
        }
    }
}

fn unreadable() -> Problem {
    Problem::bad_request(
        "bad_checksum",
        "Upload-Checksum must be an algorithm that Tus-Checksum-Algorithm names, a space, and the digest in base64.",
    )
}

fn read(value: &HeaderValue) -> Option<Sum> {
    let (name, digest) = value.to_str().ok()?.split_once(' ')?;
    let (algorithm, len) = match name {
        "sha1" => (Algorithm::Sha1, 20),
        "sha256" => (Algorithm::Sha256, 32),
        "md5" => (Algorithm::Md5, 16),
        _ => return None,
    };
    let value = STANDARD.decode(digest.trim()).ok()?;
    (value.len() == len).then_some(Sum { algorithm, value })
}

/// The bytes of a body; the checksum in its trailer is said to `check` on the way. A trailer that can't be read is none.
pub(super) fn frames(body: Body, check: Option<Check>) -> impl Stream<Item = Result<Bytes, BodyBroken>> + Send + Unpin {
    BodyStream::new(body).filter_map(move |frame| {
        let bytes = match frame.map_err(broken) {
            Err(broken) => Some(Err(broken)),
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => Some(Ok(bytes)),
                Err(other) => {
                    let trailers = other.into_trailers().ok();
                    let sum = trailers.as_ref().and_then(|t| t.get(CHECKSUM)).and_then(read);
                    if let (Some(check), Some(sum)) = (&check, sum) {
                        check.say(sum);
                    }
                    None
                }
            },
        };
        std::future::ready(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_is_offered_is_read_and_nothing_else() {
        let sha1 = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
        assert!(wanted(&headers(&[])).unwrap().is_none());
        assert!(wanted(&headers(&[("upload-checksum", sha1)])).unwrap().is_some());
        assert!(wanted(&headers(&[("trailer", "Expires, Upload-Checksum")])).unwrap().is_some());
        assert!(wanted(&headers(&[("trailer", "Expires")])).unwrap().is_none());
        let bad = [
            "",
            "sha1",
            "sha1 ",
            "sha1 ???",
            "sha1 AA==",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "crc32 AAAAAA==",
            "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ];
        for value in bad {
            assert!(wanted(&headers(&[("upload-checksum", value)])).is_err(), "{value}");
        }
        assert!(wanted(&headers(&[("upload-checksum", sha1), ("trailer", "upload-checksum")])).is_err());
    }
}
