//! What every answer of this door carries, and what the engine's refusals are in it.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use front::Problem;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CACHE_CONTROL, response::Builder};
use pipeline::{AppendError, CreateError, Engine, Look, LookError, SealError, check::CheckError};
use schema::upload;
use time::OffsetDateTime;

use super::{
    super::wire::{self, LENGTH, OFFSET, TRACK},
    digests,
    fields::LIMIT,
    version::Version,
};

const MISMATCHING_OFFSET: &str = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
const INCONSISTENT_LENGTH: &str = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";
const COMPLETED: &str = "https://iana.org/assignments/http-problem-types#completed-upload";

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// `OPTIONS`, for both protocols: what this server speaks and takes.
pub(in crate::uploads) async fn options(State(engine): State<Arc<Engine>>, headers: HeaderMap) -> Response {
    let answers = Answers::to(&engine, &headers);
    let mut response = wire::options(State(engine)).await;
    let told = response.headers_mut();
    told.insert(ACCEPT_PATCH, HeaderValue::from_static("application/partial-upload, application/offset+octet-stream"));
    told.extend(answers.limit(None));
    told.extend(answers.version.echo());
    response
}

/// The answers to one request: in its version's words, with this server's limits.
#[derive(Clone, Copy)]
pub(super) struct Answers {
    pub(super) version: Version,
    pub(super) max_bytes: u64,
    expiry: Duration,
}

impl Answers {
    pub(super) fn to(engine: &Engine, headers: &HeaderMap) -> Self {
        let limits = engine.limits();
        Self { version: Version::of(headers), max_bytes: limits.max_bytes, expiry: limits.expiry }
    }

    /// An answer about an upload. `asked` may say which digest it doesn't want.
    pub(super) fn about(&self, status: StatusCode, look: &Look, asked: &HeaderMap) -> Builder {
        let mut built =
            Response::builder().status(status).header(CACHE_CONTROL, "no-store").header(OFFSET, look.offset);
        if let Some(length) = look.length {
            built = built.header(LENGTH, length);
        }
        if let Some(headers) = built.headers_mut() {
            headers.extend([self.version.complete_field(is_complete(look))]);
            headers.extend(self.place(look));
            let digest = look.sha256.as_deref().and_then(|sha256| digests::told(asked, sha256));
            headers.extend(digest.map(|digest| (digests::REPR, digest)));
        }
        built
    }

    /// What a 104 may say of an upload as well: its limits and its track, in a version that the client knows.
    pub(super) fn place(&self, look: &Look) -> HeaderMap {
        let track = look.track.and_then(|track| HeaderValue::try_from(track.to_string()).ok());
        let told = [self.limit(Some(look.expires_at)), self.version.echo(), track.map(|track| (TRACK, track))];
        told.into_iter().flatten().collect()
    }

    /// `Upload-Limit`: the same for every upload, but for how long one has left.
    fn limit(&self, expires_at: Option<OffsetDateTime>) -> Option<(HeaderName, HeaderValue)> {
        let left =
            expires_at.map_or(self.expiry, |end| (end - OffsetDateTime::now_utc()).try_into().unwrap_or_default());
        // Rounded to the nearest: a whole day that began this moment is told as one.
        let left = (left + Duration::from_millis(500)).as_secs();
        let text = format!("max-size={}, {}={left}", self.max_bytes, self.version.lifetime_key());
        HeaderValue::try_from(text).ok().map(|value| (LIMIT, value))
    }

    /// A refusal, as this protocol has it: `Upload-Complete` is false unless the refusal itself says that nothing can be added.
    pub(super) fn refused(&self, mut problem: Problem) -> Problem {
        let (name, open) = self.version.complete_field(false);
        problem = problem.header_if_absent(name, open);
        if let Some((name, value)) = self.version.echo() {
            problem = problem.header(name, value);
        }
        match HeaderValue::try_from(format!("max-size={}", self.max_bytes)) {
            Ok(limit) => problem.header(LIMIT, limit),
            Err(_) => problem,
        }
    }

    /// 413, before a byte is read.
    pub(super) fn too_large(&self) -> Problem {
        wire::refused(&AppendError::TooLarge { max: self.max_bytes })
    }

    pub(super) fn not_created(&self, error: &CreateError) -> Problem {
        self.refused(wire::uncreated(error))
    }

    pub(super) fn gone(&self, error: &LookError) -> Problem {
        self.refused(wire::ended(error))
    }

    /// `announced`: the bytes that the request said it has.
    pub(super) fn not_appended(&self, error: &AppendError, announced: Option<u64>) -> Problem {
        let (complete, yes) = self.version.complete_field(true);
        self.refused(match error {
            AppendError::WrongOffset { expected, sent } => Problem::conflict("wrong_offset", wire::sentence(error))
                .kind(MISMATCHING_OFFSET)
                .with("expected-offset", *expected)
                .with("provided-offset", *sent)
                .header(OFFSET, HeaderValue::from(*expected)),
            AppendError::PastLength { offset, .. } | AppendError::BadLength { offset, .. } => {
                inconsistent(wire::sentence(error)).header(OFFSET, HeaderValue::from(*offset))
            }
            AppendError::Completed(look) if announced.unwrap_or(0) > 0 => {
                inconsistent("The upload is complete; nothing can be added.".into())
                    .header(OFFSET, HeaderValue::from(look.offset))
            }
            AppendError::Completed(look) => Problem::bad_request("completed_upload", wire::sentence(error))
                .kind(COMPLETED)
                .header(OFFSET, HeaderValue::from(look.offset)),
            AppendError::Check(CheckError::Mismatch) => Problem::bad_request(
                "content_digest_mismatch",
                "The content isn't what Content-Digest says; nothing of it was kept.",
            ),
            AppendError::Seal(error @ (SealError::Fenced | SealError::Lost)) => wire::unsealed(error),
            // Every byte is there: what went wrong is what was made of them, and no byte more would help.
            AppendError::Seal(error) => wire::unsealed(error).header(complete, yes),
            other => wire::refused(other),
        })
    }
}

/// The client said that this is all, and all is there.
pub(super) fn is_complete(look: &Look) -> bool {
    matches!(look.state, upload::State::Sealing | upload::State::Stored)
}

/// 400: lengths that can't all be true.
pub(super) fn inconsistent(detail: String) -> Problem {
    Problem::bad_request("inconsistent_upload_length", detail).kind(INCONSISTENT_LENGTH)
}

/// Built, or our mistake.
pub(super) fn sent(built: Builder) -> Result<Response, Problem> {
    wire::sent(built.body(Body::empty()))
}
