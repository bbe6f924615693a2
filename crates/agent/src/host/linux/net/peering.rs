//! Links between the routers of VPCs that meet, by a peering or a transit gateway, and what peers must know of each other's
//! groups.
//!
//! A link stands while both VPCs ask for it. Who is a member of a group is known in the group's VPC; where rules of a peer
//! refer to the group, its members are copied there whenever either side changes.

use super::State;
use super::nft;
use super::router::Router;
use super::sysctl;
use model::VpcId;
use model::host::PeeringDesired;
use plan::net::names;
use plan::net::transit::{Meeting, meetings};
use std::collections::BTreeSet;
use std::io;

impl State {
    /// Makes the links between a VPC and its peers that stand here, and leads the routes of both sides over them.
    pub(super) fn meet(&mut self, vpc: VpcId) -> io::Result<()> {
        let asked = self.meetings(vpc);
        if let Some((router, _)) = self.vpcs.get_mut(&vpc) {
            router.forget_strangers()?;
        }
        self.part(vpc, &asked)?;
        for meeting in asked {
            // One that this VPC asks for twice, or a peer that is not here, has no link.
            let Some((mut near, services)) = self.vpcs.remove(&vpc) else { return Ok(()) };
            let done = match self.vpcs.get_mut(&meeting.peer) {
                Some((far, _)) => connect(&mut near, far, &meeting),
                None => Ok(()),
            };
            self.vpcs.insert(vpc, (near, services));
            done?;
        }
        self.share(vpc)
    }

    fn meetings(&self, vpc: VpcId) -> Vec<Meeting> {
        let desired = self.vpcs.get(&vpc).and_then(|(router, _)| router.desired.as_ref());
        desired.map(meetings).unwrap_or_default()
    }

    fn peerings(&self, vpc: VpcId) -> Vec<PeeringDesired> {
        let desired = self.vpcs.get(&vpc).and_then(|(router, _)| router.desired.as_ref());
        desired.map(|desired| desired.peerings.clone()).unwrap_or_default()
    }

    /// Brings the members of groups across a VPC's peerings to where rules name them.
    pub(super) fn share(&mut self, vpc: VpcId) -> io::Result<()> {
        let peers: BTreeSet<VpcId> = self.peerings(vpc).into_iter().map(|peering| peering.peer).collect();
        if peers.is_empty() {
            return Ok(());
        }
        for place in std::iter::once(vpc).chain(peers) {
            let around = self.peerings(place);
            let Some((router, _)) = self.vpcs.get(&place) else { continue };
            for (group, known) in router.foreign_groups() {
                let mut members = BTreeSet::new();
                for peering in &around {
                    let Some((far, _)) = self.vpcs.get(&peering.peer) else { continue };
                    let link = nft::link_key(&names::peering_link(peering.peering));
                    let addresses = far.members_of(group.0, group.1).into_iter().flatten();
                    members.extend(addresses.map(|address| [link.clone(), address].concat()));
                }
                if members != known
                    && let Some((router, _)) = self.vpcs.get_mut(&place)
                {
                    router.set_members(group, &members)?;
                }
            }
        }
        Ok(())
    }

    /// A VPC is gone, and with it its ends of links.
    pub(super) fn parted(&mut self, from: VpcId) -> io::Result<()> {
        self.part(from, &[])
    }

    /// Has the peers forget the links that a VPC asks for no more.
    fn part(&mut self, from: VpcId, kept: &[Meeting]) -> io::Result<()> {
        let is_kept = |link: &str| kept.iter().any(|kept| kept.link == link);
        let met: Vec<VpcId> = self.vpcs.keys().copied().collect();
        for vpc in met {
            let theirs: Vec<Meeting> =
                self.meetings(vpc).into_iter().filter(|m| m.peer == from && !is_kept(&m.link)).collect();
            if theirs.is_empty() {
                continue;
            }
            if let Some((router, _)) = self.vpcs.get_mut(&vpc) {
                for meeting in theirs {
                    router.side_links.remove(&meeting.link);
                }
            }
            self.share(vpc)?;
        }
        Ok(())
    }
}

/// The link of one meeting, if the other side asks for it too.
fn connect(near: &mut Router, far: &mut Router, meeting: &Meeting) -> io::Result<()> {
    let name = &meeting.link;
    let asks = |router: &Router| {
        let desired = router.desired.as_ref();
        desired.is_some_and(|vpc| meetings(vpc).iter().any(|other| other.link == *name))
    };
    if !asks(far) {
        return Ok(());
    }
    if near.rtnl.link(name)?.is_none() {
        if let Some(orphan) = far.rtnl.link(name)? {
            far.rtnl.delete_link(orphan.index)?;
        }
        near.rtnl.add_point_to_point(name, name, &far.namespace, meeting.mac)?;
    }
    for router in [near, far] {
        let link = router.rtnl.link(name)?;
        let link = link.ok_or_else(|| io::Error::other("the link to another VPC has vanished"))?;
        router.rtnl.set_up_silent(link.index)?;
        if router.desired.as_ref().is_some_and(|vpc| !vpc.ipv6_cidrs.is_empty()) {
            router.namespace.run(|| sysctl::carry_ipv6(name))?;
        }
        if router.side_links.insert(name.clone(), link.index) != Some(link.index)
            && let Some(vpc) = router.desired.clone()
        {
            router.reconcile_routes(&vpc)?;
        }
    }
    Ok(())
}
