//! For the routes that pages of other origins may call: uploads and media. Any origin, and never with cookies.

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

/// What a player or an uploader must be able to read of an answer.
const EXPOSED: &str = "Accept-Patch, Accept-Ranges, Content-Length, Content-Range, ETag, Location, Millrace-Track, \
    Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, \
    Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, \
    Upload-Incomplete, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, X-Request-Id";

/// What they may send.
const ALLOWED: &str = "Authorization, Content-Digest, Content-Disposition, Content-Type, If-None-Match, If-Range, Range, \
    Repr-Digest, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length, \
    Upload-Draft-Interop-Version, Upload-Incomplete, Upload-Length, Upload-Metadata, Upload-Offset, Want-Repr-Digest, \
    X-HTTP-Method-Override, X-Request-Id";

const METHODS: &str = "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS";

/// How long a browser may remember the answer to a preflight: the longest that any of them accepts is a day.
const MAX_AGE_S: &str = "86400";

/// Is it the question that a browser asks before the request?
pub(crate) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Opens one answer to other origins; a preflight that no handler wanted is answered here.
pub(crate) fn open(response: &mut Response<axum::body::Body>, preflight: bool) {
    if preflight && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        *response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    }
}
