use super::*;
use model::host::{Architecture, InstanceDesired, InstancePhase, Machine, Power};
use model::metadata::{Metadata, MetadataOptions};
use model::{AccountId, ImageId, InstanceId, MiB, ReservationId, Zone};
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn wish(power: Power, run: u64, reboots: u64) -> InstanceDesired {
    InstanceDesired {
        fork: None,
        instance: InstanceId::from_entropy(1),
        account: AccountId::from_number(1),
        zone: Zone::parse("us-east-1a").unwrap(),
        power,
        run,
        reboots,
        machine: Machine {
            instance_type: "t3.micro".into(),
            architecture: Architecture::X86_64,
            vcpus: 2,
            memory: MiB(1024),
            direct_kernel: None,
            firmware: model::host::Firmware::LegacyBios,
        },
        volumes: Vec::new(),
        torn_out: Vec::new(),
        interfaces: Vec::new(),
        cut_off: Vec::new(),
        metadata: Metadata {
            image: ImageId::from_entropy(1),
            reservation: ReservationId::from_entropy(1),
            launch_index: 0,
            pending_time: Timestamp::default(),
            public_key: None,
            user_data: None,
            group_names: [].into(),
            interface_owners: [].into(),
            options: MetadataOptions::default(),
            hibernation: false,
            tags: None,
        },
    }
}

/// A host with one instance, small enough to be obviously right.
struct World {
    record: InstanceRecord,
    machine: MachineState,
    boot_id: Arc<str>,
    now: Timestamp,
    ready: bool,
    ports_current: bool,
    plugged: Plugged,
    asked: AskedAt,
    obeys: bool,
    /// Whether memory can be kept.
    keeps: bool,
    forgotten: bool,
    starts: Vec<u64>,
    resets: u32,
}

impl World {
    fn new() -> Self {
        Self {
            record: InstanceRecord::default(),
            machine: MachineState::Absent,
            boot_id: "boot-1".into(),
            now: Timestamp::from_millis(1_000_000),
            ready: true,
            ports_current: false,
            plugged: Plugged::default(),
            asked: AskedAt::new(),
            obeys: true,
            keeps: true,
            forgotten: false,
            starts: Vec::new(),
            resets: 0,
        }
    }

    fn decide(&self, wish: Option<&InstanceDesired>) -> Step {
        let facts = Facts {
            machine: self.machine,
            now: self.now,
            boot_id: &self.boot_id,
            graces: Graces { stop: Duration::from_mins(1), reboot: Duration::from_mins(4) },
            ready: self.ready,
            ports_current: self.ports_current,
            plugged: &self.plugged,
            asked: &self.asked,
        };
        next_step(wish, &self.record, &facts)
    }

    /// Takes one step. The fault says where it fails: before the work, or after it without saying so.
    fn step(&mut self, wish: Option<&InstanceDesired>, fault: Option<Fault>) -> Step {
        let step = self.decide(wish);
        if self.record.state != step.state {
            assert!(
                !matches!(step.state, RunState::Starting { .. })
                    || matches!(self.machine, MachineState::Absent | MachineState::Asleep),
                "a start is decided only while no machine is there"
            );
            self.record.state = step.state.clone();
        }
        if fault == Some(Fault::Before) {
            return step;
        }
        match &step.act {
            Act::Start => {
                assert!(matches!(self.machine, MachineState::Absent | MachineState::Asleep));
                self.record.ports = vec![NetworkInterfaceId::from_entropy(1)];
                self.machine = MachineState::Running;
                self.starts.push(self.record.state.run().unwrap());
            }
            Act::EnsureDevices(changes) => {
                let gone: Vec<Device> = changes.unplug.clone();
                self.record = self.record.without(&gone);
                self.ports_current = self.ready;
            }
            Act::PressPowerButton => {
                if self.obeys {
                    self.machine = MachineState::PoweredOff;
                }
            }
            Act::Reset => {
                self.machine = MachineState::Running;
                self.resets += 1;
            }
            Act::Hibernate if self.keeps => self.machine = MachineState::Asleep,
            Act::Hibernate => {
                self.record = self.record.unkept("the disk is full".into());
                return step;
            }
            Act::End => self.machine = MachineState::Absent,
            Act::Forget => {
                self.machine = MachineState::Absent;
                self.forgotten = true;
            }
            Act::WaitUntil(until) => {
                assert!(*until > self.now);
                self.now = *until;
            }
            Act::Release | Act::Rest | Act::Await => {}
        }
        if fault.is_none() {
            self.record = self.record.after(&step.act, self.now);
        }
        step
    }

