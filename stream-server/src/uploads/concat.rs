//! `Upload-Concat` (tus 1.0, extension concatenation): `partial`, or `final;` and the partials' URLs.
//!
//! Absent: whether those partials may be joined. The engine says that.

use front::Problem;
use http::{HeaderMap, HeaderName};
use schema::{Id, upload::Upload};

pub(super) const CONCAT: HeaderName = HeaderName::from_static("upload-concat");

/// The whole header: 180 URLs of 90 bytes. The row keeps it for HEAD.
const CONCAT_BYTES_MAX: usize = 16 << 10;

/// What a creation says about joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concat {
    /// A piece of a later upload.
    Partial,
    /// Made of these, in this order.
    Final(Vec<Id<Upload>>),
}

/// Reads the header: what is wanted, and as received.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<(Concat, String)>, Problem> {
    let Some(value) = headers.get(CONCAT) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= CONCAT_BYTES_MAX);
    let read = text.and_then(|text| Some((read(text)?, text.to_owned())));
    read.map(Some).ok_or_else(|| {
        Problem::bad_request(
            "bad_concat",
            format!("Upload-Concat must be \"partial\", or \"final;\" and URLs of partial uploads, separated by spaces; at most {CONCAT_BYTES_MAX} bytes."),
        )
    })
}

fn read(text: &str) -> Option<Concat> {
    if text.trim() == "partial" {
        return Some(Concat::Partial);
    }
    let urls = text.trim().strip_prefix("final;")?;
    let ids: Vec<_> = urls.split_ascii_whitespace().map(id).collect::<Option<_>>()?;
    (!ids.is_empty()).then_some(Concat::Final(ids))
}

/// The upload that a URL names, absolute or relative. Which host it names doesn't matter: a proxy has its own name for us,
/// and an id that we don't know is refused anyway.
fn id(url: &str) -> Option<Id<Upload>> {
    let (folder, id) = url.rsplit_once('/')?;
    let ours = folder == "files" || folder.ends_with("/files");
    if ours { id.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn urls_may_be_absolute_or_relative() {
        let one = "0123456789abcdef0123456789abcdef";
        let id: Id<Upload> = one.parse().unwrap();
        for url in ["/files/", "files/", "http://127.0.0.1:8080/files/", "https://music.example/a/files/"] {
            assert_eq!(read(&format!("final;{url}{one}")), Some(Concat::Final(vec![id])), "{url}");
            assert_eq!(read(&format!("final; {url}{one}  {url}{one} ")), Some(Concat::Final(vec![id, id])), "{url}");
        }
        assert_eq!(read("partial"), Some(Concat::Partial));
        for bad in [
            "",
            "final",
            "final;",
            "final; ",
            "finals;/files/x",
            "partial;/files/x",
            "final;/files/",
            "final;/xfiles/x",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("final;/profiles/{one}")), None);
        assert_eq!(read(&format!("final;{one}")), None);
        let long = HeaderValue::try_from(format!("final;{}", format!("/files/{one} ").repeat(500))).unwrap();
        assert!(wanted(&HeaderMap::from_iter([(CONCAT, long)])).is_err());
    }
}
