//! What a chunk must sum to: `Content-Digest` and `Repr-Digest` (RFC 9530), which say the same of a chunk.
//!
//! Every digest that is said and known here is checked. Unknown algorithms are ignored, as the RFC asks; a field that isn't
//! one is refused: who sends it believes that it is checked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use front::Problem;
use http::{HeaderMap, HeaderName};
use pipeline::check::{Algorithm, Check, Sum};

const FIELDS: [HeaderName; 2] = [HeaderName::from_static("content-digest"), HeaderName::from_static("repr-digest")];

/// What is to be checked.
pub(super) fn checks(headers: &HeaderMap) -> Result<Vec<Check>, Problem> {
    let mut checks = Vec::new();
    for name in &FIELDS {
        for value in headers.get_all(name) {
            let members = value.to_str().ok().and_then(members).ok_or_else(|| {
                Problem::bad_request(
                    "bad_digest",
                    format!("{name} must be like sha-256=:BASE64:, with its right length."),
                )
            })?;
            checks.extend(members.into_iter().map(Check::known));
        }
    }
    Ok(checks)
}

fn members(field: &str) -> Option<Vec<Sum>> {
    let mut sums = Vec::new();
    for member in field.split(',') {
        let (key, value) = member.trim().split_once('=')?;
        let value = STANDARD.decode(value.strip_prefix(':')?.strip_suffix(':')?).ok()?;
        let (algorithm, len) = match key {
            "sha-256" => (Algorithm::Sha256, 32),
            "sha-512" => (Algorithm::Sha512, 64),
            _ => continue,
        };
        sums.push((value.len() == len).then_some(Sum { algorithm, value })?);
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_are_read_unknown_ones_ignored_and_others_refused() {
        let sha256 = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
        let sha512 = format!("sha-512=:{}:", STANDARD.encode([7; 64]));
        assert_eq!(members(&format!("{sha256}, {sha512}")).map(|sums| sums.len()), Some(2));
        assert_eq!(members("md5=:AAAA:"), Some(vec![]));
        for bad in ["", "sha-256", "sha-256=AAAA", "sha-256=:AAAA:", "sha-256=:*:", "sha-512=:AAAA:, "] {
            assert_eq!(members(bad), None, "{bad}");
        }
    }
}
