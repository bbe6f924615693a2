//! DNS names: those that follow from addresses, and those of who has no IPv4 address, by their instance.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-naming.html>

use model::Region;
use model::record::network_interface::NetworkInterface;
use std::net::Ipv4Addr;

/// Several of these are in every instance that is shown, hence without the formatting machinery.
fn dashed(prefix: &str, address: Ipv4Addr) -> String {
    let mut text = String::with_capacity(64);
    text.push_str(prefix);
    for octet in address.octets() {
        text.push('-');
        for place in [100, 10, 1] {
            if octet >= place || place == 1 {
                text.push(char::from(b'0' + octet / place % 10));
            }
        }
    }
    text
}

/// `ip-172-31-0-5`
pub fn hostname(address: Ipv4Addr) -> String {
    dashed("ip", address)
}

/// `ip-172-31-0-5.ec2.internal`
pub fn private(region: &Region, address: Ipv4Addr) -> String {
    let mut name = hostname(address);
    name.push('.');
    name.push_str(&region.internal_domain());
    name
}

/// An interface's name without its domain: by its primary address; by its instance, `i-…`, where it has IPv6 alone.
pub fn host_of(interface: &NetworkInterface) -> Option<String> {
    let by_address = interface.primary().map(|primary| hostname(primary.address));
    by_address.or_else(|| Some(interface.attachment.as_ref()?.instance.to_string()))
}

/// The same with it: `i-0123456789abcdef0.ec2.internal`.
pub fn private_of(interface: &NetworkInterface) -> Option<String> {
    let region = &interface.zone.region;
    host_of(interface).map(|host| format!("{host}.{}", region.internal_domain()))
}

/// `ec2-198-18-0-9.compute-1.amazonaws.com`
pub fn public(region: &Region, address: Ipv4Addr) -> String {
    let mut name = dashed("ec2", address);
    name.push('.');
    name.push_str(&region.public_domain());
    name
}
