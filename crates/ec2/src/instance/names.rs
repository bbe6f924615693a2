//! DNS names that follow from addresses.

use model::Region;
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

/// `ec2-198-18-0-9.compute-1.amazonaws.com`
pub fn public(region: &Region, address: Ipv4Addr) -> String {
    let mut name = dashed("ec2", address);
    name.push('.');
    name.push_str(&region.public_domain());
    name
}
