//! SHA-256 and CRC-64/NVME of the bytes as they pass, with a midstate that can be put away in a row.
//!
//! Promise: a digest taken up again from its midstate equals one that never stopped (checked at start by `self_check`).
//! Absent:  a judgement. Whether a midstate is missing behind a hole is the session's business.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use sha2::{Digest as _, Sha256, digest::common::hazmat::SerializableState};

/// Layout of the saved midstate: this byte, then what `sha2` 0.11 serializes. Another layout, another byte.
const MIDSTATE_V1: u8 = 1;

/// The running SHA-256 of an upload, from byte 0 to the offset reached.
#[derive(Clone, Debug)]
pub struct Sha {
    state: Sha256,
}

impl Sha {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self { state: Sha256::new() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// About 100 bytes from which [`Sha::resume`] goes on.
    pub fn midstate(&self) -> Vec<u8> {
        let mut saved = vec![MIDSTATE_V1];
        saved.extend_from_slice(&self.state.serialize());
        saved
    }

    /// Goes on from a midstate; `None` when it isn't readable: the digest is then deferred, not lost.
    pub fn resume(saved: &[u8]) -> Option<Self> {
        let (&version, body) = saved.split_first()?;
        if version != MIDSTATE_V1 {
            return None;
        }
        let state = Sha256::deserialize(body.try_into().ok()?).ok()?;
        Some(Self { state })
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.state.finalize().into()
    }
}

impl Default for Sha {
    fn default() -> Self {
        Self::new()
    }
}

/// A CRC-64/NVME on its way: taken as bytes pass, while the cache still has them.
#[derive(Debug)]
pub(crate) struct Crc(crc_fast::Digest);

impl Crc {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of what came so far.
    pub(crate) fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self(crc_fast::Digest::new(Crc64Nvme))
    }
}

/// CRC-64/NVME of a run of frames.
pub fn crc64(frames: &[Bytes]) -> u64 {
    let mut digest = crc_fast::Digest::new(Crc64Nvme);
    for frame in frames {
        digest.update(frame);
    }
    digest.finalize()
}

/// The CRC of `a` followed by `b`, whose length is `b_len`.
///
/// Bytes behind `a` multiply it by x^8 each, modulo the polynomial; an initial value that equals the final one cancels out.
/// A multiplication for each bit set in a length takes a microsecond at most; crc-fast squares matrices, for hundreds.
pub fn crc64_join(a: u64, b: u64, b_len: u64) -> u64 {
    let bits = (0..u64::BITS).filter(|bit| b_len >> bit & 1 == 1);
    bits.fold(a, |crc, bit| times(POWERS[bit as usize], crc)) ^ b
}

/// CRC-64/NVME's polynomial, as its catalogue gives it, turned round: the top bit is x^0.
const POLYNOMIAL: u64 = 0xad93_d235_94c9_3659_u64.reverse_bits();

/// x^8, and each the square of the one before it: what 1, 2, 4, … bytes multiply by.
static POWERS: [u64; 64] = {
    let mut powers = [1 << (63 - 8); 64];
    let mut bit = 1;
    while bit < powers.len() {
        powers[bit] = times(powers[bit - 1], powers[bit - 1]);
        bit += 1;
    }
    powers
};

/// The product of two polynomials, modulo ours.
const fn times(a: u64, mut b: u64) -> u64 {
    let (mut product, mut bit) = (0, u64::BITS);
    while bit > 0 {
        bit -= 1;
        // Without a branch: which bits are set is as good as random.
        product ^= (a >> bit & 1).wrapping_neg() & b;
        b = b >> 1 ^ (b & 1).wrapping_neg() & POLYNOMIAL;
    }
    product
}

/// Refuses to start on a machine or build whose midstates don't resume: silence here would be wrong digests later.
///
/// # Errors
/// One sentence.
pub fn self_check() -> Result<(), String> {
    let mut half = Sha::new();
    half.update(b"ab");
    let resumed = Sha::resume(&half.midstate()).map(|mut s| {
        s.update(b"c");
        s.finish()
    });
    // FIPS 180-4, example "abc".
    let known = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03,
        0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    ];
    if resumed != Some(known) {
        return Err("SHA-256 doesn't resume from its midstate in this build".into());
    }
    // The algorithm's published check value, over "123456789".
    if crc64(&[Bytes::from_static(b"123456789")]) != 0xae8b_1486_0a79_9888 {
        return Err("CRC-64/NVME gives a wrong check value in this build".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_build_passes_its_own_check() {
        self_check().unwrap();
    }

    proptest! {
        #[test]
        fn a_resumed_digest_equals_an_unbroken_one(data: Vec<u8>, cut in any::<prop::sample::Index>()) {
            let cut = cut.index(data.len() + 1);
            let mut first = Sha::new();
            first.update(&data[..cut]);
            let mut second = Sha::resume(&first.midstate()).unwrap();
            second.update(&data[cut..]);
            prop_assert_eq!(second.finish(), <[u8; 32]>::from(Sha256::digest(&data)));
        }

        #[test]
        fn joined_checksums_equal_the_whole(a: Vec<u8>, b: Vec<u8>) {
            let whole = [a.clone(), b.clone()].concat();
            let joined = crc64_join(crc64(&[a.into()]), crc64(&[b.clone().into()]), b.len() as u64);
            prop_assert_eq!(joined, crc64(&[whole.into()]));
        }

        #[test]
        fn a_join_is_what_the_library_says_of_any_length(a: u64, b: u64, b_len in 0..=u64::MAX >> 8) {
            prop_assert_eq!(crc64_join(a, b, b_len), crc_fast::checksum_combine(Crc64Nvme, a, b, b_len));
        }

        #[test]
        fn no_blob_is_taken_for_a_midstate_by_a_panic(blob: Vec<u8>) {
            let _ = Sha::resume(&blob);
        }
    }
}