    fn settle(&mut self, wish: Option<&InstanceDesired>) -> Option<InstancePhase> {
        for _ in 0..300 {
            let step = self.step(wish, None);
            if matches!(step.act, Act::Rest | Act::Forget | Act::Await) {
                return step.phase;
            }
        }
        panic!("does not settle: {:?} {:?}", self.record, self.machine);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Before,
    After,
}

fn stopped(run: u64, cause: StopCause) -> Option<InstancePhase> {
    Some(InstancePhase::Stopped { run, cause })
}

fn is_running(phase: Option<&InstancePhase>, wanted: u64) -> bool {
    matches!(phase, Some(InstancePhase::Running { run, .. }) if *run == wanted)
}

fn is_crashed(phase: Option<&InstancePhase>) -> bool {
    matches!(phase, Some(InstancePhase::Stopped { cause: StopCause::Crashed { .. }, .. }))
}

#[test]
fn a_new_instance_is_started_once() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    assert!(is_running(world.settle(Some(&on)).as_ref(), 1));
    assert!(is_running(world.settle(Some(&on)).as_ref(), 1));
    assert_eq!(world.starts, [1]);
}

#[test]
fn an_instance_waits_for_what_it_stands_on() {
    let mut world = World { ready: false, ..World::new() };
    let on = wish(Power::On, 1, 0);
    assert_eq!(world.settle(Some(&on)), Some(InstancePhase::Starting { run: 1 }));
    assert_eq!(world.decide(Some(&on)).act, Act::Await);
    world.ready = true;
    assert!(is_running(world.settle(Some(&on)).as_ref(), 1));
}

#[test]
fn a_machine_that_vanishes_is_reported_and_not_started_again_in_its_run() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.settle(Some(&on));
    world.machine = MachineState::Absent;
    assert!(is_crashed(world.settle(Some(&on)).as_ref()));
    assert!(world.record.ports.is_empty());
    world.boot_id = "boot-2".into();
    assert!(is_crashed(world.settle(Some(&on)).as_ref()), "not even after a host reboot");
    assert!(is_running(world.settle(Some(&wish(Power::On, 2, 0))).as_ref(), 2));
    assert_eq!(world.starts, [1, 2]);
}

#[test]
fn after_a_host_reboot_the_machine_is_started_again_in_its_run() {
    let mut world = World::new();
    let on = wish(Power::On, 3, 0);
    world.settle(Some(&on));
    world.machine = MachineState::Absent;
    world.boot_id = "boot-2".into();
    assert!(is_running(world.settle(Some(&on)).as_ref(), 3));
    assert_eq!(world.starts, [3, 3]);
}

#[test]
fn a_guest_that_powers_off_is_ended_and_reported() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.settle(Some(&on));
    world.machine = MachineState::PoweredOff;
    assert_eq!(world.settle(Some(&on)), stopped(1, StopCause::GuestShutdown));
    assert_eq!(world.machine, MachineState::Absent);
}

#[test]
fn the_cause_of_an_end_survives_a_crash_between_the_end_and_its_note() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.settle(Some(&on));
    world.machine = MachineState::PoweredOff;
    while world.machine != MachineState::Absent {
        world.step(Some(&on), Some(Fault::After));
    }
    assert_eq!(world.settle(Some(&on)), stopped(1, StopCause::GuestShutdown));
}

#[test]
fn a_power_off_before_the_start_was_noted_is_not_missed() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.step(Some(&on), Some(Fault::After));
    world.machine = MachineState::PoweredOff;
    assert_eq!(world.settle(Some(&on)), stopped(1, StopCause::GuestShutdown));
}

#[test]
fn a_stop_presses_the_button_and_then_cuts_the_power() {
    for obeys in [true, false] {
        let mut world = World { obeys, ..World::new() };
        world.settle(Some(&wish(Power::On, 1, 0)));
        let before = world.now;
        let off = wish(Power::Off, 1, 0);
        assert_eq!(world.decide(Some(&off)).act, Act::PressPowerButton);
        assert_eq!(world.settle(Some(&off)), stopped(1, StopCause::Requested));
        assert_eq!(world.now.since(before).as_secs(), if obeys { 0 } else { 60 });
        assert_eq!(world.machine, MachineState::Absent);
    }
}

#[test]
fn a_guest_that_still_boots_feels_a_later_press() {
    let mut world = World { obeys: false, ..World::new() };
    world.settle(Some(&wish(Power::On, 1, 0)));
    let before = world.now;
    let off = wish(Power::Off, 1, 0);
    assert_eq!(world.step(Some(&off), None).act, Act::PressPowerButton);
    assert!(matches!(world.step(Some(&off), None).act, Act::WaitUntil(_)));
    world.obeys = true;
    assert_eq!(world.settle(Some(&off)), stopped(1, StopCause::Requested));
    assert_eq!(world.now.since(before).as_secs(), 2);
}

