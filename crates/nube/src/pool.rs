//! Which public addresses a new cloud gets: a /22 inside 198.18.0.0/15 that nobody on this host uses.
//!
//! A cloud that is down has no routes but keeps its addresses, and two clouds may be made at the same time; so shares are
//! claimed in a file of the host, one line a cloud. A claim ends with the cloud's directory.
//!
//! 198.18.0.0/15 is set aside for benchmarks (RFC 2544) and routed nowhere, so that it collides with no real network.

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;

/// The whole of it, for clouds that route nothing.
pub const ALL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
const SHARE: u8 = 22;

/// Claims the first share that overlaps no route and no claim for the cloud in this directory.
pub fn claim(claims: &Path, cloud: &Path) -> Result<Ipv4Net> {
    let unusable = || format!("cannot use {}", claims.display());
    if let Some(folder) = claims.parent() {
        fs::create_dir_all(folder).with_context(unusable)?;
    }
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(claims);
    let mut file = file.with_context(unusable)?;
    // Let go of with the file.
    flock(&file, FlockOperation::LockExclusive).with_context(unusable)?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(unusable)?;
    let mut lines = live_claims(&text, cloud, Path::is_dir);
    let mut used: Vec<Ipv4Net> = routes()?.into_iter().map(|(_, route)| route).collect();
    used.extend(lines.iter().map(|(share, _)| *share));
    let share =
        choose(&used).context("every part of 198.18.0.0/15 is in use on this host; name a --public-pool")?;
    lines.push((share, cloud));
    let mut text = String::new();
    for (share, cloud) in lines {
        let _ = writeln!(text, "{share} {}", cloud.display());
    }
    file.set_len(0).with_context(unusable)?;
    file.rewind().with_context(unusable)?;
    file.write_all(text.as_bytes()).with_context(unusable)?;
    Ok(share)
}

/// The share that the next cloud would get.
pub fn free(claims: &Path, routes: &[(String, Ipv4Net)]) -> Option<Ipv4Net> {
    let text = fs::read_to_string(claims).unwrap_or_default();
    let claimed = live_claims(&text, Path::new(""), Path::is_dir).into_iter().map(|(share, _)| share);
    choose(&routes.iter().map(|(_, route)| *route).chain(claimed).collect::<Vec<_>>())
}

/// Where this host's packets go: links and destinations.
pub fn routes() -> Result<Vec<(String, Ipv4Net)>> {
    let table = fs::read_to_string("/proc/net/route").context("cannot read this host's routes")?;
    Ok(parse_routes(&table))
}

/// The claims of other clouds that are still there.
fn live_claims<'a>(
    text: &'a str,
    cloud: &Path,
    is_there: impl Fn(&Path) -> bool,
) -> Vec<(Ipv4Net, &'a Path)> {
    let claims = text.lines().filter_map(|line| {
        let (share, path) = line.split_once(' ')?;
        Some((share.parse().ok()?, Path::new(path)))
    });
    claims.filter(|(_, path)| *path != cloud && is_there(path)).collect()
}

fn choose(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |share: &Ipv4Net, route: &Ipv4Net| share.contains(route) || route.contains(share);
    ALL.subnets(SHARE)
        .ok()?
        .find(|share| !used.iter().any(|route| route.prefix_len() > 0 && overlaps(share, route)))
}

/// The destinations in the kernel's table, whose numbers are hex in network order as a little-endian word.
fn parse_routes(text: &str) -> Vec<(String, Ipv4Net)> {
    let word = |field: &str| u32::from_str_radix(field, 16).ok().map(u32::swap_bytes);
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (destination, mask) = (word(fields.get(1)?)?, word(fields.get(7)?)?);
            let route = Ipv4Net::new(destination.into(), mask.leading_ones() as u8).ok()?;
            Some(((*fields.first()?).to_owned(), route))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cloud_gets_the_next_share() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                     eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n\
                     nb-abc 000012C6 00000000 0001 0 0 0 00FCFFFF 0 0 0\n";
        let routes = parse_routes(table);
        assert_eq!(routes[1].0, "nb-abc");
        let used: Vec<Ipv4Net> = routes.into_iter().map(|(_, route)| route).collect();
        assert_eq!(used[1], "198.18.0.0/22".parse().unwrap());
        assert_eq!(choose(&used), Some("198.18.4.0/22".parse().unwrap()));
    }

    #[test]
    fn a_claim_lasts_as_long_as_the_clouds_directory() {
        let text = "198.18.0.0/22 /gone\n198.18.4.0/22 /there\n198.18.8.0/22 /own\nnonsense\n";
        let live = live_claims(text, Path::new("/own"), |path| path != Path::new("/gone"));
        assert_eq!(live, [("198.18.4.0/22".parse().unwrap(), Path::new("/there"))]);
    }
}
