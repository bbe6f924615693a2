//! What flows have carried, by log and window.
//!
//! Counters only grow while their flow is known, so what is new is a difference to what was seen last. Both are kept
//! together with what open windows have gathered: whoever stores a book and reads it again counts nothing twice.
//! A tracked flow is seen by the interfaces at both of its ends, if they are of the VPC. What a receiver's gate or border
//! refuses, the sender's has let pass.

use super::text::{self, Written};
use crate::net::{SERVICES, gateway, ipv6, resolver};
use ipnet::Ipv4Net;
use model::flow_log::{FlowLogDesired, Kept, Scope};
use model::host::VpcDesired;
use model::record::security_group::Direction;
use model::{AccountId, FlowLogId, InstanceId, NetworkInterfaceId, Region, SubnetId, VpcId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

const TCP: u8 = 6;
/// `TCP_CONNTRACK_FIN_WAIT` to `TCP_CONNTRACK_TIME_WAIT`, and `TCP_CONNTRACK_CLOSE`.
const FINISHING: std::ops::RangeInclusive<u8> = 4..=7;
const RESET: u8 = 8;
/// The bit of a reset in records; a FIN is 1, a SYN 2, a SYN with an ACK 18.
const RST: u8 = 4;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl Count {
    /// What came since `earlier`; a counter that began anew counts whole.
    fn since(self, earlier: Self) -> Self {
        if self.packets < earlier.packets || self.bytes < earlier.bytes {
            return self;
        }
        Self { packets: self.packets - earlier.packets, bytes: self.bytes - earlier.bytes }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(other.packets),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    const fn is_nothing(self) -> bool {
        self.packets == 0
    }
}

/// Who speaks to whom; ports are 0 where the protocol has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub src_port: u16,
    pub dst_port: u16,
}

impl Tuple {
    const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            protocol: self.protocol,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }
}

/// A flow that a router tracks, with all that it has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracked {
    /// The kernel's name for it.
    pub id: u32,
    pub original: Tuple,
    /// What its answers look like; differs from the original's reverse by what is translated.
    pub reply: Tuple,
    pub forth: Count,
    pub back: Count,
    /// The kernel's state of a TCP connection.
    pub state: Option<u8>,
}

/// Packets that a gate or a border refused, with how many so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    pub tuple: Tuple,
    /// The sender's (egress) or the receiver's.
    pub gate: Direction,
    pub count: Count,
}

/// An interface of the VPC that the host carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub interface: NetworkInterfaceId,
    pub subnet: SubnetId,
    pub instance: Option<InstanceId>,
    /// The primary ones of both versions first among theirs.
    pub addresses: Vec<IpAddr>,
    /// Of /80: what lies in them is its own too.
    #[serde(default)]
    pub prefixes: Vec<ipnet::Ipv6Net>,
    /// Whether it leaves by the internet gateway in its own name.
    pub public: bool,
}

impl Port {
    /// As records call it: by its primary address of that version.
    pub(super) fn primary(&self, of: IpAddr) -> IpAddr {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == of.is_ipv4()).unwrap_or(of)
    }
}

/// What a router has counted.
#[derive(Debug)]
pub struct Observation<'a> {
    pub vpc: &'a VpcDesired,
    pub ports: Vec<Port>,
    pub tracked: Vec<Tracked>,
    pub rejected: Vec<Rejected>,
}

/// One record's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Flow {
    pub interface: NetworkInterfaceId,
    pub tuple: Tuple,
    pub egress: bool,
    pub accepted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub count: Count,
    pub start: i64,
    pub end: i64,
    pub flags: u8,
}

/// What a log has gathered in its present window.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Open {
    pub log: FlowLogDesired,
    pub facts: Facts,
    /// When it began, in seconds since 1970.
    pub window: i64,
    #[serde(with = "pairs")]
    pub flows: BTreeMap<Flow, Tally>,
    /// Every interface that it was about.
    #[serde(with = "pairs")]
    pub ports: BTreeMap<NetworkInterfaceId, Port>,
    /// The log or its VPC is gone: what was gathered is written at once.
    #[serde(default)]
    pub ended: bool,
}