#[test]
fn a_forced_stop_asks_nobody() {
    let mut world = World { obeys: false, ..World::new() };
    world.settle(Some(&wish(Power::On, 1, 0)));
    let force = wish(Power::ForceOff, 1, 0);
    assert_eq!(world.decide(Some(&force)).act, Act::End);
    assert_eq!(world.settle(Some(&force)), stopped(1, StopCause::Requested));
}

#[test]
fn a_stop_of_what_never_ran_is_stopped_at_once() {
    let mut world = World::new();
    assert_eq!(world.settle(Some(&wish(Power::Off, 1, 0))), stopped(1, StopCause::Requested));
    assert!(world.starts.is_empty());
}

#[test]
fn a_reboot_resets_once_when_the_guest_shuts_down_and_by_force_when_it_does_not() {
    for obeys in [true, false] {
        let mut world = World { obeys, ..World::new() };
        world.settle(Some(&wish(Power::On, 1, 0)));
        let before = world.now;
        let rebooted = wish(Power::On, 1, 1);
        assert!(is_running(world.settle(Some(&rebooted)).as_ref(), 1));
        assert!(is_running(world.settle(Some(&rebooted)).as_ref(), 1));
        assert_eq!((world.resets, world.starts.len()), (1, 1));
        assert_eq!(world.now.since(before).as_secs(), if obeys { 0 } else { 240 });
    }
}

#[test]
fn a_guest_shutdown_while_a_reboot_is_wanted_is_the_reboot() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    world.machine = MachineState::PoweredOff;
    assert!(is_running(world.settle(Some(&wish(Power::On, 1, 1))).as_ref(), 1));
    assert_eq!(world.resets, 1);
}

#[test]
fn a_reset_that_worked_without_saying_so_is_not_repeated_after_a_soft_reboot() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    let rebooted = wish(Power::On, 1, 1);
    world.step(Some(&rebooted), None);
    assert_eq!(world.step(Some(&rebooted), Some(Fault::After)).act, Act::Reset);
    assert!(is_running(world.settle(Some(&rebooted)).as_ref(), 1));
    assert_eq!(world.resets, 1);
}

#[test]
fn a_later_run_ends_the_machine_of_an_earlier_one_first() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    assert!(is_running(world.settle(Some(&wish(Power::On, 2, 0))).as_ref(), 2));
    assert_eq!(world.starts, [1, 2]);
}

#[test]
fn a_machine_whose_record_is_lost_is_adopted() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.settle(Some(&on));
    world.record = InstanceRecord::default();
    assert!(is_running(world.settle(Some(&on)).as_ref(), 1));
    assert_eq!(world.starts, [1]);
}

#[test]
fn what_cannot_be_started_stays_so_for_its_run() {
    let mut world = World::new();
    let on = wish(Power::On, 1, 0);
    world.step(Some(&on), Some(Fault::Before));
    world.record = world.record.unstartable(1, "no such image".into());
    let unstartable = Some(InstancePhase::Unstartable { run: 1, reason: "no such image".into() });
    assert_eq!(world.settle(Some(&on)), unstartable);
    assert!(is_running(world.settle(Some(&wish(Power::On, 2, 0))).as_ref(), 2));
}

#[test]
fn a_removed_instance_leaves_nothing() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    assert_eq!(world.settle(None), None);
    assert!(world.forgotten && world.record.ports.is_empty());
    assert_eq!(world.machine, MachineState::Absent);
}

#[test]
fn a_machine_is_hibernated_and_its_next_run_begins_from_that() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    let asleep = wish(Power::Hibernate, 1, 0);
    assert_eq!(world.decide(Some(&asleep)).act, Act::Hibernate);
    assert_eq!(world.settle(Some(&asleep)), stopped(1, StopCause::Hibernated));
    assert_eq!(world.machine, MachineState::Asleep);
    assert!(world.record.ports.is_empty());
    world.boot_id = "boot-2".into();
    assert_eq!(world.settle(Some(&asleep)), stopped(1, StopCause::Hibernated), "also when the host restarts");
    assert!(is_running(world.settle(Some(&wish(Power::On, 2, 0))).as_ref(), 2));
    assert_eq!(world.starts, [1, 2]);
}

#[test]
fn a_machine_that_was_kept_without_saying_so_is_known_by_its_memory() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    assert_eq!(world.step(Some(&wish(Power::Hibernate, 1, 0)), Some(Fault::After)).act, Act::Hibernate);
    // Whatever is wanted meanwhile.
    for power in [Power::Hibernate, Power::Off, Power::ForceOff] {
        assert_eq!(world.settle(Some(&wish(power, 1, 0))), stopped(1, StopCause::Hibernated), "{power:?}");
    }
}

