//! Who is at the other end: the peer of the socket, unless that is a proxy that the operator trusts.
//!
//! `X-Forwarded-For` is read from the right, past trusted proxies, up to the first address that isn't one: what a client
//! writes itself stands further left and is never reached. From an untrusted peer nothing is read at all.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName};

/// The header that proxies append to.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Any of these says that a proxy is in between.
const PROXY_HEADERS: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/// In every request's extensions: the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The proxies whose word counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

/// The text isn't an address or a network such as `10.0.0.0/8`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address and no network such as 10.0.0.0/8")]
pub struct NotANetwork(String);

#[derive(Clone, Copy, Debug)]
struct Network {
    bits: u128,
    prefix: u32,
}

impl TrustedProxies {
    /// Is this one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0.iter().any(|net| (bits ^ net.bits).leading_zeros() >= net.prefix)
    }

    /// The client behind `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return ClientAddress(client);
        }
        let hops = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| {
            let hops: Vec<&str> = value.to_str().unwrap_or("?").split(',').collect();
            hops.into_iter().rev()
        });
        for hop in hops {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            client = hop.to_canonical();
            if !self.contains(client) {
                break;
            }
        }
        ClientAddress(client)
    }
}

/// Did a proxy, trusted or not, pass this request on?
pub fn is_proxied(headers: &HeaderMap) -> bool {
    PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

impl FromStr for TrustedProxies {
    type Err = NotANetwork;

    /// A list with commas; empty for none.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<Network, NotANetwork> {
    let wrong = || NotANetwork(text.to_owned());
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(width), |prefix| prefix.parse::<u32>().map_err(|_| wrong()))?;
    if prefix > width {
        return Err(wrong());
    }
    Ok(Network { bits: bits(address), prefix: 128 - width + prefix })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_peers_word_counts_and_only_its_right_end() {
        let proxies: TrustedProxies = "10.0.0.0/8, 2001:db8::/32, 192.0.2.1".parse().unwrap();
        for (peer, forwarded, client) in [
            ("203.0.113.9", &["1.2.3.4"][..], "203.0.113.9"),
            ("10.1.2.3", &["1.2.3.4"], "1.2.3.4"),
            ("10.1.2.3", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.1.2.3", &["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            ("10.1.2.3", &["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
            ("10.1.2.3", &["1.2.3.4, rubbish"], "10.1.2.3"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("192.0.2.1", &["2001:db8::7, 2001:db9::7"], "2001:db9::7"),
            ("192.0.2.2", &["1.2.3.4"], "192.0.2.2"),
            ("::ffff:10.1.2.3", &["1.2.3.4"], "1.2.3.4"),
            ("10.1.2.3", &["10.0.0.7"], "10.0.0.7"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            let told = proxies.client(peer.parse().unwrap(), &headers);
            assert_eq!(told, ClientAddress(client.parse().unwrap()), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_wrong_list_is_refused() {
        for wrong in ["10.0.0.0/33", "10.0.0", "::/129", "a", "10.0.0.0/x"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
        assert!("".parse::<TrustedProxies>().unwrap().0.is_empty());
    }

    #[test]
    fn without_trust_everybody_is_a_stranger() {
        assert!(!TrustedProxies::default().contains(IpAddr::from([127, 0, 0, 1])));
        let all: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(IpAddr::from([8, 8, 8, 8])) && !all.contains("::1".parse().unwrap()));
    }
}
