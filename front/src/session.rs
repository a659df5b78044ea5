//! The session cookie: its name, how it is set and found. What it opens is a row of `sessions`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// How this instance's cookies look.
#[derive(Clone, Copy, Debug)]
pub struct Cookies {
    /// The pages are reached by https: then the browser is bound to this host and to encryption.
    pub secure: bool,
}

impl Cookies {
    /// `__Host-` can't be set by a neighbour under the same domain, but browsers take it with https only.
    pub fn name(self) -> &'static str {
        if self.secure { "__Host-millrace_session" } else { "millrace_session" }
    }

    /// The `Set-Cookie` that opens a session. `secret` is made by us: base64url or hex.
    pub fn open(self, secret: &str, lives: Duration) -> HeaderValue {
        self.set(secret, lives)
    }

    /// The `Set-Cookie` that forgets it.
    pub fn close(self) -> HeaderValue {
        self.set("", Duration::ZERO)
    }

    /// The secret that a request brings. A second cookie of the name is somebody's trick: then there is none.
    pub fn secret(self, headers: &HeaderMap) -> Option<&str> {
        let mut found = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, secret)| secret);
        let secret = found.next()?;
        (found.next().is_none() && !secret.is_empty()).then_some(secret)
    }

    fn set(self, secret: &str, lives: Duration) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie =
            format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", self.name(), lives.as_secs());
        HeaderValue::try_from(cookie).expect("our secrets are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_never_doubled() {
        let cookies = Cookies { secure: false };
        for (sent, found) in [
            (&["a=b; millrace_session=s1; c=d"][..], Some("s1")),
            (&["a=b", "millrace_session=s1"], Some("s1")),
            (&["millrace_session=s1; millrace_session=s2"], None),
            (&["xmillrace_session=s1; millrace_session="], None),
            (&["__Host-millrace_session=s1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(COOKIE, value.parse().unwrap());
            }
            assert_eq!(cookies.secret(&headers), found, "{sent:?}");
        }
    }

    #[test]
    fn with_https_the_cookie_is_bound_to_host_and_encryption() {
        let set = Cookies { secure: true }.open("s", Duration::from_secs(60));
        assert_eq!(
            set.to_str().unwrap(),
            "__Host-millrace_session=s; Path=/; HttpOnly; SameSite=Strict; Max-Age=60; Secure"
        );
    }
}
