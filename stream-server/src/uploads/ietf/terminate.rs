//! `DELETE /files/{id}`: the upload ends. What runs is stopped first; a stored track lives on.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use front::Problem;
use http::{HeaderMap, StatusCode, header::CACHE_CONTROL};
use pipeline::Engine;
use schema::caller::Caller;

use super::{
    super::wire,
    answers::{Answers, sent},
    offset::tells_state,
};

/// 204; afterwards 410.
pub(in crate::uploads) async fn terminate(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let answers = Answers::to(&engine, &headers);
    if answers.version.refuses_state_in_delete() && tells_state(&answers, &headers) {
        let detail = "A DELETE takes neither Upload-Offset nor Upload-Complete.";
        return Err(answers.refused(Problem::bad_request("state_in_question", detail)));
    }
    let id = wire::known_id(&id).map_err(|e| answers.gone(&e))?;
    engine.terminate(caller.account, id).await.map_err(|e| answers.gone(&e))?;
    let mut built = Response::builder().status(StatusCode::NO_CONTENT).header(CACHE_CONTROL, "no-store");
    if let Some(headers) = built.headers_mut() {
        headers.extend(answers.version.echo());
    }
    sent(built)
}
