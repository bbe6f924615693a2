//! Disks and interfaces that come and go.

use super::tests::wish;
use super::*;
use model::VolumeId;
use model::host::{AttachmentDesired, Devices, InstanceDesired, InstancePhase, Power};
use proptest::prelude::*;
use std::time::Duration;

fn volume(n: u128) -> VolumeId {
    VolumeId::from_entropy(n)
}

fn port(n: u128) -> NetworkInterfaceId {
    NetworkInterfaceId::from_entropy(n)
}

fn with(volumes: &[u128], torn_out: &[u128]) -> InstanceDesired {
    let attach = |n: &u128| AttachmentDesired {
        volume: volume(*n),
        device: format!("/dev/sd{n}"),
        medium: model::host::Medium::Volume,
    };
    InstanceDesired {
        volumes: volumes.iter().map(attach).collect(),
        torn_out: torn_out.iter().map(|n| volume(*n)).collect(),
        ..wish(Power::On, 1, 0)
    }
}

/// A running machine, whose guest may be too busy to let go of anything.
#[derive(Debug, Default)]
struct Machine {
    plugged: Plugged,
    /// The guest was asked for these.
    leaving: Vec<VolumeId>,
    asked: AskedAt,
    deaf: bool,
    torn: Vec<VolumeId>,
}

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

impl Machine {
    fn guest(&mut self) {
        if self.deaf {
            return;
        }
        for id in std::mem::take(&mut self.leaving) {
            self.plugged.dead.retain(|d| *d != id);
            if let Some(at) = self.plugged.whole.volumes.iter().position(|v| *v == id) {
                self.plugged.partial.push(self.plugged.whole.volumes.remove(at));
            }
        }
    }

    /// Does as decided, or half of it.
    fn act(&mut self, changes: &Changes, now: Timestamp, halfway: bool) {
        for id in &changes.tear_out {
            let had_device = self.plugged.whole.volumes.contains(id);
            self.plugged.whole.volumes.retain(|v| v != id);
            self.plugged.partial.retain(|v| v != id);
            self.torn.push(*id);
            if had_device {
                self.plugged.dead.push(*id);
            }
        }
        for device in &changes.unplug {
            self.asked.insert(*device, now);
            let Device::Volume(id) = device else { continue };
            if self.plugged.partial.contains(id) && !halfway {
                self.plugged.partial.retain(|v| v != id);
            } else {
                self.leaving.push(*id);
            }
        }
        for device in &changes.plug {
            let Device::Volume(id) = device else { continue };
            assert!(!self.plugged.dead.contains(id), "a device of that name is still there");
            self.plugged.partial.retain(|v| v != id);
            if halfway {
                self.plugged.partial.push(*id);
            } else {
                self.plugged.whole.volumes.push(*id);
            }
        }
    }
}

#[test]
fn what_is_new_is_plugged_and_what_is_gone_from_the_wish_is_unplugged() {
    let plugged = Plugged {
        whole: Devices { volumes: vec![volume(1), volume(2)], interfaces: vec![port(1)] },
        ..Plugged::default()
    };
    let (due, again) = changes(&with(&[1, 3], &[]), &[port(1)], &plugged, &AskedAt::new(), NOW);
    assert_eq!(due.plug, [Device::Volume(volume(3))]);
    assert_eq!(due.unplug, [Device::Volume(volume(2)), Device::Interface(port(1))]);
    assert!(due.tear_out.is_empty());
    assert_eq!(again, None);
}

#[test]
fn a_guest_is_asked_again_after_a_while_and_not_before() {
    let plugged =
        Plugged { whole: Devices { volumes: vec![volume(1)], interfaces: vec![] }, ..Plugged::default() };
    let asked = AskedAt::from([(Device::Volume(volume(1)), NOW)]);
    let (due, again) = changes(&with(&[], &[]), &[], &plugged, &asked, NOW + Duration::from_secs(1));
    assert!(due.is_empty());
    assert_eq!(again, Some(NOW + ASK_AGAIN));
    let (due, _) = changes(&with(&[], &[]), &[], &plugged, &asked, NOW + ASK_AGAIN);
    assert_eq!(due.unplug, [Device::Volume(volume(1))]);
    // What it has let go of does not wait.
    let left = Plugged { partial: vec![volume(1)], ..Plugged::default() };
    let (due, again) = changes(&with(&[], &[]), &[], &left, &asked, NOW);
    assert_eq!(due.unplug, [Device::Volume(volume(1))]);
    assert_eq!(again, None);
}

