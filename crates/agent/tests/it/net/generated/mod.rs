//! Generated topologies: what passes on this driver is exactly what a reader of AWS's documents would say.
//!
//! Each seed makes a base (VPCs, subnets, peerings, interfaces) and several rounds of rules over it, one put into force
//! after the other, so that what a change leaves behind shows too. In each round real frames go into the ports; the
//! [`judge`] says which must come out where, as which packet, and whether their answers come back. A failure prints its
//! seed: `NUBE_TOPOLOGY=SEED` plays it again, alone. `NUBE_TOPOLOGIES=N` plays N topologies (rounds) from a seed of this run's own.

mod dice;
mod found;
mod judge;
mod rules;
mod topology;
mod transit;
mod walked;
mod wire;

use super::world::{A_MOMENT, SOON, World, on_a_host};
use agent::host::Net as _;
use dice::Dice;
use judge::{Answer, Arrival, Packet, Transport, Way};
use model::host::{AddressDesired, InterfaceDesired};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use topology::Topology;
use wire::Port;

/// Opening packets come from ports from here on, answers from ports below.
const EPHEMERAL: u16 = 20_000;
const ROUNDS: usize = 6;
const PROBES: usize = 60;
/// How many packets of a standing flow are sent each way in a round, and of how many flows.
const COPIES: usize = 3;
const STANDING: usize = 24;
/// No packet that was judged before a change is on its way any more.
const SETTLED: Duration = Duration::from_millis(6);
/// Topologies of a usual run.
const USUAL: usize = 300;

