//! The token that proves that a write comes from our own page: HMAC of the session's id under the instance's secret.
//!
//! Nothing is stored; a new session has a new token. Only callers by cookie need it: a browser sends cookies by itself,
//! but never an `Authorization` header.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Where a page puts it.
pub const HEADER: &str = "x-csrf-token";

/// Keeps this use of the secret apart from every other.
const LABEL: &[u8] = b"millrace csrf v1";

/// Beside the caller in the extensions of a request by session: what its page must repeat.
#[derive(Clone, Debug)]
pub struct Token(pub String);

/// The instance's secret, ready to use.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// From at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(LABEL);
        Self(mac)
    }

    /// The token of one session.
    pub fn token(&self, session: Uuid) -> String {
        let mut mac = self.0.clone();
        mac.update(session.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// Is `token` this session's? In constant time.
    pub fn holds(&self, session: Uuid, token: &[u8]) -> bool {
        let Ok(sent) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let mut mac = self.0.clone();
        mac.update(session.as_bytes());
        mac.verify_slice(&sent).is_ok()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_session_and_its_instance_only() {
        let (key, session) = (Key::new(&[7; 32]), Uuid::from_u128(1));
        let token = key.token(session);
        assert!(key.holds(session, token.as_bytes()));
        assert!(!key.holds(Uuid::from_u128(2), token.as_bytes()));
        assert!(!Key::new(&[8; 32]).holds(session, token.as_bytes()));
        assert!(!key.holds(session, &token.as_bytes()[..token.len() - 2]) && !key.holds(session, b""));
    }
}
