//! `POST /files`: an upload and its track exist from here on, before the first byte. A partial upload has no track.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use front::Problem;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use pipeline::{Append, AppendError, Engine, Kind, Look, NewUpload};
use schema::caller::Caller;

use super::{
    append,
    concat::{self, Concat},
    metadata::Metadata,
    wire,
};

/// 201 with `Location`; with bytes in the body (creation-with-upload) also `Upload-Offset`.
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    wire::version(&headers)?;
    let concat = concat::wanted(&headers)?;
    let brings_bytes = is_octets(&headers);
    let said = append::said(&headers, 0)?;
    let new =
        NewUpload { length: length(&headers, concat.as_ref())?, ..described(&headers, &caller, concat.as_ref())? };
    let known = new.length;
    let look = match concat {
        Some((Concat::Final(_), _)) if brings_bytes => {
            return Err(Problem::bad_request("bad_concat", "A final upload takes no bytes: its partials have them."));
        }
        Some((Concat::Final(partials), _)) => {
            engine.create_final(new, &partials).await.map_err(|e| wire::not_joined(&e))?
        }
        _ => engine.create(new).await.map_err(|e| wire::not_created(&e))?,
    };
    let look =
        if brings_bytes && known != Some(0) { begun(&engine, &caller, look, said, request).await? } else { look };
    wire::sent(wire::about(StatusCode::CREATED, &look).header(LOCATION, location(&look)).body(Body::empty()))
}

/// The first bytes, which came with the creation.
async fn begun(
    engine: &Arc<Engine>,
    caller: &Caller,
    created: Look,
    said: Append,
    request: Request,
) -> Result<Look, Problem> {
    match append::appended(engine, caller, created.id, said, request).await {
        Ok(appended) => Ok(appended.upload),
        // Nothing of the body is kept; the upload is there, and its client may go on with it.
        Err(error @ AppendError::Check(_)) => Err(wire::not_appended(&error).header(LOCATION, location(&created))),
        Err(
            error @ (AppendError::PastLength { .. }
            | AppendError::TooLarge { .. }
            | AppendError::Quota(_)
            | AppendError::Seal(_)),
        ) => Err(wire::not_appended(&error)),
        // The client must learn the address even when its first bytes didn't all get through.
        Err(error) => {
            tracing::info!(upload.id = %created.id, %error, "created, but not all bytes taken");
            engine.look(caller.account, created.id).await.map_err(|e| wire::gone(&e))
        }
    }
}

fn location(look: &Look) -> HeaderValue {
    HeaderValue::try_from(format!("/files/{}", look.id)).expect("an id is hex digits")
}

/// What the upload is for, without its length.
fn described(headers: &HeaderMap, caller: &Caller, concat: Option<&(Concat, String)>) -> Result<NewUpload, Problem> {
    let received = match headers.get(wire::METADATA) {
        Some(value) => {
            value.to_str().map_err(|_| Problem::bad_request("bad_metadata", "Upload-Metadata must be ASCII."))?
        }
        None => "",
    };
    let metadata = Metadata::parse(received).map_err(|e| Problem::bad_request("bad_metadata", format!("{e}.")))?;
    let kind = match concat {
        None => Kind::Whole,
        Some((Concat::Partial, _)) => Kind::Partial,
        Some((Concat::Final(_), _)) => Kind::Final,
    };
    Ok(NewUpload {
        owner: caller.account,
        door: "tus",
        length: None,
        metadata: received.to_owned(),
        filename: metadata.filename,
        title: metadata.title,
        sha256: metadata.sha256,
        release: metadata.release,
        kind,
        concat: concat.map(|(_, received)| received.clone()),
        ends_at_length: true,
    })
}

/// `Upload-Length`, or that it comes later; of a final upload neither, as its partials have it.
fn length(headers: &HeaderMap, concat: Option<&(Concat, String)>) -> Result<Option<u64>, Problem> {
    let bad = |detail: &'static str| Err(Problem::bad_request("length_required", detail));
    let length = wire::count(headers, &wire::LENGTH)?;
    let later = match headers.get(wire::DEFER_LENGTH) {
        None => false,
        Some(value) if value == "1" => true,
        Some(_) => return Err(Problem::bad_request("bad_header", "Upload-Defer-Length must be 1.")),
    };
    match (concat, length, later) {
        (Some((Concat::Final(_), _)), None, false) => Ok(None),
        (Some((Concat::Final(_), _)), ..) => Err(Problem::bad_request(
            "bad_concat",
            "The length of a final upload is that of its partials: send neither Upload-Length nor Upload-Defer-Length.",
        )),
        (_, None, false) => {
            bad("Send Upload-Length: the file's size in bytes. Or Upload-Defer-Length: 1, and the size later.")
        }
        (_, Some(_), true) => bad("Send Upload-Length or Upload-Defer-Length, not both."),
        (_, length, _) => Ok(length),
    }
}

pub(super) fn is_octets(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|t| t.as_bytes() == wire::OCTETS.as_bytes())
}
