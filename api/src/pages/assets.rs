//! Scripts, styles and the icon, out of the binary.
//!
//! Promise: a name holds a digest of its content, so an answer may be kept for ever; compressed once, at build.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// One built file in its three encodings.
struct File {
    name: &'static str,
    raw: &'static [u8],
    brotli: &'static [u8],
    gzip: &'static [u8],
}

/// Where the page finds what it starts with; `None` in a build without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built {
    pub(super) script: &'static str,
    pub(super) style: &'static str,
    pub(super) icon: &'static str,
}

pub(super) fn built() -> Option<Built> {
    Some(Built { script: SCRIPT?, style: STYLE?, icon: ICON? })
}

/// A script, a style or the icon.
#[utoipa::path(get, path = "/assets/{name}", tag = "pages", params(("name" = String, Path)), responses(
    (status = 200, description = "The file, for ever"), (status = 304, description = "Not modified"),
    (status = 404, description = "Not in this build")))]
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    answer(FILES, &name, &headers)
}

fn answer(files: &[File], name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = files.iter().find(|f| f.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (encoding, body) = if accepts(asked, "br") {
        (Some("br"), file.brotli)
    } else if accepts(asked, "gzip") {
        (Some("gzip"), file.gzip)
    } else {
        (None, file.raw)
    };
    let tag = format!("\"{name}{}\"", encoding.map(|e| format!("-{e}")).unwrap_or_default());
    let is_known =
        has_item(asked, header::IF_NONE_MATCH, |item| item == tag || item == format!("W/{tag}") || item == "*");

    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(encoding) = encoding.filter(|_| !is_known) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// The client takes `encoding`: it is listed, and not with the weight 0.
fn accepts(asked: &HeaderMap, encoding: &str) -> bool {
    has_item(asked, header::ACCEPT_ENCODING, |item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|n| n.eq_ignore_ascii_case(encoding));
        let is_refused = parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse::<f32>() == Ok(0.0)));
        is_named && !is_refused
    })
}

fn has_item(asked: &HeaderMap, name: header::HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    asked.get_all(name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|i| wanted(i.trim()))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[File] = &[File { name: "main-abc.js", raw: b"raw", brotli: b"br", gzip: b"gz" }];

    async fn got(name: &str, headers: &[(header::HeaderName, &'static str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let asked = headers.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect();
        let (parts, body) = answer(FILES, name, &asked).into_parts();
        let body = axum::body::to_bytes(body, 1024).await.unwrap().to_vec();
        (parts.status, parts.headers, body)
    }

    #[tokio::test]
    async fn the_smallest_encoding_that_is_taken_is_sent_and_kept_for_ever() {
        let (status, headers, body) = got("main-abc.js", &[(header::ACCEPT_ENCODING, "gzip, deflate, br")]).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, b"br".as_slice()));
        assert_eq!(headers[header::CONTENT_ENCODING], "br");
        assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    }

    #[tokio::test]
    async fn an_encoding_of_weight_zero_is_not_sent() {
        let (_, headers, body) = got("main-abc.js", &[(header::ACCEPT_ENCODING, "br;q=0, gzip;q=0.5")]).await;
        assert_eq!((headers[header::CONTENT_ENCODING].to_str().unwrap(), body.as_slice()), ("gzip", b"gz".as_slice()));
        let (_, headers, body) = got("main-abc.js", &[]).await;
        assert_eq!((headers.get(header::CONTENT_ENCODING), body.as_slice()), (None, b"raw".as_slice()));
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let (status, headers, body) = got("main-abc.js", &[(header::IF_NONE_MATCH, "\"x\", \"main-abc.js\"")]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(headers[header::ETAG], "\"main-abc.js\"");
    }

    #[tokio::test]
    async fn a_name_that_was_not_built_is_not_found() {
        assert_eq!(got("../Cargo.toml", &[]).await.0, StatusCode::NOT_FOUND);
    }
}
