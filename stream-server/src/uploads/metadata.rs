//! `Upload-Metadata` (tus 1.0, extension creation): `key base64` pairs, comma-separated.
//!
//! Keys are non-empty, ASCII and unique; a value may be empty and then needs no space. What we use: `filename`, `title`,
//! `release_id`, `sha256`. The rest is kept as received and repeated by HEAD.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

/// The whole header. Names and digests fit many times over; more is somebody's database.
const METADATA_BYTES_MAX: usize = 4096;

/// A name or a title. Longer ones break what people use to look at them (mirlo #1068).
const TEXT_CHARS_MAX: usize = 1000;

/// What an uploader says about its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The file's name: data, never a path.
    pub filename: Option<String>,
    /// For people.
    pub title: Option<String>,
    /// Where it belongs.
    pub release: Option<Uuid>,
    /// What the bytes must hash to.
    pub sha256: Option<[u8; 32]>,
}

/// What is wrong with the header.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetadataError {
    /// More than `METADATA_BYTES_MAX`.
    #[error("Upload-Metadata is longer than {METADATA_BYTES_MAX} bytes")]
    TooLong,
    /// Not `key base64, key base64`.
    #[error("Upload-Metadata must be comma-separated pairs of an ASCII key and a base64 value")]
    Malformed,
    /// Twice the same key.
    #[error("Upload-Metadata has the key {0} twice")]
    Twice(String),
    /// A value that we use and can't read.
    #[error("the metadata {key} must be {must}")]
    Value {
        /// Whose.
        key: &'static str,
        /// What it should be.
        must: &'static str,
    },
}

impl Metadata {
    /// Reads the header.
    ///
    /// # Errors
    /// [`MetadataError`]: all of them 400.
    pub fn parse(header: &str) -> Result<Self, MetadataError> {
        if header.len() > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLong);
        }
        let mut seen: Vec<&str> = Vec::new();
        let mut found = Self::default();
        for pair in header.split(',').map(str::trim) {
            if pair.is_empty() && header.trim().is_empty() {
                break;
            }
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(MetadataError::Malformed);
            }
            if seen.contains(&key) {
                return Err(MetadataError::Twice(key.into()));
            }
            seen.push(key);
            let value = STANDARD.decode(value.trim()).map_err(|_| MetadataError::Malformed)?;
            found.take(key, value)?;
        }
        Ok(found)
    }

    fn take(&mut self, key: &str, value: Vec<u8>) -> Result<(), MetadataError> {
        match key {
            "filename" => self.filename = text("filename", value)?,
            "title" => self.title = text("title", value)?,
            "release_id" => {
                let bad = MetadataError::Value { key: "release_id", must: "a UUID" };
                self.release = Some(std::str::from_utf8(&value).ok().and_then(|s| s.parse().ok()).ok_or(bad)?);
            }
            "sha256" => {
                let bad = MetadataError::Value { key: "sha256", must: "64 hex digits" };
                self.sha256 = Some(std::str::from_utf8(&value).ok().and_then(unhex).ok_or(bad)?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Text for people: no control characters, and not a byte that isn't text.
fn text(key: &'static str, value: Vec<u8>) -> Result<Option<String>, MetadataError> {
    let text = String::from_utf8(value).map_err(|_| MetadataError::Value { key, must: "UTF-8" })?;
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    if clean.chars().count() > TEXT_CHARS_MAX {
        return Err(MetadataError::Value { key, must: "at most 1000 characters" });
    }
    Ok(Some(clean.trim().to_owned()).filter(|t| !t.is_empty()))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.trim().chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(key: &str, value: &[u8]) -> String {
        format!("{key} {}", STANDARD.encode(value))
    }

    #[test]
    fn names_titles_and_digests_are_read() {
        let sha = "ab".repeat(32);
        let header = [
            pair("filename", "Ærø.flac".as_bytes()),
            pair("sha256", sha.as_bytes()),
            "is_private".into(),
            pair("x", b"y"),
        ]
        .join(", ");
        let read = Metadata::parse(&header).unwrap();
        assert_eq!(read.filename.as_deref(), Some("Ærø.flac"));
        assert_eq!(read.sha256, Some([0xab; 32]));
        assert_eq!(Metadata::parse(""), Ok(Metadata::default()));
    }

    #[test]
    fn bad_headers_are_named() {
        let cases = [
            ("filename ???".to_owned(), MetadataError::Malformed),
            (",".to_owned(), MetadataError::Malformed),
            ("a YQ==,".to_owned(), MetadataError::Malformed),
            (format!("{},{}", pair("a", b"1"), pair("a", b"2")), MetadataError::Twice("a".into())),
            (pair("sha256", b"12"), MetadataError::Value { key: "sha256", must: "64 hex digits" }),
            (pair("filename", &[0xff]), MetadataError::Value { key: "filename", must: "UTF-8" }),
            ("k ".to_owned() + &"A".repeat(METADATA_BYTES_MAX), MetadataError::TooLong),
        ];
        for (header, error) in cases {
            assert_eq!(Metadata::parse(&header), Err(error), "{header:.60}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in ".{0,300}") {
            let _ = Metadata::parse(&header);
        }

        #[test]
        fn any_name_comes_back_without_its_control_characters(name in "[a-zäöü \u{1}-\u{1f}]{0,40}") {
            let read = Metadata::parse(&pair("filename", name.as_bytes())).unwrap().filename.unwrap_or_default();
            let clean: String = name.chars().filter(|c| !c.is_control()).collect();
            prop_assert_eq!(read, clean.trim());
        }
    }
}
