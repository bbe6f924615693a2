//! DNS names that follow from addresses.

use model::Region;
use std::net::Ipv4Addr;

fn dashed(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{a}-{b}-{c}-{d}")
}

/// `ip-172-31-0-5`
pub fn hostname(address: Ipv4Addr) -> String {
    format!("ip-{}", dashed(address))
}

/// `ip-172-31-0-5.ec2.internal`
pub fn private(region: &Region, address: Ipv4Addr) -> String {
    format!("{}.{}", hostname(address), region.internal_domain())
}

/// `ec2-198-18-0-9.compute-1.amazonaws.com`
pub fn public(region: &Region, address: Ipv4Addr) -> String {
    format!("ec2-{}.{}", dashed(address), region.public_domain())
}
