//! Errors at the edge: RFC 9457 problem details with a stable `code`.
//!
//! `request_id` is added on the way out by `observe`, which knows it. What is told is what the caller can act on:
//! causes and internals go to the log.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Map, Value, json};

/// The media type of every error.
const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that says what went wrong.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    kind: Option<&'static str>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// `code` is a stable name in snake case; `detail` one sentence for a human.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            kind: None,
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400.
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401, with the challenge that RFC 9110 asks for.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Sign in, or send a valid bearer token.")
            .header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403.
    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: for what doesn't exist and for what is somebody else's alike.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    /// 409.
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 500, for what was logged where it was seen.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something broke on our side; it has been logged.")
    }

    /// 503: something that we stand on is away; the same request may be sent again after `wait`.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .header(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    /// A member besides the standard ones. The names `type`, `title`, `status`, `detail`, `code` and `request_id` are taken.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// The problem's type, where somebody registered one; otherwise `about:blank`.
    #[must_use]
    pub fn kind(mut self, uri: &'static str) -> Self {
        self.0.kind = Some(uri);
        self
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same, unless the answer has that header already.
    #[must_use]
    pub fn header_if_absent(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.entry(name).or_insert(value);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The JSON document.
    pub(crate) fn document(&self, request_id: Option<&str>) -> Vec<u8> {
        let mut members = self.0.members.clone();
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        members.insert("type".into(), json!(self.0.kind.unwrap_or("about:blank")));
        members.insert("title".into(), json!(title));
        members.insert("status".into(), json!(self.0.status.as_u16()));
        members.insert("detail".into(), json!(self.0.detail));
        members.insert("code".into(), json!(self.0.code));
        if let Some(id) = request_id {
            members.insert("request_id".into(), json!(id));
        }
        Value::Object(members).to_string().into_bytes()
    }

    /// The problem that a bare status stands for, as an extractor or a fallback answers it.
    pub(crate) fn from_status(status: StatusCode, detail: Option<String>) -> Self {
        let (code, said) = match status.as_u16() {
            400 => ("bad_request", "The request can't be understood."),
            401 => return Self::unauthorized(),
            403 => ("forbidden", "This isn't allowed."),
            404 => return Self::not_found(),
            405 => ("method_not_allowed", "This address doesn't take this method."),
            408 => ("request_timeout", "The request took too long to arrive."),
            413 => ("content_too_large", "The content is larger than this address takes."),
            415 => ("unsupported_media_type", "This address doesn't take this type of content."),
            422 => ("unprocessable_content", "The content doesn't fit."),
            429 => ("too_many_requests", "Too many requests; wait a moment."),
            503 => ("unavailable", "Not available right now."),
            402..=499 => ("request_refused", "The request was refused."),
            _ => ("internal", "Something broke on our side; it has been logged."),
        };
        match detail.filter(|detail| status.is_client_error() && !detail.is_empty()) {
            Some(detail) => Self::new(status, code, detail),
            None => Self::new(status, code, said),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let mut response = Response::new(self.document(None).into());
        *response.status_mut() = self.0.status;
        *response.headers_mut() = std::mem::take(&mut self.0.headers);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Problem {
    /// The database is away or refused: logged here, once, and told as "try again".
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(error = %error, "the database failed");
        Self::unavailable("The database doesn't answer right now.", Duration::from_secs(1))
    }
}

/// Gives a problem its request's id. `true`: `response` was one.
pub(crate) fn sign(response: &mut Response, request_id: &str) -> bool {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return false };
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = problem.document(Some(request_id)).into();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_its_own_never_hide_the_standard_ones() {
        let problem = Problem::conflict("wrong_offset", "The upload stands elsewhere.")
            .with("expected_offset", 7)
            .with("status", "hidden?");
        let told: Value = serde_json::from_slice(&problem.document(Some("r-1"))).unwrap();
        assert_eq!(
            told,
            json!({ "type": "about:blank", "title": "Conflict", "status": 409, "code": "wrong_offset",
                    "detail": "The upload stands elsewhere.", "expected_offset": 7, "request_id": "r-1" })
        );
    }

    #[test]
    fn a_server_error_never_tells_its_cause() {
        let problem = Problem::from_status(StatusCode::INTERNAL_SERVER_ERROR, Some("secret cause".into()));
        assert!(!String::from_utf8(problem.document(None)).unwrap().contains("secret"));
    }
}
