//! What the engine's refusals are at this door. The codes are stable, and what doors have in common has one code.

use std::time::Duration;

use front::Problem;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use pipeline::{
    BodyBroken, CreateError, LookError, SealError,
    chunks::{ChunkError, CompleteError},
    store::StoreError,
};
use schema::{Id, upload::Upload};

use crate::uploads::wire::{away, ended, known_id, sentence, uncreated, unsealed};

/// What a client waits before it asks again when something that we stand on is away, or somebody is in the way.
const AGAIN: Duration = Duration::from_secs(1);

/// Reasons of rows that say something about the file: it is the file that is refused, whenever that is told.
const REFUSED: [&str; 3] = ["digest_mismatch", "infected", "too_large_to_scan"];

/// The id in the path. Anything that isn't one names nothing.
pub(super) fn id(text: &str) -> Result<Id<Upload>, Problem> {
    known_id(text).map_err(|e| gone(&e))
}

/// Why an upload wasn't created.
pub(super) fn not_created(error: &CreateError) -> Problem {
    uncreated(error)
}

/// Why an upload can't be shown or ended.
pub(super) fn gone(error: &LookError) -> Problem {
    ended(error)
}

/// Why a chunk isn't there.
pub(super) fn not_put(error: &ChunkError) -> Problem {
    match error {
        ChunkError::Look(e) => gone(e),
        ChunkError::OtherDoor => other_door(error),
        ChunkError::NoSuchChunk { count } => {
            Problem::new(StatusCode::NOT_FOUND, "no_such_chunk", sentence(error)).with("chunk_count", *count)
        }
        ChunkError::Complete => Problem::conflict("upload_complete", sentence(error)),
        ChunkError::TooLong { len } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "chunk_too_long", sentence(error)).with("chunk_bytes", *len)
        }
        ChunkError::TooShort { len, .. } => {
            Problem::bad_request("chunk_too_short", sentence(error)).with("chunk_bytes", *len)
        }
        ChunkError::Check(_) => Problem::bad_request("checksum_mismatch", sentence(error)),
        ChunkError::Differs => Problem::conflict("chunk_differs", sentence(error)),
        ChunkError::Busy => {
            Problem::conflict("chunk_busy", sentence(error)).header(RETRY_AFTER, HeaderValue::from(AGAIN.as_secs()))
        }
        // Gone, or cut for being slow: if it still listens, it should come back.
        ChunkError::Body(BodyBroken::Malformed(_)) => Problem::bad_request("malformed_body", sentence(error)),
        ChunkError::Body(BodyBroken::Early(_)) => Problem::unavailable(sentence(error), AGAIN),
        ChunkError::Stopping => Problem::unavailable("The server is stopping; send this chunk again.", AGAIN),
        ChunkError::Store(e) => store(e),
        ChunkError::Db(e) => away(e),
    }
}

/// Why an upload isn't stored.
pub(super) fn not_complete(error: &CompleteError) -> Problem {
    match error {
        CompleteError::Look(LookError::Gone { reason: Some(reason), .. }) => {
            match REFUSED.iter().find(|code| *code == reason) {
                Some(code) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, why_failed(code)),
                None => gone(&LookError::Gone { state: schema::upload::State::Failed, reason: Some(reason.clone()) }),
            }
        }
        CompleteError::Look(e) => gone(e),
        CompleteError::OtherDoor => other_door(error),
        CompleteError::Missing { chunks, count } => Problem::conflict("chunks_missing", sentence(error))
            .with("missing", chunks.clone())
            .with("missing_count", *count),
        CompleteError::NotYet | CompleteError::Seal(SealError::Fenced) => {
            Problem::unavailable("It is being stored; ask again.", AGAIN)
        }
        CompleteError::Seal(SealError::NotYet(e)) => store(e),
        CompleteError::Seal(e) => unsealed(e),
        CompleteError::Db(e) => away(e),
    }
}

/// A reason of the rows in a sentence.
pub(super) fn why_failed(code: &str) -> &'static str {
    match code {
        "digest_mismatch" => "The bytes don't have the SHA-256 that was promised.",
        "infected" => "The virus scanner found something in it.",
        "too_large_to_scan" => "It is larger than the virus scanner takes.",
        "store_lost_upload" => "The store lost what it had of this upload.",
        "part_overwritten" => "The store has other bytes than those that were acknowledged.",
        _ => "The upload failed.",
    }
}

fn other_door(error: &dyn std::error::Error) -> Problem {
    Problem::conflict("other_door", sentence(error))
}

fn store(error: &StoreError) -> Problem {
    if let StoreError::Full(_) = error {
        tracing::error!(%error, "the store is full");
        let said = "There is no space left; this wasn't kept. Try again later.";
        return Problem::new(StatusCode::INSUFFICIENT_STORAGE, "store_full", said);
    }
    tracing::error!(%error, source = ?std::error::Error::source(error), "the store failed");
    Problem::unavailable("The store doesn't answer right now.", AGAIN)
}