#[test]
fn exactly_what_the_documents_allow_passes() {
    let seed = std::env::var("NUBE_TOPOLOGY").ok().map(|seed| seed.parse().unwrap());
    let wanted: Option<usize> = std::env::var("NUBE_TOPOLOGIES").ok().map(|count| count.parse().unwrap());
    let count = wanted.unwrap_or(USUAL);
    // The usual run is the same each time, so that it refuses nobody's work for what it finds by chance.
    let chance = wanted.map(|_| u64::from(std::process::id()) << 20);
    let first: u64 = seed.or(chance).unwrap_or(1);
    let bases = if seed.is_some() { 1 } else { count.div_ceil(ROUNDS) as u64 };
    // Two hosts at once: much of the time goes into waiting for the kernel.
    let halves: Vec<Vec<u64>> =
        (0..2).map(|half| (first..first + bases).filter(|seed| seed % 2 == half).collect()).collect();
    let ways: Arc<Mutex<[usize; 6]>> = Arc::default();
    let hosts: Vec<_> = halves
        .into_iter()
        .filter(|seeds| !seeds.is_empty())
        .map(|seeds| {
            let counted = Arc::clone(&ways);
            std::thread::spawn(move || {
                on_a_host(|world| async move {
                    let mut tally = Tally::default();
                    for seed in seeds {
                        play(&world, seed, &mut tally).await;
                    }
                    println!("{tally:?}");
                    assert!(tally.arrived > 0, "{tally:?}");
                    let mut ways = counted.lock().unwrap();
                    ways.iter_mut().zip(tally.ways).for_each(|(all, own)| *all += own);
                });
            })
        })
        .collect();
    for host in hosts {
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let ways = ways.lock().unwrap();
    assert!(count < USUAL || seed.is_some() || !ways.contains(&0), "a way that no packet took: {ways:?}");
}

#[derive(Debug, Default)]
struct Tally {
    topologies: usize,
    opened: usize,
    arrived: usize,
    answers: usize,
    returned: usize,
    /// Packets of flows that stood before the rules changed, and those of them that arrived.
    later: [usize; 2],
    /// By what way they arrived: within, across, over the internet, at a machine on the way, translated, by a transit gateway.
    ways: [usize; 6],
}

/// A packet on its way: who sent it, and where it must come to, if anywhere.
struct Probe {
    from: usize,
    packet: Packet,
    arrival: Option<Arrival>,
}

async fn play(world: &World, seed: u64, tally: &mut Tally) {
    let mut dice = Dice::new(seed);
    let mut topology = Topology::base(&mut dice);
    let mut ports: Vec<Port> = Vec::new();
    let mut flows = BTreeSet::new();
    let mut number = 0;
    let mut standing: Vec<(usize, Packet, Arrival)> = Vec::new();
    for round in 0..ROUNDS {
        topology.round(&mut dice);
        put_into_force(world, &topology, &mut ports).await;
        // Flows become known again: half of what follows goes the short way.
        std::thread::sleep(SETTLED);
        if round == 0 {
            topology.vpcs.iter().for_each(|vpc| remember_flows(world, vpc.vpc));
        }
        let told = |what: &str, probe: &Probe| {
            format!(
                "seed {seed}, round {round}: {what}: {:?} from {} {:#?}",
                probe.packet, probe.from, topology
            )
        };
        let later = later(&topology, &mut standing, &mut number);
        tally.later[0] += later.len();
        tally.later[1] += later.values().filter(|probe| probe.arrival.is_some()).count();
        exchange(&mut ports, &later, &told);

        let mut probes = BTreeMap::new();
        for _ in 0..PROBES {
            number += 1;
            let (from, packet) = probe(&topology, &mut dice, number);
            if judge::is_open(&topology, from, packet) {
                continue;
            }
            // What has no ports is one flow both ways, and stays one over the rounds.
            if let Transport::Other(protocol) = packet.transport {
                let ends = [packet.src, packet.dst].map(|end| private(&topology, end));
                if !flows.insert((protocol, BTreeSet::from(ends))) {
                    continue;
                }
            }
            probes.insert(number, Probe { from, packet, arrival: judge::opens(&topology, from, packet) });
        }
        tally.topologies += 1;
        tally.opened += probes.len();
        for arrival in probes.values().filter_map(|probe| probe.arrival) {
            tally.ways[match arrival.way {
                Way::Within => 0,
                Way::Across(_) => 1,
                Way::Internet => 2,
                Way::Through => 3,
                Way::Translated => 4,
                Way::Joined => 5,
            }] += 1;
        }
        tally.arrived += probes.values().filter(|probe| probe.arrival.is_some()).count();
        let arrived = exchange(&mut ports, &probes, &told);

        let mut answers = BTreeMap::new();
        for (id, arrival) in arrived {
            let asked = &probes[&id];
            let back = match judge::answers(&topology, asked.from, asked.packet, arrival) {
                Answer::Arrives(back) => Some(back),
                Answer::Lost => None,
                Answer::Unasked => continue,
            };
            let has_ports = matches!(asked.packet.transport, Transport::Udp { .. });
            if back.is_some() && has_ports && arrival.way == Way::Within {
                standing.push((asked.from, asked.packet, arrival));
            }
            number += 1;
            answers
                .insert(number, Probe { from: arrival.at, packet: judge::answer(&arrival), arrival: back });
        }
        tally.answers += answers.len();
        tally.returned += answers.values().filter(|probe| probe.arrival.is_some()).count();
        exchange(&mut ports, &answers, &told);
    }
    drop(ports);
    for interface in &topology.interfaces {
        world.net().remove_port(interface.interface).await.unwrap();
    }
    for group in &topology.groups {
        world.net().remove_security_group(group.group).await.unwrap();
    }
    for vpc in &topology.vpcs {
        world.net().remove_vpc(vpc.vpc).await.unwrap();
    }
}

/// Packets, both ways, of flows that were answered under the rules of earlier rounds.
fn later(
    topology: &Topology,
    standing: &mut Vec<(usize, Packet, Arrival)>,
    number: &mut u32,
) -> BTreeMap<u32, Probe> {
    standing.drain(..standing.len().saturating_sub(STANDING));
    let mut probes = BTreeMap::new();
    for (asker, asked, arrived) in standing.iter().copied() {
        let forth = (asker, asked, judge::goes_on(topology, asker, asked, arrived));
        let back = (arrived.at, judge::answer(&arrived), judge::answers(topology, asker, asked, arrived));
        for (from, packet, becomes) in [forth, back].into_iter().cycle().take(2 * COPIES) {
            let arrival = match becomes {
                Answer::Arrives(arrival) => Some(arrival),
                Answer::Lost => None,
                Answer::Unasked => continue,
            };
            *number += 1;
            probes.insert(*number, Probe { from, packet, arrival });
        }
    }
    probes
}

/// Lets no flow be forgotten between two rounds, however long a loaded machine takes for one.
fn remember_flows(world: &World, vpc: model::VpcId) {
    let name = plan::net::names::vpc_namespace(&world.config.cloud, vpc);
    let set =
        |kind| std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_udp_timeout{kind}"), "86400");
    let router = agent::host::linux::netns::Namespace::open(&name).unwrap();
    router.run(|| ["", "_stream"].into_iter().try_for_each(set)).unwrap();
}

async fn put_into_force(world: &World, topology: &Topology, ports: &mut Vec<Port>) {
    for vpc in &topology.vpcs {
        world.net().ensure_vpc(vpc).await.unwrap();
    }
    for group in &topology.groups {
        world.net().ensure_security_group(group).await.unwrap();
    }
    let fresh = ports.is_empty();
    for interface in &topology.interfaces {
        if fresh {
            let tap = world.net().open_port(interface).await.unwrap();
            ports.push(Port::new(interface, tap));
        } else {
            world.net().ensure_port(interface).await.unwrap();
        }
    }
}

/// Sends all, and requires that exactly those come out that must, where they must, as they must.
fn exchange(
    ports: &mut [Port],
    probes: &BTreeMap<u32, Probe>,
    told: &dyn Fn(&str, &Probe) -> String,
) -> Vec<(u32, Arrival)> {
    for (id, probe) in probes {
        ports[probe.from].send(probe.packet, *id);
    }
    let mut missing: BTreeMap<u32, Arrival> =
        probes.iter().filter_map(|(id, probe)| Some((*id, probe.arrival?))).collect();
    let expected: Vec<(u32, Arrival)> = missing.iter().map(|(id, arrival)| (*id, *arrival)).collect();
    let start = Instant::now();
    // After the last that must come, a moment for those that must not.
    let mut quiet = 0;
    while quiet < 2 {
        let mut silent = true;
        for (at, port) in ports.iter_mut().enumerate() {
            while let Some((packet, id)) = port.heard() {
                silent = false;
                let Some(probe) = probes.get(&id) else { panic!("{id} comes late: {packet:?} at {at}") };
                match missing.remove(&id) {
                    Some(arrival) if arrival.at == at && arrival.is(packet) => {}
                    Some(arrival) => {
                        panic!("{}", told(&format!("came to {at} as {packet:?}, not {arrival:?}"), probe))
                    }
                    None => panic!("{}", told(&format!("must not come to {at} as {packet:?}"), probe)),
                }
            }
        }
        if missing.is_empty() && silent {
            quiet += 1;
            std::thread::sleep(Duration::from_millis(1));
        } else if silent {
            std::thread::sleep(Duration::from_millis(1));
            if start.elapsed() > patience() {
                let (id, arrival) = missing.first_key_value().unwrap();
                panic!("{}", told(&format!("must come to {arrival:?}"), &probes[id]));
            }
        }
    }
    expected
}

/// A frame is through when its write returns; only a kernel thread that waits for its turn can hold it up.
fn patience() -> Duration {
    if std::env::var_os("NUBE_TOPOLOGY").is_some() { 5 * A_MOMENT } else { SOON }
}

/// The address that a public one stands for.
fn private(topology: &Topology, address: IpAddr) -> IpAddr {
    let mut all = topology.interfaces.iter().flat_map(|i| &i.addresses);
    let found = all.find(|a| a.public.is_some_and(|public| address == public));
    found.map_or(address, |a| a.private.into())
}

/// Some packet that a round's rules may well have something to say about.
fn probe(topology: &Topology, dice: &mut Dice, number: u32) -> (usize, Packet) {
    let from = dice.below(topology.interfaces.len());
    let sender = &topology.interfaces[from];
    let port = EPHEMERAL + (number % 40_000) as u16;
    if dice.percent(45) && topology.vpcs.iter().any(|v| v.vpc == sender.vpc && !v.ipv6_cidrs.is_empty()) {
        return (from, probe_v6(topology, dice, sender, port));
    }
    // One without IPv4 may well try.
    let own = (!sender.addresses.is_empty()).then(|| one_of(dice, sender));
    let own = own.filter(|_| dice.percent(85));
    let src = own.unwrap_or_else(|| forged(topology, dice, sender));
    let mut dst = destination(topology, dice, sender);
    while sender.own_ipv4().any(|own| own == dst) || sender.addresses.iter().any(|a| a.public == Some(dst)) {
        dst = Ipv4Addr::new(203, 0, 113, 77);
    }
    let to = *dice.pick(&[22, 80, 443, 5000, 30, 7]);
    let transport = match dice.below(8) {
        0..=2 => Transport::Tcp { from: port, to },
        3 | 4 => Transport::Udp { from: port, to },
        5 => Transport::Icmp { kind: 8, code: dice.below(2) as u8, id: port },
        6 => Transport::Icmp { kind: 13, code: 0, id: port },
        _ => Transport::Other(*dice.pick(&[99, 100])),
    };
    (from, Packet { src: src.into(), dst: dst.into(), transport })
}

/// The same by IPv6.
fn probe_v6(topology: &Topology, dice: &mut Dice, sender: &InterfaceDesired, port: u16) -> Packet {
    let strangers = ["2001:db8::77", "fe80::99", "ff02::1", "fd00:ec2::254", "::1", "::ffff:10.0.0.1"];
    let stranger = |dice: &mut Dice| dice.pick(&strangers).parse::<Ipv6Addr>().unwrap();
    let of_somebody = |dice: &mut Dice| {
        let near = dice.percent(60).then_some(sender);
        let somebody = somebody(topology, dice, near);
        let beside = somebody.ipv6.first().map(|own| Ipv6Addr::from_bits(own.to_bits() ^ 0x1000));
        match one_of_ipv6(dice, somebody) {
            Some(_) if dice.percent(8) => beside,
            own => own,
        }
    };
    let src = one_of_ipv6(dice, sender).filter(|_| dice.percent(85));
    let src = src
        .unwrap_or_else(|| of_somebody(dice).filter(|_| dice.percent(70)).unwrap_or_else(|| stranger(dice)));
    let mut dst = of_somebody(dice).unwrap_or_else(|| stranger(dice));
    if dst == plan::net::ipv6::METADATA || dst.is_multicast() {
        // The sender's own router answers such pings itself.
        dst = "fd00:ec2::9".parse().unwrap();
    }
    if sender.holds_ipv6(dst) || dice.percent(4) {
        dst = "2001:db8::77".parse().unwrap();
    }
    let to = *dice.pick(&[22, 80, 443, 5000, 30, 7]);
    let transport = match dice.below(10) {
        0..=2 => Transport::Tcp { from: port, to },
        3 | 4 => Transport::Udp { from: port, to },
        5 => Transport::Icmp { kind: 128, code: 0, id: port },
        6 => Transport::Icmp { kind: 139, code: 0, id: port },
        // Of a router or a neighbour, and of a DHCP server: they stay on their link.
        7 => Transport::Icmp { kind: *dice.pick(&[133, 134, 136]), code: 0, id: port },
        8 => Transport::Udp { from: 547, to: 546 },
        _ => Transport::Other(*dice.pick(&[99, 100])),
    };
    Packet { src: src.into(), dst: dst.into(), transport }
}

fn somebody<'a>(
    topology: &'a Topology,
    dice: &mut Dice,
    near: Option<&InterfaceDesired>,
) -> &'a InterfaceDesired {
    let all: Vec<&InterfaceDesired> =
        topology.interfaces.iter().filter(|i| near.is_none_or(|near| near.vpc == i.vpc)).collect();
    all[dice.below(all.len())]
}

