//! Structured fields (RFC 9651), read as the draft wants it: a value of another type makes the whole field as if it were absent.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

pub(super) const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
pub(super) const INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("upload-limit");
pub(super) const INTEROP: HeaderName = HeaderName::from_static("upload-draft-interop-version");

/// A field's lines as one value, as RFC 9110 combines them.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut value = lines.next()?.as_bytes().to_vec();
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes());
    }
    Some(value)
}

fn item(headers: &HeaderMap, name: &HeaderName) -> Option<BareItem> {
    Parser::new(&joined(headers, name)?).parse::<Item>().ok().map(|item| item.bare_item)
}

/// A Boolean.
pub(super) fn boolean(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    item(headers, name)?.as_boolean()
}

/// An Integer that counts: 0 or more.
pub(super) fn count(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    u64::try_from(i64::from(item(headers, name)?.as_integer()?)).ok()
}

/// The members of a Dictionary that are single items, in order.
pub(super) fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<(String, BareItem)>> {
    let members = Parser::new(&joined(headers, name)?).parse::<Dictionary>().ok()?;
    let member = |(key, entry): (sfv::Key, ListEntry)| match entry {
        ListEntry::Item(item) => Some((key.as_str().to_owned(), item.bare_item)),
        ListEntry::InnerList(_) => None,
    };
    members.into_iter().map(member).collect()
}

/// A Boolean as it is written.
pub(super) const fn written(value: bool) -> &'static str {
    if value { "?1" } else { "?0" }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const X: HeaderName = HeaderName::from_static("x");

    fn with(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (X, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn values_of_another_type_are_as_if_absent() {
        for (value, is) in [("?1", Some(true)), (" ?0 ", Some(false)), ("?1;why=\"so\"", Some(true))] {
            assert_eq!(boolean(&with(&[value]), &X), is, "{value}");
        }
        for other in ["", "1", "true", "?2", "?1?", "\"?1\"", "?1, ?1", "(?1)", "é"] {
            assert_eq!(boolean(&with(&[other]), &X), None, "{other}");
        }
        for (value, is) in [("0", 0), ("000000000000012", 12), ("999999999999999", 999_999_999_999_999), ("7;a=b", 7)] {
            assert_eq!(count(&with(&[value]), &X), Some(is), "{value}");
        }
        for other in ["", "-1", "+1", "1.0", "1e3", "1000000000000000", "0x1", "?1", "\"1\"", ":MQ==:", "1 2", "1,2"] {
            assert_eq!(count(&with(&[other]), &X), None, "{other}");
        }
        assert_eq!(count(&HeaderMap::new(), &X), None);
        assert_eq!(count(&with(&["1", "1"]), &X), None, "two lines are a list");
    }

    #[test]
    fn a_dictionary_may_come_in_lines() {
        let read = dictionary(&with(&["a=1", "b=:AQI=:, c"]), &X).unwrap();
        let is = vec![
            ("a".to_owned(), BareItem::from(1)),
            ("b".to_owned(), BareItem::ByteSequence(vec![1, 2])),
            ("c".to_owned(), BareItem::Boolean(true)),
        ];
        assert_eq!(read, is);
        assert_eq!(dictionary(&with(&["a=(1 2)"]), &X), None);
        assert_eq!(dictionary(&with(&["a=;"]), &X), None);
    }

    proptest! {
        #[test]
        fn what_counts_comes_back(n in 0u64..1_000_000_000_000_000) {
            prop_assert_eq!(count(&with(&[&n.to_string()]), &X), Some(n));
        }

        #[test]
        fn no_value_panics(value in proptest::collection::vec(32u8..=255, 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(X, value)]);
                let _ = (boolean(&headers, &X), count(&headers, &X), dictionary(&headers, &X));
            }
        }
    }
}
