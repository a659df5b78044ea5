//! Digest fields (RFC 9530): `Content-Digest` of one request, `Repr-Digest` of the whole file, and who wants one back.
//!
//! Of a request both algorithms in use are checked, of the file SHA-256, which is computed anyway. Others are ignored, as the
//! RFC asks of who doesn't know them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use front::Problem;
use http::{HeaderMap, HeaderName, HeaderValue};
use pipeline::check::{Algorithm, Check, Sum};
use sfv::BareItem;

use super::fields;

const CONTENT: HeaderName = HeaderName::from_static("content-digest");
pub(super) const REPR: HeaderName = HeaderName::from_static("repr-digest");
const WANT_REPR: HeaderName = HeaderName::from_static("want-repr-digest");

const SHA_256: &str = "sha-256";

/// What a request's content must sum to; `None` when it says nothing that we can check.
///
/// # Errors
/// 400 for a digest that no content can have.
pub(super) fn check(headers: &HeaderMap) -> Result<Option<Check>, Problem> {
    let members = fields::dictionary(headers, &CONTENT).unwrap_or_default();
    for (name, algorithm, bytes) in [(SHA_256, Algorithm::Sha256, 32), ("sha-512", Algorithm::Sha512, 64)] {
        if let Some((_, value)) = members.iter().find(|(member, _)| member == name) {
            let value = digest(value, bytes).ok_or_else(|| bad(name, &CONTENT, bytes))?.to_vec();
            return Ok(Some(Check::known(Sum { algorithm, value })));
        }
    }
    Ok(None)
}

/// The SHA-256 that a field promises; `None` when there is none that we can check.
///
/// # Errors
/// 400 for one that no content can have.
pub(super) fn promised(headers: &HeaderMap, name: &HeaderName) -> Result<Option<[u8; 32]>, Problem> {
    let Some(members) = fields::dictionary(headers, name) else { return Ok(None) };
    let Some((_, value)) = members.into_iter().find(|(algorithm, _)| algorithm == SHA_256) else { return Ok(None) };
    let promised = digest(&value, 32).and_then(|digest| digest.try_into().ok());
    promised.map(Some).ok_or_else(|| bad(SHA_256, name, 32))
}

fn digest(value: &BareItem, bytes: usize) -> Option<&[u8]> {
    value.as_byte_sequence().filter(|digest| digest.len() == bytes)
}

fn bad(algorithm: &str, field: &HeaderName, bytes: usize) -> Problem {
    Problem::bad_request("bad_digest", format!("The {algorithm} of {field} must be {bytes} bytes, as :base64:."))
}

/// The field that tells the SHA-256 of the file, unless the client says that it doesn't want this one.
pub(super) fn told(headers: &HeaderMap, sha256: &[u8]) -> Option<HeaderValue> {
    let wanted = fields::dictionary(headers, &WANT_REPR).unwrap_or_default();
    let refused = wanted
        .iter()
        .any(|(algorithm, rank)| algorithm == SHA_256 && rank.as_integer().is_some_and(|rank| i64::from(rank) == 0));
    if refused { None } else { HeaderValue::try_from(format!("{SHA_256}=:{}:", STANDARD.encode(sha256))).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn unknown_algorithms_and_other_types_are_ignored() {
        for ignored in ["md5=:AAAA:", "sha-512-256=:AAAA:", "", "=;"] {
            assert!(matches!(check(&with(CONTENT, ignored)), Ok(None)), "{ignored}");
        }
        for ignored in ["md5=:AAAA:", "sha-512=:AAAA:, x=1", "", "sha-256=(1)", "=", ":AAAA:"] {
            let promised = promised(&with(CONTENT, ignored), &CONTENT);
            assert!(matches!(promised, Ok(None)), "{ignored}");
        }
    }

    #[test]
    fn a_digest_that_nothing_can_have_is_refused() {
        for bad in ["sha-256=:AAAA:", "sha-256", "sha-256=1", "sha-256=\"x\""] {
            assert_eq!(promised(&with(REPR, bad), &REPR).unwrap_err().code(), "bad_digest", "{bad}");
            assert_eq!(check(&with(CONTENT, bad)).unwrap_err().code(), "bad_digest", "{bad}");
        }
    }

    #[test]
    fn who_ranks_it_zero_isnt_told() {
        assert!(told(&with(WANT_REPR, "sha-256=0, sha-512=3"), &[1; 32]).is_none());
        for wants in ["sha-256=1", "sha-512=9", "sha-256=10, sha=0", "nonsense="] {
            assert!(told(&with(WANT_REPR, wants), &[1; 32]).is_some(), "{wants}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_would_be_promised(sha256: [u8; 32]) {
            let told = told(&HeaderMap::new(), &sha256).unwrap();
            let read = promised(&HeaderMap::from_iter([(REPR, told)]), &REPR);
            prop_assert_eq!(read.unwrap(), Some(sha256));
        }
    }
}