/// An address of somebody's, if anybody has IPv4.
fn somewhere(topology: &Topology, dice: &mut Dice, near: Option<&InterfaceDesired>) -> AddressDesired {
    let somebody = somebody(topology, dice, near);
    match somebody.addresses.as_slice() {
        [] => AddressDesired { private: Ipv4Addr::new(10, 0, 0, 77), public: None, withheld: None },
        _ if !somebody.ipv4_prefixes.is_empty() && dice.percent(40) => {
            AddressDesired { private: one_of(dice, somebody), public: None, withheld: None }
        }
        own => *dice.pick(own),
    }
}

/// An address of an interface that has IPv4.
fn one_of(dice: &mut Dice, interface: &InterfaceDesired) -> Ipv4Addr {
    let own: Vec<Ipv4Addr> = interface.own_ipv4().collect();
    let singles = interface.addresses.len();
    own[if dice.percent(60) { dice.below(singles) } else { dice.below(own.len()) }]
}

fn one_of_ipv6(dice: &mut Dice, interface: &InterfaceDesired) -> Option<Ipv6Addr> {
    let prefixes = interface.ipv6_prefixes.iter();
    let of_prefixes =
        prefixes.map(|p| Ipv6Addr::from_bits(p.network().to_bits() | u128::from(dice.roll() >> 16)));
    let own: Vec<Ipv6Addr> = interface.ipv6.iter().copied().chain(of_prefixes).collect();
    (!own.is_empty()).then(|| *dice.pick(&own))
}

