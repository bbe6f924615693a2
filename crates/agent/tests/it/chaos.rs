//! Hundreds of seeded stories on a host that fails: wishes change, guests and processes die, host and agent restart at
//! any moment, and with the agent the keys of what is encrypted are gone until the next full state. Afterwards, in quiet, the host must be exactly as desired.

use super::rig::{Rig, in_virtual_time};
use super::sample;
use agent::host::MachineState;
use agent::host::sim::{Faults, Inventory, SimConfig};
use model::host::*;
use model::{DataKey, InstanceId, SnapshotId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEEDS: u64 = 300;
const INSTANCES: u32 = 5;
/// Volumes that go from one instance to another.
const WANDERING: [u32; 3] = [101, 102, 103];

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn key(n: u32) -> DataKey {
    DataKey::new([n as u8; DataKey::LEN])
}

/// Every other volume is encrypted.
fn volume(n: u32) -> VolumeDesired {
    VolumeDesired { data_key: (n % 2 == 1).then(|| key(n)), ..sample::volume(n) }
}

/// The control plane of the story: what it wants, and what it knows happened to guests.
#[derive(Default)]
struct Server {
    wishes: BTreeMap<ObjectKey, Desired>,
    generation: u64,
    /// The number of the last snapshot.
    snapshots: u32,
    /// What copies and volumes were made of.
    sources: BTreeSet<SnapshotId>,
    /// Runs in which a machine may have ended by itself.
    harmed: BTreeSet<(InstanceId, u64)>,
}

impl Server {
    fn want(&mut self, body: DesiredBody) -> Desired {
        self.generation += 1;
        let wish = sample::wish(self.generation, body);
        self.wishes.insert(wish.key, wish.clone());
        wish
    }

    fn unwant(&mut self, key: ObjectKey) -> Desired {
        self.generation += 1;
        let wish = Desired { key, generation: self.generation, body: None };
        self.wishes.insert(key, wish.clone());
        wish
    }

    fn instance(&self, n: u32) -> Option<InstanceDesired> {
        match self.wishes.get(&ObjectKey::Instance(sample::instance_id(n)))?.body.clone()? {
            DesiredBody::Instance(body) => Some(InstanceDesired::clone(&body)),
            other => panic!("{other:?}"),
        }
    }

    /// What a wanted snapshot is encrypted with.
    fn key(&self, snapshot: SnapshotId) -> Option<DataKey> {
        match &self.wishes.get(&ObjectKey::Snapshot(snapshot))?.body {
            Some(DesiredBody::Snapshot(desired)) => desired.data_key.clone(),
            _ => None,
        }
    }

    fn size(&self, volume: u32) -> model::GiB {
        match &self.wishes[&ObjectKey::Volume(sample::volume_id(volume))].body {
            Some(DesiredBody::Volume(desired)) => desired.size,
            other => panic!("{other:?}"),
        }
    }

    /// Who wants this volume, by its number.
    fn wanted_by(&self, volume: u32) -> Option<u32> {
        (1..=INSTANCES).find(|n| {
            let instance = self.instance(*n);
            instance.is_some_and(|i| i.volumes.iter().any(|a| a.volume == sample::volume_id(volume)))
        })
    }

    /// Whether the instant of a snapshot of this volume is still to come, as far as has been observed.
    fn awaits_snapshot_of(&self, n: u32, latest: &BTreeMap<ObjectKey, Observed>) -> bool {
        self.wishes.values().any(|wish| match &wish.body {
            Some(DesiredBody::Snapshot(snapshot)) => {
                let seen = latest.get(&wish.key).map(|seen| &seen.body);
                matches!(snapshot.source, SnapshotSource::Volume { volume, .. } if volume == sample::volume_id(n))
                    && matches!(seen, None | Some(ObservedBody::Snapshot(SnapshotPhase::Waiting)))
            }
            _ => false,
        })
    }

    fn all(&self) -> Vec<Desired> {
        self.wishes.values().cloned().collect()
    }

    fn harm(&mut self, n: u32) -> InstanceId {
        if let Some(instance) = self.instance(n) {
            // The machine may still be of an earlier run: then the harm is to that one, which is over anyway.
            self.harmed.insert((instance.instance, instance.run));
        }
        sample::instance_id(n)
    }
}

#[test]
fn after_any_story_the_host_is_exactly_as_desired() {
    for seed in 0..SEEDS {
        let told = std::panic::catch_unwind(|| in_virtual_time(story(seed)));
        assert!(told.is_ok(), "the story of seed {seed} went wrong");
    }
}

async fn story(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9) + 1);
    let config = SimConfig {
        seed,
        boot_time: Duration::from_secs(2),
        shutdown_time: Duration::from_secs(dice.below(4)),
        release_time: Duration::from_secs(dice.below(4)),
        snapshot_time: Duration::from_secs(dice.below(10)),
        faults: Faults::HEAVY,
        ..SimConfig::default()
    };
    let mut rig = Rig::new(config).await;
    let mut server = Server::default();
    for body in [
        DesiredBody::from(sample::vpc(1)),
        DesiredBody::from(sample::group(1, 1)),
        DesiredBody::from(sample::group(2, 1)),
    ] {
        server.want(body);
    }
    for n in WANDERING {
        server.want(DesiredBody::from(volume(n)));
    }
    rig.handle().sync(server.all()).await.unwrap();

    for _ in 0..50 {
        let n = dice.below(INSTANCES.into()) as u32 + 1;
        let (id, current) = (sample::instance_id(n), server.instance(n));
        let mut news = Vec::new();
        match (dice.below(21), current) {
            (0..=4, None) => {
                let launched = server.wishes.contains_key(&ObjectKey::Instance(id));
                if !launched {
                    news.push(server.want(DesiredBody::from(sample::instance(n))));
                    news.push(server.want(DesiredBody::from(volume(n))));
                }
            }
            (0, Some(mut instance)) if instance.power == Power::On => {
                // The root volumes of every other instance are encrypted.
                instance.power = match dice.below(4) {
                    0 => Power::ForceOff,
                    1 if n % 2 == 1 => Power::Hibernate,
                    _ => Power::Off,
                };
                news.push(server.want(DesiredBody::from(instance)));
            }
            (0 | 1, Some(mut instance)) => {
                instance.power = Power::On;
                instance.run += 1;
                instance.reboots = 0;
                news.push(server.want(DesiredBody::from(instance)));
            }
            (2, Some(mut instance)) => {
                instance.reboots += 1;
                news.push(server.want(DesiredBody::from(instance)));
            }
            (3, Some(mut instance)) => {
                instance.interfaces[0].security_groups = vec![sample::group_id(1 + dice.below(2) as u32)];
                news.push(server.want(DesiredBody::from(instance)));
            }
            // The control plane keeps a key until nothing is to be taken of its volume.
            (4, Some(_))
                if volume(n).data_key.is_none() || !server.awaits_snapshot_of(n, &latest(&rig).await) =>
            {
                news.push(server.unwant(ObjectKey::Volume(sample::volume_id(n))));
                news.push(server.unwant(ObjectKey::Instance(id)));
            }
            (5, _) => rig.sim.guest_powers_off(server.harm(n)),
            (6, _) => rig.sim.kill(server.harm(n)),
            (7, _) => {
                rig.kill();
                if dice.below(3) == 0 {
                    rig.sim.reboot_host();
                }
                rig.start().await;
            }
            (8, _) => rig.sim.guest_ignores_button(id, dice.below(2) == 0),
            (9, _) => rig.handle().sync(server.all()).await.unwrap(),
            (10 | 11, Some(mut instance)) => {
                let wanderer = WANDERING[dice.below(3) as usize];
                let volume = sample::volume_id(wanderer);
                match server.wanted_by(wanderer) {
                    // Whether the one before has let go is the host's affair.
                    None => {
                        instance.volumes.push(AttachmentDesired {
                            volume,
                            device: "/dev/sdf".into(),
                            medium: Medium::Volume,
                        });
                        instance.torn_out.retain(|torn| *torn != volume);
                        news.push(server.want(DesiredBody::from(instance)));
                    }
                    Some(holder) => {
                        let mut instance = server.instance(holder).expect("it wants the volume");
                        instance.volumes.retain(|attachment| attachment.volume != volume);
                        if dice.below(3) == 0 {
                            instance.torn_out.push(volume);
                        }
                        news.push(server.want(DesiredBody::from(instance)));
                    }
                }
            }
            (12, Some(mut instance)) => {
                if instance.interfaces.len() > 1 {
                    instance.interfaces.truncate(1);
                } else {
                    instance.interfaces.push(sample::instance(200 + n).interfaces.remove(0));
                }
                news.push(server.want(DesiredBody::from(instance)));
            }
            (13, _) => {
                let number = WANDERING[dice.below(3) as usize];
                let rate = |base| Rate { base, burst: None };
                let limits = VolumeLimits {
                    iops: rate(100 + dice.below(900)),
                    bytes: rate(131_072_000),
                    operation: 256 << 10,
                };
                let size = model::GiB(server.size(number).0 + dice.below(2) as u32);
                let grown = VolumeDesired { size, limits: Some(limits), ..volume(number) };
                news.push(server.want(DesiredBody::from(grown)));
            }
            (15 | 16, current) => {
                // Of the instance's own volume, together with one that wanders, whoever has that now.
                let (first, second) = (server.snapshots + 1, server.snapshots + 2);
                server.snapshots += 2;
                let wanderer = WANDERING[dice.below(3) as usize];
                // The control plane takes them of volumes that were made.
                let is_made = |n: u32| rig.sim.volume(sample::volume_id(n)).is_some();
                let mut set = if is_made(wanderer) { vec![(first, wanderer)] } else { Vec::new() };
                let mut during = None;
                if let Some(instance) = current.filter(|_| is_made(n)) {
                    set.push((second, n));
                    let reboot = instance.reboots + 1;
                    during = Some(Downtime { instance: instance.instance, run: instance.run, reboot })
                        .filter(|_| dice.below(2) == 0);
                    if during.is_some() && dice.below(3) > 0 {
                        let rebooted = InstanceDesired { reboots: reboot, ..instance };
                        news.push(server.want(DesiredBody::from(rebooted)));
                    }
                }
                for (snapshot, of) in &set {
                    let desired = sample::snapshot_of(*snapshot, &set, during);
                    let desired = SnapshotDesired { data_key: volume(*of).data_key, ..desired };
                    news.push(server.want(DesiredBody::from(desired)));
                }
            }
            (17, _) if server.snapshots > 0 => {
                let id = sample::snapshot_id(1 + dice.below(server.snapshots.into()) as u32);
                let key = ObjectKey::Snapshot(id);
                // Nobody knows the key of what is gone any more: the control plane waits for what is made of it.
                let is_needed = server.key(id).is_some() && server.sources.contains(&id);
                if server.wishes.contains_key(&key) && !is_needed {
                    news.push(server.unwant(key));
                }
            }
            (18, _) if server.snapshots > 0 => {
                let of = sample::snapshot_id(1 + dice.below(server.snapshots.into()) as u32);
                // The control plane makes things of completed snapshots only.
                let completed = latest(&rig).await.get(&ObjectKey::Snapshot(of)).is_some_and(|seen| {
                    matches!(seen.body, ObservedBody::Snapshot(SnapshotPhase::Completed { .. }))
                });
                let wanted = server.wishes.get(&ObjectKey::Snapshot(of)).is_some_and(|w| w.body.is_some());
                if completed && wanted {
                    server.snapshots += 1;
                    server.sources.insert(of);
                    let source = SnapshotSource::Copy(of);
                    let number = 1000 + server.snapshots;
                    // Encrypted, of what is not, too; never the other way round.
                    let data_key = server.key(of).or(volume(number).data_key).map(|_| key(number));
                    let copy = SnapshotDesired {
                        source,
                        data_key: data_key.clone(),
                        ..sample::snapshot(server.snapshots, 1)
                    };
                    news.push(server.want(DesiredBody::from(copy)));
                    let made = VolumeDesired { snapshot: Some(of), data_key, ..volume(number) };
                    news.push(server.want(DesiredBody::from(made)));
                }
            }
            (19, _) if server.snapshots > 0 => {
                let id = sample::snapshot_id(1 + dice.below(server.snapshots.into()) as u32);
                let wish = server.wishes.get(&ObjectKey::Snapshot(id)).and_then(|wish| wish.body.clone());
                if let Some(DesiredBody::Snapshot(wish)) = wish {
                    let tier = if wish.tier == Tier::Fast { Tier::Standard } else { Tier::Fast };
                    let asked = wish.asked + 1;
                    news.push(server.want(DesiredBody::from(SnapshotDesired {
                        tier,
                        asked,
                        ..SnapshotDesired::clone(&wish)
                    })));
                }
            }
            (14, _) => rig.sim.guest_keeps_devices(id, dice.below(2) == 0),
            _ => tokio::time::sleep(Duration::from_millis(dice.below(20_000))).await,
        }
        rig.handle().set(news).await.unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
    }

    rig.sim.set_faults(Faults::NONE);
    for n in 1..=INSTANCES {
        rig.sim.guest_keeps_devices(sample::instance_id(n), false);
    }
    // What waits for a reboot gets one.
    for n in 1..=INSTANCES {
        if let Some(mut instance) = server.instance(n) {
            instance.reboots += 1;
            server.want(DesiredBody::from(instance));
        }
    }
    rig.handle().sync(server.all()).await.unwrap();
    let settled = tokio::time::timeout(Duration::from_hours(1), async {
        while let Some(amiss) = amiss(&rig, &server).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(amiss);
        }
    });
    if settled.await.is_err() {
        let status = rig.handle().request(Request::Status).await;
        panic!("seed {seed} does not settle: {:#?}\n{status:#?}", amiss(&rig, &server).await);
    }
    assert_eq!(rig.sim.violations(), Vec::<String>::new(), "seed {seed}");

    // What is removed is forgotten once the server no longer lists it.
    server.wishes.retain(|_, wish| wish.body.is_some());
    rig.handle().sync(server.all()).await.unwrap();
    rig.restart().await;
    // It brings the keys again, and nothing new.
    rig.handle().sync(server.all()).await.unwrap();
    assert_eq!(latest(&rig).await.len(), server.wishes.len(), "seed {seed}");
    rig.handle().sync(Vec::new()).await.unwrap();
    let emptied = tokio::time::timeout(Duration::from_mins(10), async {
        while rig.sim.inventory() != Inventory::default() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(emptied.await.is_ok(), "seed {seed} leaves {:?}", rig.sim.inventory());
    assert_eq!(rig.sim.violations(), Vec::<String>::new(), "seed {seed}");
}

/// The latest observation of each object, once all of them have been made.
async fn latest(rig: &Rig) -> BTreeMap<ObjectKey, Observed> {
    let mut observations = rig.handle().subscribe();
    let mut latest = BTreeMap::new();
    while let Ok(observed) = tokio::time::timeout(Duration::from_secs(2), observations.next()).await {
        let observed = observed.expect("the agent runs");
        latest.insert(observed.key, observed);
    }
    latest
}

/// The first thing that is not as desired.
async fn amiss(rig: &Rig, server: &Server) -> Option<String> {
    let latest = latest(rig).await;
    let mut wanted = Inventory::default();
    for (key, wish) in &server.wishes {
        let Some(seen) = latest.get(key) else { return Some(format!("{key} is not observed")) };
        if seen.generation != wish.generation || seen.at < Timestamp::default() {
            return Some(format!("{key} is observed at {}, wanted {}", seen.generation, wish.generation));
        }
        match &wish.body {
            None if seen.body == ObservedBody::Removed => {}
            Some(DesiredBody::Vpc(vpc)) if seen.body == ObservedBody::Applied => wanted.vpcs.push(vpc.vpc),
            Some(DesiredBody::SecurityGroup(group)) if seen.body == ObservedBody::Applied => {
                wanted.security_groups.push(group.group);
            }
            Some(DesiredBody::Volume(volume)) if seen.body == ObservedBody::Applied => {
                if rig.sim.volume(volume.volume) != Some((volume.size, volume.limits)) {
                    return Some(format!("{} is not as {volume:?}", volume.volume));
                }
                wanted.volumes.push(volume.volume);
            }
            Some(DesiredBody::Snapshot(snapshot)) => match &seen.body {
                ObservedBody::Snapshot(SnapshotPhase::Completed { tier, .. }) if *tier == snapshot.tier => {
                    wanted.snapshots.push(snapshot.snapshot);
                    let is_fast = rig.sim.fast_snapshots().contains(&snapshot.snapshot);
                    if is_fast != (snapshot.tier == Tier::Fast) {
                        return Some(format!("{key} is fast: {is_fast}"));
                    }
                }
                other => return Some(format!("{key} is {other:?}")),
            },
            Some(DesiredBody::Instance(instance)) => {
                if let Some(amiss) = instance_amiss(rig, server, instance, &seen.body) {
                    return Some(amiss);
                }
                if rig.sim.machine(instance.instance) == MachineState::Running {
                    wanted.machines.push(instance.instance);
                    wanted.ports.extend(instance.interfaces.iter().map(|i| i.interface));
                }
            }
            _ => return Some(format!("{key} is {:?}", seen.body)),
        }
    }
    wanted.ports.sort_unstable();
    let stands = Inventory { consoles: Vec::new(), ..rig.sim.inventory() };
    (stands != wanted).then(|| format!("stands {stands:?}, wanted {wanted:?}"))
}

fn instance_amiss(rig: &Rig, server: &Server, wish: &InstanceDesired, seen: &ObservedBody) -> Option<String> {
    let machine = rig.sim.machine(wish.instance);
    let harmed = server.harmed.contains(&(wish.instance, wish.run));
    let good = match (wish.power, seen) {
        (Power::On, ObservedBody::Instance(InstancePhase::Running { run, devices, .. })) => {
            let mut wanted = Devices {
                volumes: wish.volumes.iter().map(|a| a.volume).collect(),
                interfaces: wish.interfaces.iter().map(|i| i.interface).collect(),
            };
            wanted.volumes.sort_unstable();
            wanted.interfaces.sort_unstable();
            let mut ports = wish.interfaces.iter().map(|i| (rig.sim.interface(i.interface), i));
            *run == wish.run
                && machine == MachineState::Running
                && *devices == wanted
                && ports.all(|(port, wanted)| port.as_ref() == Some(wanted))
        }
        (Power::On, ObservedBody::Instance(InstancePhase::Stopped { run, cause })) => {
            *run == wish.run && machine == MachineState::Absent && harmed && *cause != StopCause::Requested
        }
        (
            Power::Off | Power::Hibernate | Power::ForceOff,
            ObservedBody::Instance(InstancePhase::Stopped { run, cause }),
        ) => {
            let told = match cause {
                StopCause::Requested => machine == MachineState::Absent,
                StopCause::Hibernated => machine == MachineState::Asleep,
                // For a fault of the host's; nothing is kept then.
                StopCause::NotHibernated { .. } => {
                    machine == MachineState::Absent && wish.power == Power::Hibernate
                }
                StopCause::GuestShutdown | StopCause::Crashed { .. } => {
                    machine == MachineState::Absent && harmed
                }
            };
            *run == wish.run && told
        }
        _ => false,
    };
    (!good).then(|| format!("{} is {seen:?} and {machine:?}, wanted {:?}", wish.instance, wish.power))
}
