//! `PATCH /files/{id}`: content at the offset, and with `Upload-Complete: ?1` the end.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, Request, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode, header::LOCATION};
use pipeline::Engine;
use schema::caller::Caller;

use super::{
    super::wire,
    answers::{Answers, is_complete, sent},
    content::{self, Content},
    fields,
};

/// 204 (201 in the older drafts) for more to come; for the last the answer that a creation with all of it would have had.
pub(in crate::uploads) async fn append(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let answers = Answers::to(&engine, &headers);
    let refused = |problem| answers.refused(problem);
    let id = wire::known_id(&id).map_err(|e| answers.gone(&e))?;
    let (offset, content) = said(&answers, &headers).map_err(refused)?;
    let announced = content.announced;
    let appended = content.send(&answers, &engine, &caller, id, offset, request).await;
    let look = appended.map_err(|error| answers.not_appended(&error, announced))?.upload;
    if is_complete(&look) {
        return sent(answers.about(StatusCode::CREATED, &look, &headers).header(LOCATION, format!("/files/{id}")));
    }
    sent(answers.about(answers.version.appended(), &look, &headers))
}

fn said(answers: &Answers, headers: &HeaderMap) -> Result<(u64, Content), Problem> {
    if answers.version.labels_appends() && !content::is_partial(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send Content-Type: application/partial-upload.",
        ));
    }
    let offset = fields::count(headers, &wire::OFFSET).ok_or_else(|| {
        Problem::bad_request("offset_required", "Send Upload-Offset: where this content starts, a whole number.")
    })?;
    let complete = answers.version.append_completes(headers).ok_or_else(|| {
        let name = answers.version.complete_name();
        Problem::bad_request("complete_required", format!("Send {name}: is this the last of it, ?1 or ?0?"))
    })?;
    Ok((offset, Content::said(answers, headers, offset, complete)?))
}