#[test]
fn a_volume_is_reported_until_nothing_of_it_is_left_and_not_before_it_is_whole() {
    let plugged =
        Plugged { partial: vec![volume(1), volume(2)], dead: vec![volume(3)], ..Plugged::default() };
    assert_eq!(reported(&with(&[1], &[]), &[], &plugged).volumes, [volume(2)]);
}

#[test]
fn a_volume_that_was_torn_out_comes_back_only_after_its_dead_device_is_gone() {
    let mut machine = Machine { deaf: true, ..Machine::default() };
    machine.plugged.whole.volumes = vec![volume(1)];
    let (due, _) = changes(&with(&[], &[1]), &[], &machine.plugged, &machine.asked, NOW);
    assert_eq!(due.tear_out, [volume(1)]);
    machine.act(&due, NOW, false);
    assert!(!machine.plugged.holds(volume(1)));
    let (due, _) = changes(&with(&[1], &[]), &[], &machine.plugged, &machine.asked, NOW);
    assert!(due.plug.is_empty());
    assert_eq!(due.unplug, [Device::Volume(volume(1))]);
    machine.act(&due, NOW, false);
    machine.deaf = false;
    machine.guest();
    let (due, _) = changes(&with(&[1], &[]), &[], &machine.plugged, &machine.asked, NOW);
    assert_eq!(due.plug, [Device::Volume(volume(1))]);
}

#[test]
fn a_release_does_not_wait_for_a_part_that_is_missing() {
    let plugged =
        Plugged { whole: Devices { volumes: vec![volume(1)], interfaces: vec![] }, ..Plugged::default() };
    let boot_id: Arc<str> = "boot".into();
    let record = InstanceRecord {
        state: RunState::Started {
            run: 1,
            boot_id: Arc::clone(&boot_id),
            since: NOW,
            reboots: 0,
            asked: Asked::Nothing,
        },
        ..InstanceRecord::default()
    };
    let mut asked = AskedAt::new();
    let desired = with(&[2], &[]);
    let decide = |plugged: &Plugged, asked: &AskedAt, ready| {
        let facts = Facts {
            machine: MachineState::Running,
            now: NOW,
            boot_id: &boot_id,
            graces: Graces::default(),
            ready,
            ports_current: true,
            plugged,
            asked,
        };
        next_step(Some(&desired), &record, &facts)
    };
    let step = decide(&plugged, &asked, false);
    let unplug = vec![Device::Volume(volume(1))];
    assert_eq!(step.act, Act::EnsureDevices(Changes { unplug: unplug.clone(), ..Changes::default() }));
    let Some(InstancePhase::Running { devices, .. }) = step.phase else { panic!("{:?}", step.phase) };
    assert_eq!(devices.volumes, [volume(1)]);
    asked.insert(unplug[0], NOW);
    assert_eq!(decide(&plugged, &asked, false).act, Act::WaitUntil(NOW + ASK_AGAIN));
    assert_eq!(decide(&Plugged::default(), &asked, false).act, Act::Await);
    let plug = Changes { plug: vec![Device::Volume(volume(2))], ..Changes::default() };
    assert_eq!(decide(&Plugged::default(), &asked, true).act, Act::EnsureDevices(plug));
}

