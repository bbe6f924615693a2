//! Whether this host's kernel can do what networks need: tried in a namespace that is thrown away, and looked at where
//! nothing may be touched.

use super::netlink::{CREATE, EXCL, Message, Socket};
use super::nft::{Family, Nft, load};
use super::rtnl::Rtnl;
use super::{bpf, sysctl, tap};
use crate::host::linux::netns::{self, Namespace};
use model::Mac;
use std::io;

/// The name of the namespace. No cloud's begins so.
const NAMESPACE: &str = "nubedoctor";
/// The hook that forwarded packets pass.
const FORWARD: u32 = 2;

/// One thing that the kernel was asked to do.
#[derive(Debug)]
pub struct Trial {
    pub feature: &'static str,
    pub purpose: &'static str,
    pub outcome: io::Result<()>,
}

/// Tries each feature. Needs root.
pub fn run() -> io::Result<Vec<Trial>> {
    let name = format!("{NAMESPACE}-{}", std::process::id());
    let namespace = Namespace::create(&name)?;
    let trials = namespace.run(|| {
        let trial = |feature, purpose, outcome| Trial { feature, purpose, outcome };
        Ok(vec![
            trial("tun", "the link of each machine", tap::create("try-tap", None).map(drop)),
            trial("veth", "the links between networks", veth()),
            trial("nf_tables", "security groups and network ACLs", load(FILTER)),
            trial("nf_nat", "public addresses", load(NAT)),
            trial(
                "bpf",
                "bandwidth of instances",
                bpf::Programs::open(None).and_then(|(programs, _)| programs.attach(&mut Rtnl::open()?, 1)),
            ),
            trial("ip_forward", "routing", sysctl::router()),
            trial("vxlan", "networks across hosts, which are still to come", vxlan()),
        ])
    });
    netns::remove(&name)?;
    trials
}

const FILTER: &str = "table inet nube_try {\n set s { typeof ip saddr . tcp dport\n flags interval\n }\n \
                      chain c { type filter hook forward priority 0; policy drop; ct state established accept\n \
                      ip saddr . tcp dport @s accept\n }\n}\n";
const NAT: &str =
    "table ip nube_try_nat {\n chain c { type nat hook postrouting priority 100; masquerade\n }\n}\n";

fn veth() -> io::Result<()> {
    let here = Namespace::current()?;
    Rtnl::open()?.add_point_to_point("try-a", "try-b", &here, Mac([2, 0, 0, 0, 0, 1]))
}

fn vxlan() -> io::Result<()> {
    const ID: u16 = 1;
    let mut message = Message::new(libc::RTM_NEWLINK, CREATE | EXCL, &[0; 16]);
    message.text(libc::IFLA_IFNAME, "try-vx").nest(libc::IFLA_LINKINFO, |info| {
        info.text(libc::IFLA_INFO_KIND, "vxlan").nest(libc::IFLA_INFO_DATA, |data| {
            data.u32(ID, 4_242);
        });
    });
    Socket::route()?.request(message)
}

/// The filters of others that drop forwarded packets unless told otherwise, as `family table chain`.
pub fn foreign_filters() -> io::Result<Vec<String>> {
    let mut nft = Nft::open()?;
    let mut found = Vec::new();
    for family in [Family::Ip, Family::Ip6, Family::Inet] {
        for chain in nft.base_chains(family)? {
            let ours = chain.table.starts_with("nube_");
            if !ours && chain.hook == FORWARD && chain.kind == "filter" && chain.drops {
                found.push(format!("{} {} {}", family.as_str(), chain.table, chain.name));
            }
        }
    }
    Ok(found)
}
