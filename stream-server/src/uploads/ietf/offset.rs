//! `HEAD /files/{id}` and `GET`: how much is durable. Stops a request that is running, so that the offset told is accepted.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode};
use pipeline::Engine;
use schema::caller::Caller;

use super::{
    super::wire,
    answers::{Answers, sent},
    fields,
};

/// 204. Unknown and foreign are the same 404; aborted, expired and failed are 410.
pub(in crate::uploads) async fn offset(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let answers = Answers::to(&engine, &headers);
    if tells_state(&answers, &headers) {
        return Err(answers.refused(Problem::bad_request(
            "state_in_question",
            "Ask without telling: Upload-Offset and Upload-Complete belong into the answer.",
        )));
    }
    let id = wire::known_id(&id).map_err(|e| answers.gone(&e))?;
    let look = engine.settled(caller.account, id).await.map_err(|e| answers.gone(&e))?;
    sent(answers.about(StatusCode::NO_CONTENT, &look, &headers))
}

/// Does a request that asks tell what is asked?
pub(super) fn tells_state(answers: &Answers, headers: &HeaderMap) -> bool {
    fields::count(headers, &wire::OFFSET).is_some() || answers.version.completes(headers).is_some()
}