/// What records tell of a VPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    pub vpc: VpcId,
    pub account: AccountId,
    pub region: Region,
    pub cidrs: Vec<ipnet::IpNet>,
    pub peers: Vec<ipnet::IpNet>,
    /// What transit gateways lead on.
    #[serde(default)]
    pub beyond: Vec<ipnet::IpNet>,
    /// What VPN connections lead to.
    #[serde(default)]
    pub customers: Vec<ipnet::IpNet>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    #[serde(with = "pairs")]
    tracked: BTreeMap<(u32, Tuple), (Count, Count, u8)>,
    #[serde(with = "pairs")]
    rejected: BTreeMap<(Tuple, bool), Count>,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    #[serde(with = "pairs")]
    seen: BTreeMap<VpcId, Seen>,
    #[serde(with = "pairs")]
    open: BTreeMap<FlowLogId, Open>,
    /// When it was told last.
    last: Option<i64>,
}

/// What one interface has seen of a flow since the last time.
struct Part {
    flow: Flow,
    count: Count,
    flags: u8,
}

impl Book {
    /// Takes in what a VPC's router has counted by `now` (seconds since 1970). What was there before the first log of the
    /// VPC is not counted.
    pub fn observe(&mut self, now: i64, observation: &Observation<'_>) {
        let vpc = observation.vpc;
        let known = self.seen.contains_key(&vpc.vpc);
        let last = (*self.last.get_or_insert(now)).min(now);
        let parts = self.seen.entry(vpc.vpc).or_default().parts(observation);
        let wanted: BTreeSet<FlowLogId> = vpc.flow_logs.iter().map(|log| log.log).collect();
        for (_, open) in
            self.open.iter_mut().filter(|(id, open)| open.facts.vpc == vpc.vpc && !wanted.contains(*id))
        {
            open.ended = true;
        }
        for log in &vpc.flow_logs {
            let facts = Facts::of(vpc);
            let interval = i64::from(log.interval.max(1));
            let window = now - now.rem_euclid(interval);
            let fresh = || Open {
                log: log.clone(),
                facts: facts.clone(),
                window,
                flows: BTreeMap::new(),
                ports: BTreeMap::new(),
                ended: false,
            };
            let open = self.open.entry(log.log).or_insert_with(fresh);
            open.ended = false;
            open.log = log.clone();
            open.facts = facts.clone();
            open.note_ports(&observation.ports);
            if known {
                open.gather(&parts, last, now);
            }
        }
    }

    /// Says that all VPCs that are known to have logs were observed.
    pub fn observed(&mut self, now: i64) {
        self.last = Some(now);
    }

    /// Says that a VPC has no log any more.
    pub fn end(&mut self, vpc: VpcId) {
        self.seen.remove(&vpc);
        for open in self.open.values_mut().filter(|open| open.facts.vpc == vpc) {
            open.ended = true;
        }
    }

    /// Whether a VPC with a log was observed before.
    pub fn knows(&self, vpc: VpcId) -> bool {
        self.seen.contains_key(&vpc)
    }

    /// Whether it is about nothing.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.open.is_empty()
    }

    /// The files of the windows that are over by `now`.
    pub fn close(&mut self, now: i64) -> Vec<Written> {
        let mut files = Vec::new();
        for open in self.open.values_mut() {
            let interval = i64::from(open.log.interval.max(1));
            if now < open.window + interval && !open.ended {
                continue;
            }
            files.extend(text::file(open));
            open.flows.clear();
            open.ports.clear();
            open.window = now - now.rem_euclid(interval);
        }
        self.open.retain(|_, open| !open.ended);
        files
    }
}

