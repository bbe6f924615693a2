//! Kernel settings of a namespace, written from inside it.

use std::io;

/// What every router needs: forwarding, no opinion on where packets come from (the rule set has one), no IPv6 yet.
pub fn router() -> io::Result<()> {
    for (key, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv4/conf/all/accept_redirects", "0"),
        ("net/ipv4/conf/default/accept_redirects", "0"),
        ("net/ipv4/conf/all/accept_source_route", "0"),
    ] {
        set(key, value)?;
    }
    // A host without IPv6 has no such settings, and nothing to turn off.
    for key in ["net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6"] {
        quietly(key, "1")?;
    }
    // Errors such as "fragmentation needed" go to guests that wait for them; the kernel's limit is for whole hosts. Newer
    // kernels keep this one setting for the first namespace alone.
    quietly("net/ipv4/icmp_ratelimit", "0")
}

/// What a port needs: its router answers for all neighbours, at once.
pub fn port(tap: &str) -> io::Result<()> {
    set(&format!("net/ipv4/conf/{tap}/proxy_arp"), "1")?;
    set(&format!("net/ipv4/conf/{tap}/rp_filter"), "0")?;
    set(&format!("net/ipv4/conf/{tap}/send_redirects"), "0")?;
    set(&format!("net/ipv4/neigh/{tap}/proxy_delay"), "0")
}

pub fn get(key: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/sys/{key}"))?.trim().to_owned())
}

pub fn set(key: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/{key}"), value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {key} to {value}: {error}")))
}

pub fn quietly(key: &str, value: &str) -> io::Result<()> {
    match set(key, value) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(())
        }
        done => done,
    }
}
