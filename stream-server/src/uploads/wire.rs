//! The headers of tus 1.0, and what the engine's refusals are on the wire.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use front::Problem;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CACHE_CONTROL, response::Builder};
use pipeline::{
    AppendError, BodyBroken, CreateError, Engine, JoinError, Kind, Look, LookError, SealError, check::CheckError,
    publish::hex, quota::QuotaError, store::StoreError,
};
use schema::{
    Id,
    upload::{self, Upload},
};

use super::checksum;

pub(super) const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
pub(super) const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(super) const TRACK: HeaderName = HeaderName::from_static("millrace-track");
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue = HeaderValue::from_static(
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation,\
     concatenation-unfinished",
);

/// The media type of upload bytes.
pub(super) const OCTETS: &str = "application/offset+octet-stream";

/// What a client waits before it asks again when something that we stand on is away.
const AGAIN: Duration = Duration::from_secs(1);

/// `OPTIONS`: what this server speaks.
pub(super) async fn options(State(engine): State<Arc<Engine>>) -> Response {
    let built = answer(StatusCode::NO_CONTENT)
        .header("tus-version", VERSION)
        .header("tus-extension", EXTENSIONS)
        .header("tus-checksum-algorithm", checksum::ALGORITHMS)
        .header("tus-max-size", engine.limits().max_bytes)
        .body(axum::body::Body::empty());
    built.unwrap_or_default()
}

/// An answer of the protocol.
pub(super) fn answer(status: StatusCode) -> Builder {
    Response::builder().status(status).header(RESUMABLE, VERSION).header(CACHE_CONTROL, "no-store")
}

/// The same, with what every answer about an upload says. What is being joined has no offset yet.
pub(super) fn about(status: StatusCode, look: &Look) -> Builder {
    let mut built = answer(status).header(EXPIRES, httpdate::fmt_http_date(look.expires_at.into()));
    if look.kind != Kind::Final || look.state == upload::State::Stored {
        built = built.header(OFFSET, look.offset);
    }
    match look.track {
        Some(track) => built.header(TRACK, track.to_string()),
        None => built,
    }
}

/// Refuses a request of another protocol version (section "Protocol version"): nothing of it is processed.
pub(super) fn version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(RESUMABLE) == Some(&VERSION) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "unsupported_version",
        "Send Tus-Resumable: 1.0.0; this is the version that is spoken here.",
    )
    .header(HeaderName::from_static("tus-version"), VERSION)
    .header(RESUMABLE, VERSION))
}

/// A count of bytes in a header: digits alone.
pub(super) fn count(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|s| s.parse().ok()) {
        Some(n) => Ok(Some(n)),
        None => Err(Problem::bad_request("bad_header", format!("{name} must be a whole number of bytes, 0 or more."))),
    }
}

/// The id in the path. Anything that isn't one names nothing.
pub(super) fn id(text: &str) -> Result<Id<Upload>, Problem> {
    known_id(text).map_err(|e| gone(&e))
}

/// The same, for the other protocol.
pub(crate) fn known_id(text: &str) -> Result<Id<Upload>, LookError> {
    text.parse().map_err(|_| LookError::Missing)
}

/// A built answer; a header that couldn't be built is our mistake.
pub(super) fn sent(built: Result<Response, http::Error>) -> Result<Response, Problem> {
    built.map_err(|error| {
        tracing::error!(%error, "an answer couldn't be built");
        Problem::internal()
    })
}

fn tus(problem: Problem) -> Problem {
    problem.header(RESUMABLE, VERSION)
}

/// Why an upload wasn't created.
pub(super) fn not_created(error: &CreateError) -> Problem {
    tus(uncreated(error))
}

/// Why a final upload wasn't created.
pub(super) fn not_joined(error: &JoinError) -> Problem {
    match error {
        JoinError::Create(e) => not_created(e),
        JoinError::Partial { partial, .. } => {
            tus(Problem::bad_request("bad_partial", sentence(error)).with("partial", partial.to_string()))
        }
    }
}

/// Why an account gets no more: for every door alike.
pub(super) fn quota(error: &QuotaError) -> Problem {
    let (code, max, wait) = match error {
        QuotaError::TooMany { max, wait } => ("too_many_uploads", *max, wait),
        QuotaError::TooFast { max, wait } => ("too_fast", *max, wait),
        QuotaError::Full { max, left } => {
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "quota_exceeded", sentence(error))
                .with("max_bytes", *max)
                .with("left_bytes", *left);
        }
        QuotaError::Db(e) => return away(e),
    };
    Problem::new(StatusCode::TOO_MANY_REQUESTS, code, sentence(error))
        .with("max", max)
        .header(http::header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))
}

/// Why an upload can't be shown or ended.
pub(super) fn gone(error: &LookError) -> Problem {
    tus(ended(error))
}

/// Why bytes weren't appended.
pub(super) fn not_appended(error: &AppendError) -> Problem {
    tus(refused(error))
}

/// Why an upload wasn't created, in any protocol.
pub(crate) fn uncreated(error: &CreateError) -> Problem {
    match error {
        CreateError::TooLarge { max, .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", sentence(error)).with("max_bytes", *max)
        }
        CreateError::Quota(e) => quota(e),
        CreateError::Db(e) => away(e),
    }
}