impl Facts {
    fn of(vpc: &VpcDesired) -> Self {
        let v6 = vpc.peerings.iter().flat_map(|peering| &peering.ipv6_cidrs);
        let peers = vpc.peerings.iter().flat_map(|peering| &peering.cidrs).map(|cidr| (*cidr).into());
        let beyond = vpc.transits.iter().flat_map(|transit| &transit.routes);
        let beyond = beyond.filter(|route| route.to.is_some() && route.destination.prefix_len() > 0);
        Self {
            vpc: vpc.vpc,
            account: vpc.account,
            region: vpc.region.clone(),
            cidrs: crate::net::routes::locals(vpc).collect(),
            peers: peers.chain(v6.map(|cidr| (*cidr).into())).collect(),
            beyond: beyond.map(|route| route.destination).collect(),
            customers: vpc.vpns.iter().flat_map(|vpn| &vpn.routes).map(|net| (*net).into()).collect(),
        }
    }
}

impl Open {
    fn covers(&self, port: &Port) -> bool {
        match self.log.scope {
            Scope::Vpc => true,
            Scope::Subnet(subnet) => port.subnet == subnet,
            Scope::Interface(interface) => port.interface == interface,
        }
    }

    fn note_ports(&mut self, ports: &[Port]) {
        for port in ports {
            if self.covers(port) {
                self.ports.insert(port.interface, port.clone());
            }
        }
    }

    fn gather(&mut self, parts: &[Part], last: i64, now: i64) {
        let interval = i64::from(self.log.interval.max(1));
        let end = now.min(self.window + interval - 1).max(self.window);
        let start = last.clamp(self.window, end);
        for part in parts.iter().filter(|part| self.ports.contains_key(&part.flow.interface)) {
            let fresh = Tally { count: Count::default(), start, end, flags: 0 };
            let tally = self.flows.entry(part.flow).or_insert(fresh);
            tally.count.packets += part.count.packets;
            tally.count.bytes += part.count.bytes;
            tally.end = end;
            tally.flags |= part.flags;
        }
    }

    /// Whether a record of this kind is written.
    pub(super) const fn keeps(&self, flow: &Flow) -> bool {
        match self.log.kept {
            Kept::All => true,
            Kept::Accept => flow.accepted,
            Kept::Reject => !flow.accepted,
        }
    }
}

/// Who has an address.
struct Holders<'a> {
    by_address: HashMap<IpAddr, &'a Port>,
    by_prefix: HashMap<ipnet::Ipv6Net, &'a Port>,
}

impl<'a> Holders<'a> {
    fn of(ports: &'a [Port]) -> Self {
        let addresses = ports.iter().flat_map(|port| port.addresses.iter().map(move |own| (*own, port)));
        let prefixes = ports.iter().flat_map(|port| port.prefixes.iter().map(move |own| (*own, port)));
        Self { by_address: addresses.collect(), by_prefix: prefixes.collect() }
    }

    fn get(&self, address: IpAddr) -> Option<&'a Port> {
        let of_prefix = || match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => self.by_prefix.get(&ipv6::around(v6)),
        };
        self.by_address.get(&address).or_else(of_prefix).copied()
    }
}

