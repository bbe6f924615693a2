//! The walk of model packets against the judge, who is held against the kernel: both say of every packet the same.

use super::dice::Dice;
use super::judge::{self, Answer};
use super::topology::Topology;
use super::{PROBES, ROUNDS, probe};
use crate::rig::in_virtual_time;
use agent::host::Net as _;
use agent::host::sim::{SimConfig, SimHost};
use model::clock::SystemClock;
use model::packet::{End, Packet, Transport, Walk};
use plan::net::packet::Network;
use std::sync::Arc;

/// Bases of a usual run, of [`ROUNDS`] topologies each.
const USUAL: usize = 200;

fn model(packet: judge::Packet) -> Packet {
    let transport = match packet.transport {
        judge::Transport::Tcp { from, to } => Transport::Tcp { from, to },
        judge::Transport::Udp { from, to } => Transport::Udp { from, to },
        judge::Transport::Icmp { kind, code, .. } => Transport::Icmp { kind, code },
        judge::Transport::Other(number) => Transport::Other(number),
    };
    Packet { src: packet.src, dst: packet.dst, transport }
}

fn arrives(topology: &Topology, walk: &Walk) -> Option<(usize, Packet)> {
    let Some(End::Interface(id)) = walk.arrives_at() else { return None };
    Some((topology.interfaces.iter().position(|i| i.interface == id)?, walk.arrives?))
}

#[test]
fn a_model_packet_goes_where_the_documents_say() {
    let seed = std::env::var("NUBE_TOPOLOGY").ok().map(|seed| seed.parse().unwrap());
    let wanted: Option<usize> = std::env::var("NUBE_TOPOLOGIES").ok().map(|count| count.parse().unwrap());
    let chance = wanted.map(|_| u64::from(std::process::id()) << 20);
    let first: u64 = seed.or(chance).unwrap_or(1);
    let bases = if seed.is_some() { 1 } else { wanted.unwrap_or(USUAL) as u64 };
    let (mut packets, mut arrived, mut answered) = (0, 0, 0);
    for seed in first..first + bases {
        let mut dice = Dice::new(seed);
        let mut topology = Topology::base(&mut dice);
        let mut number = 0;
        for round in 0..ROUNDS {
            topology.round(&mut dice);
            let network = Network::new(
                topology.vpcs.iter().cloned(),
                topology.groups.iter().cloned(),
                topology.interfaces.iter().cloned(),
            );
            for _ in 0..PROBES {
                number += 1;
                let (from, packet) = probe(&topology, &mut dice, number);
                if judge::is_open(&topology, from, packet) {
                    continue;
                }
                packets += 1;
                let told = judge::opens(&topology, from, packet);
                let walk = network.opens(topology.interfaces[from].interface, model(packet));
                let found = arrives(&topology, &walk);
                let expected = told.map(|arrival| (arrival.at, model(arrival.packet)));
                assert_eq!(
                    found, expected,
                    "seed {seed}, round {round}: {packet:?} from {from}: {walk:#?} {topology:#?}"
                );
                let Some(arrival) = told else {
                    let stopped = !walk.obstacles.is_empty()
                        || matches!(walk.end, Some(End::Outside(_) | End::Router(_)));
                    assert!(stopped, "seed {seed}, round {round}: nothing stops {packet:?}: {walk:?}");
                    continue;
                };
                arrived += 1;
                let expected = match judge::answers(&topology, from, packet, arrival) {
                    Answer::Unasked => continue,
                    Answer::Arrives(back) => Some(back.at),
                    Answer::Lost => None,
                };
                let back = network.answers(&walk);
                let found = back.as_ref().and_then(|back| arrives(&topology, back)).map(|(at, _)| at);
                assert_eq!(
                    found, expected,
                    "seed {seed}, round {round}: the answer to {packet:?} from {from}: {back:#?} {topology:#?}"
                );
                answered += usize::from(expected.is_some());
            }
        }
    }
    println!("{packets} packets, {arrived} arrived, {answered} were answered, from seed {first}");
    assert!(seed.is_some() || arrived > packets / 50 && answered > 0, "{packets}, {arrived}, {answered}");
}

#[test]
fn the_simulator_carries_model_packets_by_the_rules_that_it_was_told() {
    in_virtual_time(async {
        let mut arrived = 0;
        for seed in 1..=20 {
            let mut dice = Dice::new(seed);
            let mut topology = Topology::base(&mut dice);
            topology.round(&mut dice);
            let sim = SimHost::new(SimConfig::default(), Arc::new(SystemClock));
            for vpc in &topology.vpcs {
                sim.ensure_vpc(vpc).await.unwrap();
            }
            for group in &topology.groups {
                sim.ensure_security_group(group).await.unwrap();
            }
            for interface in &topology.interfaces {
                sim.open_port(interface).await.unwrap();
            }
            for number in 1..=PROBES as u32 {
                let (from, packet) = probe(&topology, &mut dice, number);
                if judge::is_open(&topology, from, packet) {
                    continue;
                }
                let walk = sim.carry(topology.interfaces[from].interface, model(packet));
                let expected = judge::opens(&topology, from, packet).map(|a| (a.at, model(a.packet)));
                assert_eq!(arrives(&topology, &walk), expected, "seed {seed}: {packet:?} from {from}");
                arrived += usize::from(expected.is_some());
            }
        }
        assert!(arrived > 0);
    });
}
