//! `POST /files`: the upload and its track exist from here on; who can hear a 104 learns their address before it sends.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use front::{Interim, Problem};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use http_body::Body as _;
use pipeline::{Engine, Kind, Look, NewUpload};
use schema::caller::Caller;

use super::{
    super::{metadata::Metadata, wire},
    answers::{Answers, inconsistent, sent},
    content::Content,
    digests, disposition,
};

/// A media type that is kept. Longer ones are no media types.
const TYPE_BYTES_MAX: usize = 255;

/// 201 with `Location`; `Upload-Complete: ?1` if the content was the whole of it.
pub(in crate::uploads) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let answers = Answers::to(&engine, &headers);
    let (mut content, new) = wanted(&answers, &caller, &headers).map_err(|problem| answers.refused(problem))?;
    let announced = content.announced;
    let created = engine.create(new).await.map_err(|e| answers.not_created(&e))?;
    let place = HeaderValue::try_from(format!("/files/{}", created.id)).map_err(|_| Problem::internal())?;
    let look = if !content.complete && request.body().is_end_stream() {
        created
    } else {
        if let Some(interim) = request.extensions().get::<Interim>().filter(|_| answers.version.knows_104()) {
            let mut told = answers.place(&created);
            told.insert(LOCATION, place.clone());
            content.first = Some((interim.clone(), told));
        }
        let appended = content.send(&answers, &engine, &caller, created.id, 0, request).await;
        appended.map_err(|error| at(&place, &created, answers.not_appended(&error, announced)))?.upload
    };
    sent(answers.about(StatusCode::CREATED, &look, &headers).header(LOCATION, place))
}

/// What the request wants, if that can be had.
fn wanted(answers: &Answers, caller: &Caller, headers: &HeaderMap) -> Result<(Content, NewUpload), Problem> {
    let complete = answers.version.completes(headers).ok_or_else(|| {
        let name = answers.version.complete_name();
        Problem::bad_request(
            "complete_required",
            format!("Send {name}: is this content the whole file, or are there more?"),
        )
    })?;
    let content = Content::said(answers, headers, 0, complete)?;
    if let (Some(length), Some(announced)) = (content.length, content.announced)
        && announced > length
    {
        return Err(inconsistent(format!("Upload-Length says {length}, but this content has {announced} bytes.")));
    }
    let said = headers.get(wire::METADATA).map(|value| value.to_str().unwrap_or("\u{0}"));
    let metadata =
        Metadata::parse(said.unwrap_or_default()).map_err(|e| Problem::bad_request("bad_metadata", format!("{e}.")))?;
    let name = disposition::filename(headers);
    let new = NewUpload {
        owner: caller.account,
        door: "ietf",
        length: content.length,
        metadata: said.map_or_else(|| described(name.as_deref(), headers), str::to_owned),
        filename: name.or(metadata.filename),
        title: metadata.title,
        sha256: digests::promised(headers, &digests::REPR)?.or(metadata.sha256),
        release: metadata.release,
        kind: Kind::Whole,
        concat: None,
        ends_at_length: false,
    };
    Ok((content, new))
}

/// Name and media type in the words of the other protocol, so that both doors show the same.
fn described(name: Option<&str>, headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).filter(|t| t.len() <= TYPE_BYTES_MAX);
    let pairs = [("filename", name), ("filetype", kind)];
    let pair = |(key, value): (&str, Option<&str>)| Some(format!("{key} {}", STANDARD.encode(value?)));
    pairs.into_iter().filter_map(pair).collect::<Vec<_>>().join(",")
}

/// A refusal after the upload exists says where it is: the client may go on.
fn at(place: &HeaderValue, created: &Look, problem: Problem) -> Problem {
    let track = created.track.and_then(|track| HeaderValue::try_from(track.to_string()).ok());
    let problem = problem.header(LOCATION, place.clone());
    track.into_iter().fold(problem, |problem, track| problem.header(wire::TRACK, track))
}
