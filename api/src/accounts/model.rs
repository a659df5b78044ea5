//! What accounts are made of, and the rule of who is signed in without asking. No I/O.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use front::client_address;
use http::{HeaderMap, header::HOST, uri::Authority};
use schema::{Id, caller::Account};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Bytes of a token and of a session's secret: nobody guesses 2^256.
const SECRET_BYTES: usize = 32;

/// Longest name of an account, as the table has it.
pub(crate) const NAME_MAX: usize = 200;

/// A new token or session, in clear. Shown once; `Debug` doesn't.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An account as the operator lists it.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// Its id.
    pub id: Id<Account>,
    /// Its name.
    pub name: String,
    /// Its role's name.
    pub role: String,
    /// The account that the first start made.
    pub is_owner: bool,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The account's id.
    #[schema(value_type = String)]
    pub(crate) id: Id<Account>,
    /// Its name.
    pub(crate) name: String,
    /// What it may do: listener, creator, label, moderator, admin.
    pub(crate) role: String,
    /// The account that the first start made.
    pub(crate) is_owner: bool,
    /// For a session: what a write must repeat in `X-CSRF-Token`.
    pub(crate) csrf_token: Option<String>,
}

/// A bearer token, to be changed for a session.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// As `millrace token create` or the file `owner-token` told it.
    pub(crate) token: String,
}

/// The same from the sign-in page's form.
#[derive(Deserialize, ToSchema)]
pub(crate) struct LoginForm {
    /// As `millrace token create` or the file `owner-token` told it.
    pub(crate) token: String,
}

/// How a request for the page came to us.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Not in production.
    pub is_development: bool,
    /// The other end of the socket.
    pub peer: IpAddr,
    /// What the request says.
    pub headers: &'a HeaderMap,
}

impl Arrival<'_> {
    /// Is it the owner, on the machine that this runs on?
    ///
    /// A page elsewhere can't make a browser send a loopback `Host` to us by a rebound name, a proxy tells by its
    /// headers, and a request that isn't somebody opening a page has no business with a session.
    pub fn is_owner_at_home(&self) -> bool {
        let mut hosts = self.headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
        let mode = self.headers.get("sec-fetch-mode");
        self.is_development
            && self.peer.to_canonical().is_loopback()
            && !client_address::is_proxied(self.headers)
            && host.is_some_and(is_loopback_name)
            && mode.is_none_or(|mode| mode == "navigate")
    }
}

fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    !host.contains('@') && matches!(authority.host(), "127.0.0.1" | "[::1]" | "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_somebody_who_opens_the_page_on_this_machine_is_at_home() {
        const DEV: bool = true;
        for (is_development, peer, headers, is_at_home) in [
            (DEV, "127.0.0.1", &[("host", "127.0.0.1:8080")][..], true),
            (DEV, "::1", &[("host", "[::1]:8080")], true),
            (DEV, "::ffff:127.0.0.1", &[("host", "localhost")], true),
            (DEV, "127.0.0.1", &[("host", "localhost:8080"), ("sec-fetch-mode", "navigate")], true),
            (!DEV, "127.0.0.1", &[("host", "127.0.0.1:8080")], false),
            (DEV, "192.168.1.7", &[("host", "127.0.0.1:8080")], false),
            (DEV, "127.0.0.1", &[("host", "evil.example:8080")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1.evil.example")], false),
            (DEV, "127.0.0.1", &[("host", "localhost.evil.example:8080")], false),
            (DEV, "127.0.0.1", &[("host", "evil@127.0.0.1")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.2")], false),
            (DEV, "127.0.0.1", &[("host", "")], false),
            (DEV, "127.0.0.1", &[], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1"), ("host", "evil.example")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1"), ("x-forwarded-for", "127.0.0.1")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1"), ("forwarded", "for=127.0.0.1")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1"), ("via", "1.1 proxy")], false),
            (DEV, "127.0.0.1", &[("host", "127.0.0.1"), ("sec-fetch-mode", "no-cors")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let arrival = Arrival { is_development, peer: peer.parse().unwrap(), headers: &map };
            assert_eq!(arrival.is_owner_at_home(), is_at_home, "{is_development} {peer} {headers:?}");
        }
    }

    #[test]
    fn a_secret_doesnt_show_itself_and_is_never_the_same() {
        let (one, two) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!((format!("{one:?}").as_str(), one.reveal().len()), ("Secret", 43));
        assert_ne!(one.reveal(), two.reveal());
    }
}
