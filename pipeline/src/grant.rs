//! Grants: a signed permission as one path element, so that playlists stay static and relative URLs inherit it.
//!
//! ```text
//! base64url( version u8 · key u8 · open-until u32 · use-until u32 · scope u8 · top rung u8 · generation u32 · subject 8 · MAC 16 )
//! ```
//! 40 bytes, 54 characters, big-endian. MAC: the first 128 bits of HMAC-SHA-256 over a label, the fields and the track's id
//! (RFC 2104, section 5, allows the cut). The track is in the path and not in the grant, so a foreign track fails the MAC.
//! A release, whose id its uploader chose, has a label of its own and its owner beside it: it is never taken for a track.
//! Two times: `open_until` rules the way in, `use_until` what lies below, so a session outlives its entry URL.
//! Promise: nothing but the MAC's verdict is told before it holds; the comparison takes the same time for every MAC.
//! Absent:  I/O, clocks and decisions. Who may have a grant is `api`'s; whether its generation is current is the row's.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use schema::{Id, track::Track};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The layout above.
const VERSION: u8 = 1;
/// Bytes before the MAC.
const FIELDS: usize = 24;
/// Bytes of the MAC: 2^128 guesses at one per request.
const MAC: usize = 16;
/// Keeps this MAC apart from any other made with the same key.
const LABEL: &[u8] = b"millrace media grant v1\0";
/// And this one apart from a track's.
const RELEASE_LABEL: &[u8] = b"millrace release grant v1\0";
/// Characters of a grant.
pub const GRANT_CHARS: usize = (FIELDS + MAC) * 4 / 3 + 1;

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(u8);

impl Scope {
    /// Playlists, inits and segments.
    pub const PLAY: Self = Self(1);
    /// Files to keep.
    pub const DOWNLOAD: Self = Self(2);
    /// Also before the bytes are verified: the uploader's.
    pub const UNVERIFIED: Self = Self(4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of `other` is in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a grant is bound to; it is in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// One track.
    Track(Id<Track>),
    /// The tracks of one account that say that they belong to a release.
    Release {
        /// Whose.
        owner: Uuid,
        /// Which.
        release: Uuid,
    },
}

impl From<Id<Track>> for Bound {
    fn from(track: Id<Track>) -> Self {
        Self::Track(track)
    }
}

/// A permission. Times are seconds of the Unix epoch; the last second is not included any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Until when the multivariant playlist opens.
    pub open_until: u32,
    /// Until when everything below it does.
    pub use_until: u32,
    /// What for.
    pub scope: Scope,
    /// The highest rung.
    pub top_rung: u8,
    /// Void when the track's is another: revocation.
    pub generation: u32,
    /// For whom, as far as logs go.
    pub subject: [u8; 8],
}

/// What is asked of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The way in.
    Open,
    /// What lies below: a rung of it.
    Use {
        /// Which.
        rung: u8,
    },
}

/// Why a grant doesn't hold. All of them are 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not ours, tampered with, of another track, or of a key that is gone.
    #[error("the link isn't valid")]
    Forged,
    /// It was ours.
    #[error("the link has expired")]
    Expired,
    /// It was ours, for something else.
    #[error("the link doesn't allow this")]
    Beyond,
}

