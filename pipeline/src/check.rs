//! A checksum that one request's bytes must have (tus extensions checksum and checksum-trailer, `Content-Digest` of
//! RFC 9530). Until it is known to hold, nothing of the request is committed.
//!
//! Absent: the upload's own digest (`digest`), and how a request names its checksum: the doors read headers and trailers.

use std::sync::{Arc, OnceLock};

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// What a client may check a request with. SHA-1 because tus demands it, MD5 because old clients have nothing else: both
/// find accidents, neither finds malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
}

/// What the client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// The raw digest.
    pub value: Vec<u8>,
}

/// A request that brings a checksum: in its head, or in its trailer.
#[derive(Clone, Debug)]
pub struct Check {
    said: Arc<OnceLock<Sum>>,
}

/// Why a checked request is discarded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// 400: announced, and the body ended without one that can be read.
    #[error("the request announced a checksum and brought none that is known here")]
    Missing,
    /// 460 in tus, 400 elsewhere.
    #[error("the bytes of this request don't have the checksum that it says")]
    Mismatch,
}

impl Check {
    /// Known before the body.
    pub fn known(sum: Sum) -> Self {
        let check = Self::trailing();
        check.say(sum);
        check
    }

    /// Announced for the trailer; whoever reads the body calls [`Check::say`] before it ends.
    pub fn trailing() -> Self {
        Self { said: Arc::default() }
    }

    /// What the trailer says. The first word counts.
    pub fn say(&self, sum: Sum) {
        let _ = self.said.set(sum);
    }
}

/// The sums of one request's bytes, as they pass.
pub(crate) struct Summing {
    check: Check,
    running: Vec<Running>,
}

enum Running {
    Md5(md5::Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Running {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(sum) => sum.update(bytes),
            Self::Sha1(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
            Self::Sha512(sum) => sum.update(bytes),
        }
    }

    fn finish(self) -> Sum {
        let (algorithm, value) = match self {
            Self::Md5(sum) => (Algorithm::Md5, sum.finalize().to_vec()),
            Self::Sha1(sum) => (Algorithm::Sha1, sum.finalize().to_vec()),
            Self::Sha256(sum) => (Algorithm::Sha256, sum.finalize().to_vec()),
            Self::Sha512(sum) => (Algorithm::Sha512, sum.finalize().to_vec()),
        };
        Sum { algorithm, value }
    }
}

impl Summing {
    /// A trailer may name any algorithm, so all that tus offers are computed.
    pub(crate) fn start(check: Check) -> Self {
        let running = match check.said.get() {
            Some(sum) => vec![Running::of(sum.algorithm)],
            None => [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256].map(Running::of).into(),
        };
        Self { check, running }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.running.iter_mut().for_each(|sum| sum.update(bytes));
    }

    pub(crate) fn verdict(self) -> Result<(), CheckError> {
        let said = self.check.said.get().ok_or(CheckError::Missing)?;
        match self.running.into_iter().map(Running::finish).any(|sum| sum == *said) {
            true => Ok(()),
            false => Err(CheckError::Mismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(check: Check, bytes: &[u8]) -> Result<(), CheckError> {
        let mut summing = Summing::start(check);
        bytes.chunks(3).for_each(|piece| summing.update(piece));
        summing.verdict()
    }

    #[test]
    fn known_answers_hold_and_others_do_not() {
        // "abc" in RFC 1321 and FIPS 180-4.
        let md5 = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
        let sha1 = [
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0,
            0xd8, 0x9d,
        ];
        for (algorithm, value) in [(Algorithm::Md5, md5.to_vec()), (Algorithm::Sha1, sha1.to_vec())] {
            let sum = Sum { algorithm, value };
            assert_eq!(verdict(Check::known(sum.clone()), b"abc"), Ok(()));
            assert_eq!(verdict(Check::known(sum.clone()), b"abd"), Err(CheckError::Mismatch));
            let late = Check::trailing();
            late.say(sum);
            assert_eq!(verdict(late, b"abc"), Ok(()));
        }
        assert_eq!(verdict(Check::trailing(), b"abc"), Err(CheckError::Missing));
        let short = Sum { algorithm: Algorithm::Sha256, value: Vec::new() };
        assert_eq!(verdict(Check::known(short), b""), Err(CheckError::Mismatch));
    }
}