impl Seen {
    /// What is new since the last time, as the interfaces at the ends saw it.
    fn parts(&mut self, observation: &Observation<'_>) -> Vec<Part> {
        let holders = Holders::of(&observation.ports);
        let mut refused: HashMap<(Tuple, bool), Count> = HashMap::new();
        let mut rejected = BTreeMap::new();
        for entry in &observation.rejected {
            let key = (entry.tuple, entry.gate == Direction::Egress);
            let earlier = self.rejected.get(&key).copied().unwrap_or_default();
            rejected.insert(key, entry.count);
            let fresh = entry.count.since(earlier);
            if !fresh.is_nothing() {
                refused.insert(key, fresh);
            }
        }
        self.rejected = rejected;

        let mut parts = Vec::new();
        let mut tracked = BTreeMap::new();
        let mut met: BTreeSet<Tuple> = BTreeSet::new();
        for flow in &observation.tracked {
            let key = (flow.id, flow.original);
            let earlier = self.tracked.get(&key).copied();
            let (forth, back, state) = earlier.unwrap_or_default();
            let now = flow.state.unwrap_or_default();
            tracked.insert(key, (flow.forth, flow.back, now));
            if is_services(observation.vpc, flow.original.dst) {
                continue;
            }
            // As the gates see its packets: translated to whom it is for, not yet from whom it seems to be.
            let ahead = Tuple { dst: flow.reply.src, dst_port: flow.reply.src_port, ..flow.original };
            let (forth, back) = (flow.forth.since(forth), flow.back.since(back));
            let closing = |state: u8| FINISHING.contains(&state);
            let ended =
                u8::from(closing(now) && !closing(state)) | (u8::from(now == RESET && state != RESET) * RST);
            let flags = |first: u8| {
                let begun = if earlier.is_none() { first } else { 0 };
                if flow.original.protocol == TCP { ended | begun } else { 0 }
            };
            let inside = flow.reply.dst == flow.original.src;
            for (way, shown, count, flags, reversed) in [
                (ahead, flow.original, forth, flags(2), false),
                (ahead.reversed(), flow.original.reversed(), back, flags(18), true),
            ] {
                let out = refused.get(&(way, true)).copied().unwrap_or_default();
                let into = refused.get(&(way, false)).copied().unwrap_or_default();
                met.insert(way);
                // The near end knows the other by the address that it asked for; the far end knows itself.
                let (sender, sent) = if reversed {
                    (holders.get(way.src).filter(|_| inside), way)
                } else {
                    (holders.get(shown.src), shown)
                };
                let (receiver, received) = if reversed {
                    (holders.get(way.dst), shown)
                } else {
                    (holders.get(way.dst).filter(|_| inside), way)
                };
                if let Some(sender) = sender {
                    push(&mut parts, sender, (sent, true, true), count.minus(out), flags);
                    push(&mut parts, sender, (sent, true, false), out, flags);
                }
                if let Some(receiver) = receiver {
                    push(&mut parts, receiver, (received, false, true), count.minus(out).minus(into), flags);
                    push(&mut parts, receiver, (received, false, false), into, flags);
                }
            }
        }
        self.tracked = tracked;
        for ((tuple, egress), count) in refused {
            if met.contains(&tuple) {
                continue;
            }
            let flags = if tuple.protocol == TCP { 2 } else { 0 };
            if let Some(sender) = holders.get(tuple.src) {
                push(&mut parts, sender, (tuple, true, !egress), count, flags);
            }
            if let Some(receiver) = holders.get(tuple.dst).filter(|_| !egress) {
                push(&mut parts, receiver, (tuple, false, false), count, flags);
            }
        }
        parts
    }
}

fn push(
    parts: &mut Vec<Part>,
    port: &Port,
    (tuple, egress, accepted): (Tuple, bool, bool),
    count: Count,
    flags: u8,
) {
    if !count.is_nothing() {
        let flow = Flow { interface: port.interface, tuple, egress, accepted };
        parts.push(Part { flow, count, flags });
    }
}

const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// Whether this is the router, or one of its services: of those there are no records.
fn is_services(vpc: &VpcDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            LINK_LOCAL.contains(&v4)
                || SERVICES.contains(&v4)
                || v4.is_broadcast()
                || vpc.cidrs.first().is_some_and(|first| resolver(*first) == v4)
                || vpc.subnets.iter().filter_map(|subnet| subnet.cidr).any(|cidr| gateway(cidr) == v4)
        }
        IpAddr::V6(v6) => ipv6::KEPT.contains(&v6) || v6.is_unicast_link_local() || v6.is_multicast(),
    }
}

/// Maps as lists of pairs: JSON knows no keys but strings.
mod pairs {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K: DeserializeOwned + Ord, V: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
