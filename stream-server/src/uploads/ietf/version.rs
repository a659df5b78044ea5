//! Which iteration of the draft a request speaks, and what follows from it: every difference between them is here.
//!
//! ```text
//! interop  draft        differs from the next by
//!       3  01           Upload-Incomplete; without it an append is the last one
//!       4  02           no 104 with progress
//!       5  03           no media type on an append
//!       6  04, 05       lifetime key `expires`; an append is answered by 201 and may leave Upload-Complete out
//!       7  06 to 08
//!       8  09 to 11
//!       9  the text after  (also for who names no version: that will be the RFC, but without 104)
//! ```

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::fields::{self, COMPLETE, INCOMPLETE, INTEROP};

/// The iteration that a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    interop: u8,
    /// Told by the client: only such a client is known to expect a 104.
    named: bool,
}

impl Version {
    const OLDEST: u8 = 3;
    const NEWEST: u8 = 9;

    /// A version that we don't speak is read as none.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let named = fields::count(headers, &INTEROP).and_then(|n| u8::try_from(n).ok());
        if let Some(interop) = named.filter(|n| (Self::OLDEST..=Self::NEWEST).contains(n)) {
            return Self { interop, named: true };
        }
        let old = headers.contains_key(INCOMPLETE) && !headers.contains_key(COMPLETE);
        Self { interop: if old { Self::OLDEST } else { Self::NEWEST }, named: false }
    }

    /// What every answer says of it.
    pub(super) fn echo(self) -> Option<(HeaderName, HeaderValue)> {
        self.named.then(|| (INTEROP, HeaderValue::from(u16::from(self.interop))))
    }

    /// May it be sent a 104?
    pub(super) fn knows_104(self) -> bool {
        self.named
    }

    /// And one that tells how far the upload is?
    pub(super) fn knows_progress(self) -> bool {
        self.named && self.interop >= 5
    }

    /// Does this request say that it ends the upload?
    pub(super) fn completes(self, headers: &HeaderMap) -> Option<bool> {
        match self.interop {
            3 => fields::boolean(headers, &INCOMPLETE).map(|incomplete| !incomplete),
            _ => fields::boolean(headers, &COMPLETE),
        }
    }

    /// The same of an append, where the older iterations say what silence means.
    pub(super) fn append_completes(self, headers: &HeaderMap) -> Option<bool> {
        let silence = match self.interop {
            3 => Some(true),
            4..=6 => Some(false),
            _ => None,
        };
        self.completes(headers).or(silence)
    }

    /// An answer's field that says whether the upload is complete.
    pub(super) fn complete_field(self, complete: bool) -> (HeaderName, HeaderValue) {
        match self.interop {
            3 => (INCOMPLETE, HeaderValue::from_static(fields::written(!complete))),
            _ => (COMPLETE, HeaderValue::from_static(fields::written(complete))),
        }
    }

    /// Its name, for a human.
    pub(super) fn complete_name(self) -> &'static str {
        if self.interop == 3 { "Upload-Incomplete" } else { "Upload-Complete" }
    }

    /// Must an append be labelled `application/partial-upload`?
    pub(super) fn labels_appends(self) -> bool {
        self.interop >= 6
    }

    /// The answer to an append that doesn't end the upload.
    pub(super) fn appended(self) -> StatusCode {
        if self.interop <= 6 { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
    }

    /// Must a DELETE that tells an offset be refused, as a HEAD must?
    pub(super) fn refuses_state_in_delete(self) -> bool {
        self.interop <= 6
    }

    /// The key of `Upload-Limit` that says how long the upload lives.
    pub(super) fn lifetime_key(self) -> &'static str {
        if self.interop <= 6 { "expires" } else { "max-age" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(fields: &[(&HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_versions_that_are_spoken_are_echoed_and_hear_104() {
        for spoken in ["3", "4", "5", "6", "7", "8", "9"] {
            let version = Version::of(&says(&[(&INTEROP, spoken)]));
            assert!(version.knows_104(), "{spoken}");
            assert_eq!(version.echo().unwrap().1, spoken);
        }
        for other in ["2", "10", "256", "-3", "6.0", "\"6\"", "?1", ""] {
            let version = Version::of(&says(&[(&INTEROP, other)]));
            assert_eq!((version.knows_104(), version.echo()), (false, None), "{other}");
            assert_eq!(version, Version::of(&HeaderMap::new()));
        }
    }

    #[test]
    fn the_first_iteration_says_the_opposite() {
        for headers in [says(&[(&INTEROP, "3"), (&INCOMPLETE, "?1")]), says(&[(&INCOMPLETE, "?1")])] {
            let version = Version::of(&headers);
            assert_eq!(version.completes(&headers), Some(false));
            assert_eq!(version.complete_field(false), (INCOMPLETE, HeaderValue::from_static("?1")));
        }
        let newer = says(&[(&INTEROP, "4"), (&INCOMPLETE, "?1"), (&COMPLETE, "?1")]);
        assert_eq!(Version::of(&newer).completes(&newer), Some(true));
    }

    #[test]
    fn silence_on_an_append_is_read_by_version() {
        let said = |interop| {
            let headers = says(&[(&INTEROP, interop)]);
            Version::of(&headers).append_completes(&headers)
        };
        assert_eq!(
            ["3", "4", "5", "6", "7", "8", "9"].map(said),
            [Some(true), Some(false), Some(false), Some(false), None, None, None]
        );
        assert_eq!(said("none"), None);
    }
}