/// Why an upload can't be shown or ended, in any protocol.
pub(crate) fn ended(error: &LookError) -> Problem {
    match error {
        LookError::Missing => Problem::not_found(),
        LookError::Gone { reason, .. } => {
            Problem::new(StatusCode::GONE, "upload_gone", sentence(error)).with("reason", reason.clone())
        }
        LookError::Sealing => Problem::conflict("upload_sealing", sentence(error)),
        LookError::Busy => Problem::unavailable(sentence(error), AGAIN),
        LookError::Db(e) => away(e),
    }
}

/// Why bytes weren't appended, in any protocol that has nothing of its own to say about it.
pub(super) fn refused(error: &AppendError) -> Problem {
    match error {
        AppendError::Look(e) => ended(e),
        AppendError::WrongOffset { expected, sent } => Problem::conflict("wrong_offset", sentence(error))
            .with("expected_offset", *expected)
            .with("provided_offset", *sent)
            .header(OFFSET, HeaderValue::from(*expected)),
        AppendError::PastLength { length, offset } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "past_upload_length", sentence(error))
                .with("length", *length)
                .header(OFFSET, HeaderValue::from(*offset))
        }
        AppendError::TooLarge { max } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", sentence(error)).with("max_bytes", *max)
        }
        AppendError::Quota(e) => quota(e),
        AppendError::BadLength { length, offset, .. } => Problem::bad_request("bad_length", sentence(error))
            .with("length", *length)
            .header(OFFSET, HeaderValue::from(*offset)),
        AppendError::Completed(_) => Problem::conflict("upload_complete", sentence(error)),
        AppendError::Final => Problem::new(StatusCode::FORBIDDEN, "final_upload", sentence(error)),
        AppendError::Check(CheckError::Missing) => Problem::bad_request("checksum_missing", sentence(error)),
        AppendError::Check(CheckError::Mismatch) => {
            Problem::new(checksum_mismatch(), "checksum_mismatch", sentence(error))
        }
        AppendError::Busy | AppendError::Fenced => Problem::new(StatusCode::LOCKED, "upload_busy", sentence(error))
            .header(http::header::RETRY_AFTER, HeaderValue::from(AGAIN.as_secs())),
        // Gone, or cut for being slow: if it still listens, it should come back. Clients retry a 5xx, and give up on a 4xx.
        AppendError::Body(BodyBroken::Malformed(_)) => Problem::bad_request("malformed_body", sentence(error)),
        AppendError::Body(BodyBroken::Early(_)) => Problem::unavailable(sentence(error), AGAIN),
        AppendError::Stopping => {
            Problem::unavailable("The server is stopping; go on from the offset that HEAD tells.", AGAIN)
        }
        AppendError::Store(e) => store(e),
        AppendError::Seal(e) => unsealed(e),
        AppendError::Db(e) => away(e),
    }
}

/// Why an upload that is all there isn't an object, in any protocol.
pub(crate) fn unsealed(error: &SealError) -> Problem {
    match error {
        SealError::NotYet(e) => store(e),
        SealError::Quota(e) => quota(e),
        SealError::DigestMismatch { found, wanted } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "digest_mismatch", sentence(error))
                .with("found", found.clone())
                .with("wanted", wanted.clone())
        }
        SealError::Infected { found } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "infected", sentence(error)).with("found", found.clone())
        }
        SealError::TooLargeToScan => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large_to_scan", sentence(error))
        }
        SealError::Unscanned(e) => {
            tracing::error!(error = %e, "not published: the virus scanner doesn't answer");
            Problem::unavailable("Every byte is here, and is published once the virus scanner has seen it.", AGAIN)
        }
        SealError::Lost => Problem::new(StatusCode::GONE, "store_lost_upload", sentence(error)),
        SealError::Fenced => Problem::new(StatusCode::LOCKED, "upload_busy", sentence(error))
            .header(http::header::RETRY_AFTER, HeaderValue::from(AGAIN.as_secs())),
        SealError::Db(e) => away(e),
    }
}

/// 460, which is tus's own.
fn checksum_mismatch() -> StatusCode {
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

fn store(error: &StoreError) -> Problem {
    match error {
        StoreError::Full(_) => {
            tracing::error!(%error, "the store is full");
            Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "store_full",
                "There is no space left; nothing of this request was acknowledged. Try again later from the offset that HEAD tells.",
            )
        }
        other => {
            tracing::error!(error = %other, source = ?std::error::Error::source(other), "the store failed");
            Problem::unavailable("The store doesn't answer right now; go on from the offset that HEAD tells.", AGAIN)
        }
    }
}

pub(crate) fn away(error: &sqlx::Error) -> Problem {
    tracing::error!(%error, "the database failed");
    Problem::unavailable("The database doesn't answer right now.", AGAIN)
}

/// An error's text as a sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// The digest of a stored upload, as `Repr-Digest` (RFC 9530) says it.
pub(super) fn repr_digest(look: &Look) -> Option<String> {
    use base64::Engine as _;
    let sha = look.sha256.as_deref()?;
    tracing::trace!(sha256 = hex(sha));
    Some(format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(sha)))
}
