//! Answers in S3's form.

use http::{Response, StatusCode, header::CONTENT_TYPE};

use super::{
    body::{self, Stream},
    faults::Answer,
    xml::{DECLARATION, escaped},
};

/// The store's no: a status, a code, a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn no_such_upload() -> Self {
        Self::new(404, "NoSuchUpload", "there is no such upload: completed, aborted, or never begun")
    }

    pub(super) fn no_such_key() -> Self {
        Self::new(404, "NoSuchKey", "there is no such object")
    }

    pub(super) fn malformed() -> Self {
        Self::new(400, "MalformedXML", "the document is not what this operation takes")
    }

    pub(super) fn precondition() -> Self {
        Self::new(412, "PreconditionFailed", "a condition of the request doesn't hold")
    }

    pub(super) fn response(&self) -> Response<Stream> {
        let text = format!(
            "{DECLARATION}<Error><Code>{}</Code><Message>{}</Message><RequestId>0</RequestId></Error>",
            self.code,
            escaped(&self.message)
        );
        xml(self.status, text)
    }
}

impl Answer {
    pub(super) fn response(self) -> Response<Stream> {
        Refusal::new(self.status, self.code, "said by a rule of the test").response()
    }
}

pub(super) fn xml(status: u16, text: String) -> Response<Stream> {
    let mut response = Response::new(body::of_bytes(text));
    *response.status_mut() = status_code(status);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
    response
}

pub(super) fn empty(status: u16) -> Response<Stream> {
    let mut response = Response::new(body::of_bytes(""));
    *response.status_mut() = status_code(status);
    response
}

pub(super) fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("written in these files")
}