#[test]
fn a_guest_whose_memory_cannot_be_kept_is_asked_to_shut_down_and_it_is_told() {
    let mut world = World { keeps: false, ..World::new() };
    world.settle(Some(&wish(Power::On, 1, 0)));
    let unkept = StopCause::NotHibernated { reason: "the disk is full".into() };
    assert_eq!(world.settle(Some(&wish(Power::Hibernate, 1, 0))), stopped(1, unkept));
    assert_eq!(world.machine, MachineState::Absent);
    world.settle(Some(&wish(Power::On, 2, 0)));
    world.keeps = true;
    assert_eq!(world.settle(Some(&wish(Power::Hibernate, 2, 0))), stopped(2, StopCause::Hibernated));
}

#[test]
fn a_hibernation_waits_for_what_opens_the_volumes_and_a_forced_stop_for_nothing() {
    let mut world = World::new();
    world.settle(Some(&wish(Power::On, 1, 0)));
    world.ready = false;
    assert_eq!(world.settle(Some(&wish(Power::Hibernate, 1, 0))), Some(InstancePhase::Stopping { run: 1 }));
    assert_eq!(world.machine, MachineState::Running);
    assert_eq!(world.settle(Some(&wish(Power::ForceOff, 1, 0))), stopped(1, StopCause::Requested));
}

#[derive(Debug, Clone)]
enum Happening {
    Wish(Power),
    NextRun,
    Reboot,
    GuestOff,
    Killed,
    HostReboot,
    Step(Option<Fault>),
    Obeys(bool),
    Keeps(bool),
    Ready(bool),
    Wait(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        Just(Happening::Wish(Power::On)),
        Just(Happening::Wish(Power::Off)),
        Just(Happening::Wish(Power::ForceOff)),
        Just(Happening::Wish(Power::Hibernate)),
        Just(Happening::NextRun),
        Just(Happening::Reboot),
        Just(Happening::GuestOff),
        Just(Happening::Killed),
        Just(Happening::HostReboot),
        any::<bool>().prop_map(Happening::Obeys),
        any::<bool>().prop_map(Happening::Keeps),
        any::<bool>().prop_map(Happening::Ready),
        (0..300u32).prop_map(Happening::Wait),
        Just(Happening::Step(None)),
        Just(Happening::Step(Some(Fault::Before))),
        Just(Happening::Step(Some(Fault::After))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happened_quiet_leads_to_what_is_desired(story in prop::collection::vec(happening(), 0..40)) {
        let mut world = World::new();
        let mut wanted = wish(Power::On, 1, 0);
        for event in story {
            match event {
                Happening::Wish(power) => wanted.power = power,
                Happening::NextRun => { wanted.run += 1; wanted.reboots = 0; wanted.power = Power::On; }
                Happening::Reboot => wanted.reboots += 1,
                Happening::GuestOff if world.machine == MachineState::Running => world.machine = MachineState::PoweredOff,
                Happening::Killed if world.machine != MachineState::Asleep => world.machine = MachineState::Absent,
                Happening::HostReboot => {
                    if world.machine != MachineState::Asleep {
                        world.machine = MachineState::Absent;
                    }
                    world.boot_id = format!("{}x", world.boot_id).into();
                }
                Happening::Step(fault) => { world.step(Some(&wanted), fault); }
                Happening::Obeys(obeys) => world.obeys = obeys,
                Happening::Keeps(keeps) => world.keeps = keeps,
                Happening::Ready(ready) => world.ready = ready,
                Happening::Wait(seconds) => world.now = world.now + Duration::from_secs(seconds.into()),
                Happening::GuestOff | Happening::Killed => {}
            }
        }
        world.ready = true;
        let first = world.settle(Some(&wanted));
        let again = world.decide(Some(&wanted));
        prop_assert_eq!(&again.act, &Act::Rest);
        prop_assert_eq!(&again.state, &world.record.state);
        prop_assert_eq!(&again.phase, &first);
        match (wanted.power, first) {
            (Power::On, Some(InstancePhase::Running { run, .. })) => {
                prop_assert_eq!(run, wanted.run);
                prop_assert_eq!(world.machine, MachineState::Running);
            }
            (_, Some(InstancePhase::Stopped { run, cause })) => {
                prop_assert_eq!(run, wanted.run);
                let asleep = world.machine == MachineState::Asleep;
                prop_assert!(asleep || world.machine == MachineState::Absent);
                prop_assert_eq!(asleep, cause == StopCause::Hibernated);
                prop_assert!(world.record.ports.is_empty());
            }
            other => prop_assert!(false, "unexpected: {:?}", other),
        }
        prop_assert!(world.starts.is_sorted());
        world.settle(None);
        prop_assert!(world.forgotten);
        prop_assert_eq!(world.machine, MachineState::Absent);
    }
}