fn destination(topology: &Topology, dice: &mut Dice, sender: &InterfaceDesired) -> Ipv4Addr {
    let near = dice.percent(if topology.gateways.is_empty() { 65 } else { 45 }).then_some(sender);
    let somebody = somewhere(topology, dice, near);
    match dice.below(20) {
        0..=11 => somebody.private,
        12..=17 => somebody.public.unwrap_or(somebody.private),
        // Nobody's, in a subnet of somebody's.
        18 => Ipv4Addr::from_bits((somebody.private.to_bits() & !0xff) + 200),
        _ => Ipv4Addr::new(203, 0, 113, 77),
    }
}

fn forged(topology: &Topology, dice: &mut Dice, sender: &InterfaceDesired) -> Ipv4Addr {
    let near = dice.percent(70).then_some(sender);
    let somebody = somewhere(topology, dice, near);
    match dice.below(8) {
        0..=3 => somebody.private,
        4 => somebody.public.unwrap_or(Ipv4Addr::new(8, 8, 8, 8)),
        5 => Ipv4Addr::from_bits((somebody.private.to_bits() & !0xff) + 201),
        6 => *dice.pick(&[
            Ipv4Addr::new(169, 254, 169, 254),
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(224, 0, 0, 5),
            sender.subnet_cidr.map_or(Ipv4Addr::new(8, 8, 4, 4), plan::net::gateway),
        ]),
        _ => Ipv4Addr::new(8, 8, 8, 8),
    }
}
