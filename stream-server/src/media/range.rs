//! `Range` (RFC 9110, section 14): one range of bytes. A header that isn't one is ignored, as the RFC says.

/// What a request wants of a thing of `len` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: 200.
    Whole,
    /// From, and how many: 206.
    Part(u64, u64),
    /// Nothing that exists, or more than one range: 416.
    Nothing,
}

/// Reads the header.
pub(super) fn wanted(header: Option<&str>, len: u64) -> Wanted {
    let Some(set) = header.and_then(|h| h.strip_prefix("bytes=")) else { return Wanted::Whole };
    if set.contains(',') {
        return Wanted::Nothing;
    }
    let digits =
        |s: &str| (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u64>().ok()).flatten();
    let Some((from, to)) = set.trim().split_once('-') else { return Wanted::Whole };
    match (from, digits(from), to, digits(to)) {
        ("", _, _, Some(last)) if last > 0 && len > 0 => Wanted::Part(len - last.min(len), last.min(len)),
        ("", _, _, Some(_)) => Wanted::Nothing,
        (_, Some(from), "", _) if from < len => Wanted::Part(from, len - from),
        (_, Some(from), _, Some(to)) if from <= to && from < len => Wanted::Part(from, to.min(len - 1) - from + 1),
        (_, Some(from), _, Some(to)) if from > to => Wanted::Whole,
        (_, Some(_), "", _) | (_, Some(_), _, Some(_)) => Wanted::Nothing,
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_as_the_rfc_reads_them() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-"), Wanted::Part(0, 10)),
            (Some("bytes=0-0"), Wanted::Part(0, 1)),
            (Some("bytes=3-5"), Wanted::Part(3, 3)),
            (Some("bytes=8-99"), Wanted::Part(8, 2)),
            (Some("bytes=-3"), Wanted::Part(7, 3)),
            (Some("bytes=-99"), Wanted::Part(0, 10)),
            (Some("bytes=10-"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=0-1,3-4"), Wanted::Nothing),
            (Some("bytes=5-3"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (Some("lines=0-1"), Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 10), expected, "{header:?}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn a_part_lies_within(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", len: u64) {
            if let Wanted::Part(from, n) = wanted(Some(&header), len) {
                prop_assert!(n > 0 && from.checked_add(n).is_some_and(|end| end <= len));
            }
        }
    }
}
