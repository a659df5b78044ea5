//! Whole objects: put, get, head, delete.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED},
};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    body::{self, Stream},
    checksum::{self, Algorithm, Checksum, Claims},
    reply::{self, Refusal},
    rules,
    store::{Answered, Asked, Object, State, Store},
    xml,
};

const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

impl Store {
    pub(super) fn put(&self, asked: Asked<'_>) -> Answered {
        rules::length(asked.call.body_bytes)?;
        let claims = asked.checked_claims()?;
        let mut state = self.lock();
        self.conditions(&state, &asked)?;
        let object = Object {
            etag: checksum::etag(checksum::md5_of(&asked.payload.frames)),
            sum: self.sum(&claims, &asked.payload.frames, None),
            content_type: asked.headers.get(CONTENT_TYPE).cloned(),
            modified: state.now(),
            payload: asked.payload.rotten(asked.rot),
        };
        let mut response = reply::empty(200);
        set(response.headers_mut(), ETAG, &object.etag);
        tell_sum(response.headers_mut(), object.sum);
        self.supersede(&mut state, &asked.call.key, None);
        state.objects.insert(asked.call.key.clone(), object);
        Ok(response)
    }

    pub(super) fn get(&self, asked: Asked<'_>, with_body: bool) -> Answered {
        let state = self.lock();
        let object = state.objects.get(&asked.call.key).ok_or_else(Refusal::no_such_key)?;
        if asked.header("if-match").is_some_and(|etag| etag != "*" && etag != object.etag) {
            return Err(Refusal::precondition());
        }
        if asked.header("if-none-match").is_some_and(|etag| etag == "*" || etag == object.etag) {
            return Ok(reply::empty(304));
        }
        let all = object.payload.len;
        let (from, len) = match asked.header("range") {
            Some(range) => range_of(range, all)?,
            None => (0, all),
        };
        if with_body && !object.payload.is_kept {
            return Err(Refusal::new(501, "NotImplemented", "the bytes of parts were not kept"));
        }
        let bytes = if with_body { body::slice(&object.payload.frames, from, len) } else { Vec::new() };
        let mut response = Response::new(body::of_frames(bytes));
        let headers = response.headers_mut();
        set(headers, CONTENT_LENGTH, &len.to_string());
        set(headers, ETAG, &object.etag);
        set(headers, ACCEPT_RANGES, "bytes");
        set(headers, LAST_MODIFIED, &object.modified.format(HTTP_DATE).expect("a date has all of these"));
        let octets = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, object.content_type.clone().unwrap_or(octets));
        if asked.header("range").is_some() {
            set(headers, CONTENT_RANGE, &format!("bytes {from}-{}/{all}", from + len - 1));
            *response.status_mut() = reply::status_code(206);
        } else if asked.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled")) {
            tell_sum(response.headers_mut(), object.sum);
        }
        Ok(response)
    }

    pub(super) fn delete(&self, asked: Asked<'_>) -> Answered {
        let mut state = self.lock();
        state.objects.remove(&asked.call.key);
        self.supersede(&mut state, &asked.call.key, None);
        Ok(reply::empty(204))
    }

    pub(super) fn delete_many(&self, asked: Asked<'_>) -> Answered {
        let claims = asked.checked_claims()?;
        if !claims.any() && !self.options.manners.is_lax() {
            return Err(Refusal::new(400, "InvalidRequest", "a deletion of many says its checksum"));
        }
        let text = asked.payload.text();
        let objects = xml::elements(&text, "Object");
        if objects.is_empty() || objects.len() as u64 > rules::PAGE_MAX {
            return Err(Refusal::malformed());
        }
        let is_quiet = xml::text_of(&text, "Quiet").is_some_and(|quiet| quiet == "true");
        let mut state = self.lock();
        let mut told = String::new();
        for object in objects {
            let key = xml::text_of(object, "Key").ok_or_else(Refusal::malformed)?;
            state.objects.remove(&key);
            self.supersede(&mut state, &key, None);
            if !is_quiet {
                told += &format!("<Deleted>{}</Deleted>", xml::tag("Key", key));
            }
        }
        Ok(reply::xml(200, format!("{}<DeleteResult>{told}</DeleteResult>", xml::DECLARATION)))
    }

    /// Of a write: `If-None-Match: *` and `If-Match`.
    pub(super) fn conditions(&self, state: &State, asked: &Asked<'_>) -> Result<(), Refusal> {
        if !self.options.manners.knows_conditions() {
            return Ok(());
        }
        let there = state.objects.get(&asked.call.key);
        match asked.header("if-none-match") {
            Some("*") if there.is_some() => return Err(Refusal::precondition()),
            Some("*") | None => {}
            Some(_) => return Err(Refusal::new(501, "NotImplemented", "If-None-Match of a write takes only *")),
        }
        match (asked.header("if-match"), there) {
            (Some(_), None) => Err(Refusal::no_such_key()),
            (Some(etag), Some(object)) if etag != object.etag => Err(Refusal::precondition()),
            _ => Ok(()),
        }
    }

    /// The checksum to keep: the one declared, else the one claimed, else AWS's own choice.
    pub(super) fn sum(
        &self,
        claims: &Claims,
        frames: &[bytes::Bytes],
        declared: Option<Algorithm>,
    ) -> Option<Checksum> {
        let claimed = claims.crc.as_ref().map(|(algorithm, _)| *algorithm);
        let of_itself = (!self.options.manners.is_lax()).then_some(Algorithm::Crc64Nvme);
        Some(declared.or(claimed).or(of_itself)?.of(frames))
    }
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).expect("only plain text is told"));
}

pub(super) fn tell_sum(headers: &mut HeaderMap, sum: Option<Checksum>) {
    let Some(sum) = sum else { return };
    set(headers, HeaderName::from_static(sum.algorithm.header()), &sum.text());
    set(headers, HeaderName::from_static("x-amz-checksum-type"), "FULL_OBJECT");
}

/// As lists tell a time.
pub(super) fn timestamp(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.format(format).expect("a date has all of these")
}

/// `bytes=from-to`, `bytes=from-`, `bytes=-last`: the first byte and how many.
pub(super) fn range_of(text: &str, all: u64) -> Result<(u64, u64), Refusal> {
    let unsatisfiable = || Refusal::new(416, "InvalidRange", format!("{text} of {all} bytes"));
    let (from, to) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(unsatisfiable)?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (from, end) = match (number(from), number(to)) {
        (Some(from), Some(to)) => (from, to.saturating_add(1).min(all)),
        (Some(from), None) => (from, all),
        (None, Some(last)) => (all.saturating_sub(last), all),
        (None, None) => return Err(unsatisfiable()),
    };
    if from >= end { Err(unsatisfiable()) } else { Ok((from, end - from)) }
}

/// An answer's body, for those who change it.
pub(super) async fn replaced(
    response: Response<Stream>,
    change: impl FnOnce(&[bytes::Bytes]) -> Vec<bytes::Bytes>,
) -> std::io::Result<Response<Stream>> {
    let (mut head, body) = response.into_parts();
    let frames = change(&body::frames_of(body).await?);
    set(&mut head.headers, CONTENT_LENGTH, &body::bytes_in(&frames).to_string());
    Ok(Response::from_parts(head, body::of_frames(frames)))
}
