//! `POST /api/v1/uploads`: an upload and its track exist from here on, before the first chunk.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use front::Problem;
use http::{
    HeaderValue, StatusCode,
    header::{HeaderName, LOCATION},
};
use pipeline::{Engine, Kind, NewUpload, chunks};
use schema::caller::Caller;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::wire;

/// A name or a title.
const TEXT_CHARS_MAX: usize = 1000;

/// A wanted upload.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Wanted {
    /// The file's name.
    filename: String,
    /// Its length in bytes.
    size: u64,
    /// Its SHA-256 in hex; other bytes are refused at the end.
    sha256: Option<String>,
    /// The track's title; without one it is made of the name.
    title: Option<String>,
    /// The release that the track belongs to.
    release_id: Option<Uuid>,
}

/// A new upload.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Created {
    /// Its id.
    id: String,
    /// The track that it becomes.
    track_id: Option<String>,
    /// The length of every chunk but the last, which may be shorter.
    chunk_size: u64,
    /// How many chunks there are.
    chunk_count: u64,
    /// When it is given up if nothing comes.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// 201 with how the file is cut.
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(caller): Extension<Caller>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    let sha256 = match &wanted.sha256 {
        Some(hex) => Some(unhex(hex).ok_or_else(|| bad("sha256 must be 64 hex digits."))?),
        None => None,
    };
    let length = wanted.size;
    let new = NewUpload {
        owner: caller.account,
        door: chunks::DOOR,
        length: Some(length),
        metadata: String::new(),
        filename: Some(text("filename", &wanted.filename)?),
        title: wanted.title.as_deref().map(|title| text("title", title)).transpose()?,
        sha256,
        release: wanted.release_id,
        kind: Kind::Whole,
        concat: None,
        ends_at_length: false,
    };
    let look = engine.create(new).await.map_err(|e| wire::not_created(&e))?;
    let created = Created {
        id: look.id.to_string(),
        track_id: look.track.map(|track| track.to_string()),
        chunk_size: look.part_bytes,
        chunk_count: chunks::chunk_count(length, look.part_bytes),
        expires_at: look.expires_at,
    };
    let track = created.track_id.clone().unwrap_or_default();
    let mut answer = (StatusCode::CREATED, Json(&created)).into_response();
    let location = format!("/api/v1/uploads/{}", created.id);
    for (name, value) in [(LOCATION, location), (HeaderName::from_static("millrace-track"), track)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

/// Text for people: no control characters.
fn text(name: &str, value: &str) -> Result<String, Problem> {
    let clean: String = value.chars().filter(|c| !c.is_control()).collect();
    match clean.chars().count() {
        0 if name == "filename" => Err(bad("filename must be the file's name.")),
        n if n > TEXT_CHARS_MAX => Err(bad(format!("{name} may have {TEXT_CHARS_MAX} characters."))),
        _ => Ok(clean),
    }
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::bad_request("bad_upload", detail)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (text.len() == 64).then_some(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_it_is_printed() {
        let digest = [0x0f, 0xa0, 0xff].repeat(11)[..32].to_vec();
        assert_eq!(unhex(&pipeline::publish::hex(&digest)).map(Vec::from), Some(digest));
        for bad in ["", "0f", &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
