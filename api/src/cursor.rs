//! A place in a list, as one opaque word: the last item's time and id, signed for the list's owner.
//!
//! Signed, so that only our own words come back and none of them can be carried into another's list.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use schema::{Id, caller::Account};
use sha2::Sha256;
use time::OffsetDateTime;
use uuid::Uuid;

/// Keeps this use of the key apart from every other.
const LABEL: &[u8] = b"millrace cursor v1";
/// Microseconds and id.
const PLACE_BYTES: usize = 8 + 16;
/// A guess is one in 2^128.
const MAC_BYTES: usize = 16;

/// Signs cursors.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

/// The last item that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: OffsetDateTime,
    pub(crate) id: Uuid,
}

impl CursorKey {
    /// From at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(LABEL);
        Self(mac)
    }

    pub(crate) fn sign(&self, of: Id<Account>, place: Place) -> String {
        let micros = i64::try_from(place.at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
        let mut word = Vec::with_capacity(PLACE_BYTES + MAC_BYTES);
        word.extend(micros.to_be_bytes());
        word.extend(place.id.as_bytes());
        let mac = self.mac(of, &word).finalize().into_bytes();
        word.extend(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(word)
    }

    /// `None`: not one of ours, or not for this list.
    pub(crate) fn read(&self, of: Id<Account>, word: &str) -> Option<Place> {
        let word = URL_SAFE_NO_PAD.decode(word).ok().filter(|word| word.len() == PLACE_BYTES + MAC_BYTES)?;
        let (place, mac) = word.split_at(PLACE_BYTES);
        self.mac(of, place).verify_truncated_left(mac).ok()?;
        let (micros, id) = place.split_at(8);
        let micros = i64::from_be_bytes(micros.try_into().ok()?);
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()?;
        Some(Place { at, id: Uuid::from_slice(id).ok()? })
    }

    fn mac(&self, of: Id<Account>, place: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(of.uuid().as_bytes());
        mac.update(place);
        mac
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_whole_to_its_owner_and_altered_to_nobody() {
        let (key, owner): (_, Id<Account>) = (CursorKey::new(&[7; 32]), Uuid::from_u128(1).into());
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_000).unwrap();
        let place = Place { at, id: Uuid::from_u128(42) };
        let word = key.sign(owner, place);
        assert_eq!(key.read(owner, &word), Some(place));
        assert_eq!(key.read(Uuid::from_u128(2).into(), &word), None);
        assert_eq!(CursorKey::new(&[8; 32]).read(owner, &word), None);
        let bytes = URL_SAFE_NO_PAD.decode(&word).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.read(owner, &URL_SAFE_NO_PAD.encode(altered)), None, "bit {bit}");
        }
    }
}