proptest! {
    #[test]
    fn whatever_was_interrupted_quiet_leads_to_the_devices_that_are_desired(
        story in prop::collection::vec((0..16u8, any::<bool>(), any::<bool>(), any::<bool>()), 0..30),
        last in 0..16u8,
    ) {
        let chosen = |bits: u8| (0..4_u8).filter(|n| bits & (1 << n) != 0).map(u128::from).collect::<Vec<_>>();
        let mut machine = Machine::default();
        let mut now = NOW;
        for (bits, tears, halfway, deaf) in story {
            let torn = if tears { chosen(!bits & 15) } else { Vec::new() };
            machine.deaf = deaf;
            let (due, _) = changes(&with(&chosen(bits), &torn), &[], &machine.plugged, &machine.asked, now);
            machine.act(&due, now, halfway);
            machine.guest();
            now = now + Duration::from_secs(1);
        }
        machine.deaf = false;
        let wanted = with(&chosen(last), &[]);
        for _ in 0..20 {
            let (due, again) = changes(&wanted, &[], &machine.plugged, &machine.asked, now);
            if due.is_empty() && again.is_none() {
                break;
            }
            machine.act(&due, now, false);
            machine.guest();
            now = now + Duration::from_secs(1);
        }
        let mut whole = machine.plugged.whole.volumes.clone();
        whole.sort_unstable();
        prop_assert_eq!(whole, chosen(last).into_iter().map(volume).collect::<Vec<_>>());
        prop_assert!(machine.plugged.partial.is_empty() && machine.plugged.dead.is_empty());
    }
}

#[test]
fn an_interface_that_is_cut_off_loses_its_port_at_once_and_its_device_when_the_guest_agrees() {
    let desired = InstanceDesired { cut_off: vec![port(2)], ..with(&[], &[]) };
    let mut plugged = Plugged::default();
    plugged.whole.interfaces = vec![port(2)];
    let none = AskedAt::new();
    let (due, _) = changes(&desired, &[port(2)], &plugged, &none, NOW);
    assert_eq!((due.cut_off.as_slice(), due.unplug.as_slice()), ([port(2)].as_slice(), [].as_slice()));
    assert_eq!(reported(&desired, &[port(2)], &plugged).interfaces, [port(2)]);

    // It was noted, and no more.
    let noted = plugged.clone().knowing(&[port(2)]);
    let (due, _) = changes(&desired, &[port(2)], &noted, &none, NOW);
    assert_eq!((due.cut_off.as_slice(), due.unplug.len()), ([port(2)].as_slice(), 1));
    // The port is gone: the guest is asked, and nothing is reported any more.
    let (due, _) = changes(&desired, &[], &noted, &none, NOW);
    assert_eq!((due.cut_off.len(), due.unplug.as_slice()), (0, [Device::Interface(port(2))].as_slice()));
    assert!(reported(&desired, &[], &noted).interfaces.is_empty());
    // Attached anew, it waits for its dead device to go.
    let mut again = wish(Power::On, 1, 0);
    again.interfaces = vec![interface(2)];
    let (due, _) = changes(&again, &[], &noted, &none, NOW);
    assert_eq!((due.plug.len(), due.unplug.len()), (0, 1));
    let (due, _) = changes(&again, &[], &Plugged::default(), &none, NOW);
    assert_eq!(due.plug, [Device::Interface(port(2))]);
}

fn interface(n: u128) -> model::host::InterfaceDesired {
    model::host::InterfaceDesired {
        ipv6: Vec::new(),
        interface: port(n),
        device_index: 1,
        mac: model::Mac::from_entropy(n),
        vpc: model::VpcId::from_entropy(1),
        subnet: model::SubnetId::from_entropy(1),
        subnet_cidr: Some("10.0.0.0/24".parse().unwrap()),
        addresses: Vec::new(),
        security_groups: Vec::new(),
        source_dest_check: true,
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        hostname: String::new(),
        domain: String::new(),
        bandwidth: None,
    }
}

#[test]
fn an_interface_is_reported_until_its_port_is_gone() {
    let desired = with(&[], &[]);
    assert_eq!(reported(&desired, &[port(2)], &Plugged::default()).interfaces, [port(2)]);
    let (due, _) = changes(&desired, &[port(2)], &Plugged::default(), &AskedAt::new(), NOW);
    assert_eq!(due.unplug, [Device::Interface(port(2))]);
}
