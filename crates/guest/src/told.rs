//! What a machine that was resumed is told of itself by its configuration, before its first packet.
//!
//! DHCP and the metadata service would say the same, and a login would wait for them. They are asked
//! later, for the lease and for all else. Nothing is there on a machine that boots, or on a host that does not know of this.

use std::fs;
use std::net::Ipv4Addr;

use crate::dhcp::{Lease, Route};

/// Lines of a name, a blank and a value, in blanks.
const FILE: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/nube/identity/raw";

#[derive(Debug, PartialEq)]
pub struct Told {
    pub instance: String,
    /// For ever: it is to be asked for when there is time.
    pub lease: Lease,
    pub host_name: Option<String>,
    pub login_key: Option<String>,
    /// There are none, and none need be asked for.
    pub lacks_user_data: bool,
}

pub fn read() -> Option<Told> {
    parse(&fs::read_to_string(FILE).ok()?)
}

/// None unless all that a start needs is there.
fn parse(text: &str) -> Option<Told> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.trim_end().split_once(' '));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let owned = |name: &str| value(name).map(str::to_owned);
    let (address, prefix) = value("address")?.split_once('/')?;
    let router: Ipv4Addr = value("router")?.parse().ok()?;
    Some(Told {
        instance: owned("instance")?,
        lease: Lease {
            address: address.parse().ok()?,
            prefix: prefix.parse().ok().filter(|prefix| *prefix <= 32)?,
            server: router,
            routes: vec![Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: router }],
            mtu: value("mtu").and_then(|mtu| mtu.parse().ok()),
            dns: value("resolver").and_then(|resolver| resolver.parse().ok()).into_iter().collect(),
            domain: owned("domain"),
            hostname: None,
            duration: None,
            renew_after: None,
            rebind_after: None,
        },
        host_name: owned("host"),
        login_key: owned("key"),
        lacks_user_data: value("user-data") == Some("none"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "instance i-1\naddress 10.0.0.16/20\nrouter 10.0.0.1\nmtu 1500\nresolver 10.0.0.2\n\
                        domain ec2.internal\nhost ip-10-0-0-16.ec2.internal\nlater something\nkey ssh-rsa AAAA me\n\
                        user-data none\n    ";

    #[test]
    fn an_instance_knows_its_address_its_name_and_who_may_log_in() {
        let told = parse(TEXT).unwrap();
        assert_eq!((&*told.instance, told.lease.prefix), ("i-1", 20));
        assert_eq!(told.lease.address, Ipv4Addr::new(10, 0, 0, 16));
        assert_eq!(told.lease.routes[0].gateway, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!((told.lease.mtu, told.lease.dns.len()), (Some(1500), 1));
        assert_eq!(told.host_name.as_deref(), Some("ip-10-0-0-16.ec2.internal"));
        assert_eq!(told.login_key.as_deref(), Some("ssh-rsa AAAA me"));
        assert_eq!(told.lease.renew_after(), None);
        assert!(told.lacks_user_data);
    }

    #[test]
    fn what_is_optional_may_lack_and_half_of_it_is_none() {
        let few = parse("instance i-1\naddress 10.0.0.16/20\nrouter 10.0.0.1\n").unwrap();
        assert_eq!((few.login_key, few.lease.domain, few.lacks_user_data), (None, None, false));
        for text in [
            "",
            "   ",
            "instance i-1\nrouter 10.0.0.1",
            "instance i-1\naddress 10.0.0.16/40\nrouter 10.0.0.1",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
