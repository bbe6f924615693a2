//! Kernel settings of a namespace, written from inside it.

use std::io;

/// What every router needs: forwarding, no opinion on where packets come from (the rule set has one), IPv6 only on
/// links that are told so.
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
    // Of a flow that goes past the rule set the kernel sees a packet now and then: it cannot know what is in the window.
    quietly("net/netfilter/nf_conntrack_tcp_be_liberal", "1")?;
    // A host without IPv6 has no such settings. Links are made without it, know no address but those that they are given,
    // and take no part in what hosts do (no router is listened to, nothing is learned from a guest).
    for (key, value) in [
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        ("net/ipv6/conf/default/addr_gen_mode", "1"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_ra", "0"),
        ("net/ipv6/conf/default/accept_redirects", "0"),
        ("net/ipv6/conf/all/accept_redirects", "0"),
        ("net/ipv6/conf/lo/disable_ipv6", "0"),
        ("net/ipv6/icmp/ratelimit", "0"),
        // The services' own addresses come and go with the VPC's blocks; their sockets stay.
        ("net/ipv6/ip_nonlocal_bind", "1"),
        ("net/ipv6/bindv6only", "1"),
    ] {
        quietly(key, value)?;
    }
    // Errors such as "fragmentation needed" go to guests that wait for them; the kernel's limit is for whole hosts. Newer
    // kernels keep this one setting for the first namespace alone.
    quietly("net/ipv4/icmp_ratelimit", "0")
}

/// What an endpoint's namespace needs: nothing goes through it, and nothing but its listeners answers. `ipv6` is the link that
/// has IPv6 addresses, if any; none are learned there.
pub fn endpoint(ipv6: Option<&str>) -> io::Result<()> {
    set("net/ipv4/ip_forward", "0")?;
    quiet()?;
    let Some(link) = ipv6 else { return quietly("net/ipv6/conf/all/disable_ipv6", "1") };
    for key in ["accept_dad", "accept_ra", "accept_redirects"] {
        set(&format!("net/ipv6/conf/{link}/{key}"), "0")?;
    }
    for key in ["forwarding", "disable_ipv6"] {
        set(&format!("net/ipv6/conf/all/{key}"), "0")?;
    }
    quietly("net/ipv6/icmp/echo_ignore_all", "1")
}

/// What the namespaces between an endpoint and a service need: what their rules let through goes through.
pub fn service() -> io::Result<()> {
    set("net/ipv4/ip_forward", "1")?;
    set("net/ipv4/conf/all/send_redirects", "0")?;
    quiet()?;
    quietly("net/ipv6/conf/all/disable_ipv6", "1")
}

fn quiet() -> io::Result<()> {
    for (key, value) in [
        ("net/ipv4/icmp_echo_ignore_all", "1"),
        ("net/ipv4/conf/all/accept_redirects", "0"),
        ("net/ipv4/conf/all/accept_source_route", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
    ] {
        set(key, value)?;
    }
    Ok(())
}

/// Whether connections that begin from now on are counted.
pub fn count_connections(wanted: bool) -> io::Result<()> {
    quietly("net/netfilter/nf_conntrack_acct", if wanted { "1" } else { "0" })
}

/// Whether the kernel has IPv6 at all.
pub fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

/// Lets nothing of IPv4 through that comes by a port.
pub fn stop_ipv4(link: &str) -> io::Result<()> {
    set(&format!("net/ipv4/conf/{link}/forwarding"), "0")
}

/// Lets a link of a router carry IPv6.
pub fn carry_ipv6(link: &str) -> io::Result<()> {
    set(&format!("net/ipv6/conf/{link}/disable_ipv6"), "0")
}

/// Takes it from a port again.
pub fn stop_ipv6(link: &str) -> io::Result<()> {
    quietly(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")
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