/// The keys of an instance. The first signs; all verify.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<(u8, Hmac<Sha256>)>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl Keys {
    /// Keys by id: the one that signs, and one that still verifies while it is being replaced.
    pub fn new((id, secret): (u8, &[u8; 32]), old: Option<(u8, &[u8; 32])>) -> Self {
        let prepared = |(id, secret): (u8, &[u8; 32])| {
            (id, Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length"))
        };
        Self { keys: std::iter::once((id, secret)).chain(old).map(prepared).collect() }
    }

    /// The path element for `grant` on a track or a release.
    pub fn mint(&self, bound: impl Into<Bound>, grant: &Grant) -> String {
        let (id, key) = &self.keys[0];
        let fields = grant.fields(*id);
        let mut bytes = [0; FIELDS + MAC];
        bytes[..FIELDS].copy_from_slice(&fields);
        bytes[FIELDS..].copy_from_slice(&mac(key, &fields, bound.into()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The grant behind a path element, if it holds for what it is bound to at `now` (Unix seconds) for `ask` in `scope`.
    ///
    /// # Errors
    /// [`GrantError`]. Before the MAC holds, everything is `Forged`.
    pub fn verify(
        &self,
        text: &str,
        bound: impl Into<Bound>,
        now: u64,
        ask: Ask,
        scope: Scope,
    ) -> Result<Grant, GrantError> {
        if text.len() != GRANT_CHARS {
            return Err(GrantError::Forged);
        }
        let bytes: [u8; FIELDS + MAC] =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|b| b.try_into().ok()).ok_or(GrantError::Forged)?;
        let (fields, told) = bytes.split_at(FIELDS);
        let (version, key) = (fields[0], fields[1]);
        let (_, key) = self.keys.iter().find(|(id, _)| version == VERSION && *id == key).ok_or(GrantError::Forged)?;
        if !bool::from(mac(key, fields, bound.into()).ct_eq(told)) {
            return Err(GrantError::Forged);
        }
        let grant = Grant::read(fields);
        let until = match ask {
            Ask::Open => grant.open_until,
            Ask::Use { .. } => grant.use_until,
        };
        if now >= u64::from(until) {
            return Err(GrantError::Expired);
        }
        let within = match ask {
            Ask::Open => true,
            Ask::Use { rung } => rung <= grant.top_rung,
        };
        if !grant.scope.has(scope) || !within {
            return Err(GrantError::Beyond);
        }
        Ok(grant)
    }
}

impl Grant {
    fn fields(&self, key: u8) -> [u8; FIELDS] {
        let mut f = [0; FIELDS];
        f[0] = VERSION;
        f[1] = key;
        f[2..6].copy_from_slice(&self.open_until.to_be_bytes());
        f[6..10].copy_from_slice(&self.use_until.to_be_bytes());
        f[10] = self.scope.0;
        f[11] = self.top_rung;
        f[12..16].copy_from_slice(&self.generation.to_be_bytes());
        f[16..24].copy_from_slice(&self.subject);
        f
    }

    fn read(f: &[u8]) -> Self {
        let u32_at = |at: usize| u32::from_be_bytes([f[at], f[at + 1], f[at + 2], f[at + 3]]);
        let mut subject = [0; 8];
        subject.copy_from_slice(&f[16..24]);
        Self {
            open_until: u32_at(2),
            use_until: u32_at(6),
            scope: Scope(f[10]),
            top_rung: f[11],
            generation: u32_at(12),
            subject,
        }
    }
}

fn mac(key: &Hmac<Sha256>, fields: &[u8], bound: Bound) -> [u8; MAC] {
    let mut mac = key.clone();
    mac.update(match bound {
        Bound::Track(_) => LABEL,
        Bound::Release { .. } => RELEASE_LABEL,
    });
    mac.update(fields);
    match bound {
        Bound::Track(track) => mac.update(track.uuid().as_bytes()),
        Bound::Release { owner, release } => {
            mac.update(owner.as_bytes());
            mac.update(release.as_bytes());
        }
    }
    let whole = mac.finalize().into_bytes();
    let mut cut = [0; MAC];
    cut.copy_from_slice(&whole[..MAC]);
    cut
}

/// A grant as logs may show it: without its MAC.
pub fn without_mac(text: &str) -> &str {
    text.get(..FIELDS * 4 / 3).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new((2, &[2; 32]), Some((1, &[1; 32])))
    }

    fn track(n: u128) -> Id<Track> {
        Uuid::from_u128(n).into()
    }

    fn grant() -> Grant {
        Grant { open_until: 900, use_until: 3600, scope: Scope::PLAY, top_rung: 3, generation: 7, subject: [9; 8] }
    }

    #[test]
    fn it_holds_until_its_last_second() {
        // URL-1: 900 s holds to 899, refused from 900; the session below goes on.
        let text = keys().mint(track(1), &grant());
        assert_eq!(text.len(), GRANT_CHARS);
        let ask = |now, ask| keys().verify(&text, track(1), now, ask, Scope::PLAY);
        assert_eq!(ask(899, Ask::Open), Ok(grant()));
        assert_eq!(ask(900, Ask::Open), Err(GrantError::Expired));
        assert_eq!(ask(901, Ask::Use { rung: 3 }), Ok(grant()));
        assert_eq!(ask(3600, Ask::Use { rung: 0 }), Err(GrantError::Expired));
        assert_eq!(ask(0, Ask::Use { rung: 4 }), Err(GrantError::Beyond));
    }

    #[test]
    fn foreign_tracks_scopes_and_keys_are_refused() {
        let text = keys().mint(track(1), &grant());
        let verify = |keys: &Keys, t, scope| keys.verify(&text, track(t), 0, Ask::Open, scope);
        assert_eq!(verify(&keys(), 2, Scope::PLAY), Err(GrantError::Forged));
        assert_eq!(verify(&keys(), 1, Scope::DOWNLOAD), Err(GrantError::Beyond));
        assert_eq!(verify(&keys(), 1, Scope::PLAY.and(Scope::UNVERIFIED)), Err(GrantError::Beyond));
        let rotated = Keys::new((3, &[3; 32]), Some((2, &[2; 32])));
        assert_eq!(verify(&rotated, 1, Scope::PLAY), Ok(grant()), "the old key still verifies");
        let gone = Keys::new((4, &[4; 32]), Some((3, &[3; 32])));
        assert_eq!(verify(&gone, 1, Scope::PLAY), Err(GrantError::Forged));
        assert!(!without_mac(&text).is_empty() && text.starts_with(without_mac(&text)));
    }

    #[test]
    fn a_release_is_never_a_track_nor_another_owner_s() {
        // Whoever uploads chooses the release's id: it may be that of somebody's track.
        let (owner, release) = (Uuid::from_u128(5), Uuid::from_u128(1));
        let text = keys().mint(Bound::Release { owner, release }, &grant());
        let verify = |bound: Bound| keys().verify(&text, bound, 0, Ask::Open, Scope::PLAY);
        assert_eq!(verify(Bound::Release { owner, release }), Ok(grant()));
        assert_eq!(verify(track(1).into()), Err(GrantError::Forged));
        assert_eq!(verify(Bound::Release { owner: release, release: owner }), Err(GrantError::Forged));
        assert_eq!(verify(Bound::Release { owner: Uuid::from_u128(6), release }), Err(GrantError::Forged));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = URL_SAFE_NO_PAD.decode(keys().mint(track(1), &grant())).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let text = URL_SAFE_NO_PAD.encode(flipped);
            let answer = keys().verify(&text, track(1), 0, Ask::Open, Scope::PLAY);
            assert_eq!(answer, Err(GrantError::Forged), "bit {bit}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn nothing_made_up_is_accepted(text in "[A-Za-z0-9_-]{50,58}", now: u64) {
            prop_assert_eq!(keys().verify(&text, track(1), now, Ask::Open, Scope::PLAY), Err(GrantError::Forged));
        }
    }
}
