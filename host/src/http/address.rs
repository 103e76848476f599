//! Addresses that a connector has no business with, and name resolution that never yields one.
//!
//! Invariant: a connection goes to an address that [`Resolver`] (or, for an address written in a URL, the policy) has
//! checked. The name is not resolved a second time between the check and the connection, so a name server that changes
//! its answer in between gains nothing.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use super::policy::Policy;

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Something that knows the addresses of a name.
pub trait Names: Send + Sync + 'static {
    /// Looks a name up.
    fn lookup(&self, name: &str) -> Lookup;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn lookup(&self, name: &str) -> Lookup {
        let name = name.to_owned();
        Box::pin(
            async move { Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.map(|address| address.ip()).collect()) },
        )
    }
}

/// The name leads only to addresses that are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "host {name} leads to {address}, which is {kind}; to allow it, name it: --allow-host {name} (rule private-address)"
)]
pub struct AddressRefused {
    /// The name that was looked up.
    pub name: String,
    /// The first address that was refused.
    pub address: IpAddr,
    /// What kind of address it is, in words.
    pub kind: &'static str,
}

/// Resolves names and leaves out every address that the policy refuses.
#[derive(Clone)]
pub struct Resolver {
    policy: Arc<Policy>,
    names: Arc<dyn Names>,
    /// Hosts of the user's proxies.
    proxies: Vec<String>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Makes a resolver that obeys `policy`.
    pub fn new(policy: Arc<Policy>, names: Arc<dyn Names>) -> Self {
        Self { policy, names, proxies: Vec::new() }
    }

    /// Allows any address to the hosts of proxies. A connector cannot reach them by that: its own requests pass the policy's
    /// list of hosts first.
    #[must_use]
    pub fn with_proxies(mut self, hosts: Vec<String>) -> Self {
        self.proxies = hosts;
        self
    }

    /// Looks up a name and returns the addresses that may be connected to.
    ///
    /// # Errors
    /// [`AddressRefused`] (inside the box) when there are addresses but none may be connected to; else the resolver's own.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = self.names.lookup(name).await?;
        if self.policy.private_granted(name) || self.proxies.iter().any(|host| host == name) {
            return Ok(addresses);
        }
        let mut refused = None;
        let mut open = Vec::with_capacity(addresses.len());
        for address in addresses {
            match special(address) {
                Some(kind) => refused = refused.or(Some((address, kind))),
                None => open.push(address),
            }
        }
        match refused {
            Some((address, kind)) if open.is_empty() => {
                Err(Box::new(AddressRefused { name: name.to_owned(), address, kind }))
            }
            _ => Ok(open),
        }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = Resolver::resolve(&resolver, name.as_str()).await?;
            // Port 0 is replaced by the URL's.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

/// Says what kind of special address this is; none for one of the public internet. The lists are the IANA special-purpose
/// address registries (RFC 6890), and the metadata services of clouds that live outside of them.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "unspecified",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "carrier-internal",
        [169, 254, 169, 254] | [168, 63, 129, 16] => "a cloud's metadata service",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation only",
        [198, 18 | 19, ..] => "for benchmarks only",
        [224..=239, ..] => "multicast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        // IPv4 inside IPv6: mapped (RFC 4291), the well-known NAT64 prefix (RFC 6052), compatible, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return special_v4(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] => return special_v4(v4(high, low)).or(Some("reserved")),
        [0x2002, high, low, ..] => return special_v4(v4(high, low)),
        [0, 0, 0, 0, ..] => "reserved",
        [0x64, 0xff9b, 1, ..] => "a local NAT64 prefix",
        [0x2001, 0, ..] => "a Teredo tunnel",
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => "for documentation only",
        [0x100, 0, 0, 0, ..] => "for discarding only",
        [0xfd00, 0x0ec2, ..] => "a cloud's metadata service",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "private",
        [0xff00..=0xffff, ..] => "multicast",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_the_public_internet_are_special() {
        for (address, kind) in [
            ("0.0.0.0", Some("unspecified")),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.254", Some("loopback")),
            ("10.0.0.1", Some("private")),
            ("172.15.255.255", None),
            ("172.16.0.1", Some("private")),
            ("172.31.0.1", Some("private")),
            ("172.32.0.1", None),
            ("192.168.1.1", Some("private")),
            ("100.64.0.1", Some("carrier-internal")),
            ("100.100.100.200", Some("carrier-internal")),
            ("169.254.169.254", Some("a cloud's metadata service")),
            ("168.63.129.16", Some("a cloud's metadata service")),
            ("169.254.1.1", Some("link-local")),
            ("192.0.0.192", Some("reserved")),
            ("198.19.0.1", Some("for benchmarks only")),
            ("203.0.113.9", Some("for documentation only")),
            ("224.0.0.1", Some("multicast")),
            ("255.255.255.255", Some("reserved")),
            ("140.82.112.5", None),
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::2", Some("unspecified")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:169.254.169.254", Some("a cloud's metadata service")),
            ("::ffff:140.82.112.5", None),
            ("::ffff:0:10.0.0.1", Some("reserved")),
            ("::10.0.0.1", Some("private")),
            ("::8.8.8.8", Some("reserved")),
            ("64:ff9b::10.0.0.1", Some("private")),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b:1::8.8.8.8", Some("a local NAT64 prefix")),
            ("2002:7f00:1::1", Some("loopback")),
            ("2001::1", Some("a Teredo tunnel")),
            ("2001:db8::1", Some("for documentation only")),
            ("fc00::1", Some("private")),
            ("fd00:ec2::254", Some("a cloud's metadata service")),
            ("fe80::1", Some("link-local")),
            ("fec0::1", Some("private")),
            ("ff02::1", Some("multicast")),
            ("2606:4700::1111", None),
        ] {
            assert_eq!(special(address.parse().unwrap()), kind, "{address}");
        }
    }

    struct Fixed(Vec<IpAddr>);

    impl Names for Fixed {
        fn lookup(&self, _name: &str) -> Lookup {
            Box::pin(std::future::ready(Ok(self.0.clone())))
        }
    }

    fn resolver(policy: Policy, addresses: &[&str]) -> Resolver {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Resolver::new(Arc::new(policy), Arc::new(Fixed(addresses)))
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_unless_the_user_named_it() {
        let policy = || Policy::default().described("api.example".parse().unwrap());
        let error = resolver(policy(), &["10.1.2.3"]).resolve("api.example").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "host api.example leads to 10.1.2.3, which is private; to allow it, name it: --allow-host api.example \
             (rule private-address)"
        );
        let named = policy().named("api.example".parse().unwrap());
        assert_eq!(resolver(named, &["10.1.2.3"]).resolve("api.example").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn of_mixed_addresses_only_the_public_ones_are_left() {
        let resolver = resolver(Policy::default(), &["127.0.0.1", "140.82.112.5", "::1"]);
        let open = resolver.resolve("api.example").await.unwrap();
        assert_eq!(open, ["140.82.112.5".parse::<IpAddr>().unwrap()]);
    }
}
