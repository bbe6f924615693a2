//! Machines that hibernate, real ones: the guest counts in its memory, and writes each number to its disks.

use crate::vmm_rig::{Scratch, qemu_of, spec, text, until, until_says, volume};
use agent::host::linux::vmm::LinuxVmm;
use agent::host::{Block, Device, DiskSpec, Life, MachineSpec, MachineState, Release, Vmm};
use model::host::{Medium, VolumeDesired};
use model::{DataKey, GiB, InstanceId};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A machine with an encrypted root volume and one more, which is not.
async fn machine(scratch: &Scratch) -> MachineSpec {
    let block = scratch.block();
    let mut disks = Vec::new();
    for (number, data_key) in [(1, Some(DataKey::new([1; 32]))), (2, None)] {
        let desired = VolumeDesired {
            fork: None,
            volume: volume(number),
            size: GiB(1),
            image: None,
            snapshot: None,
            limits: None,
            data_key: data_key.clone(),
            shared: false,
        };
        let path = block.ensure_volume(&desired, None).await.unwrap();
        let device = "/dev/sdf".into();
        disks.push(DiskSpec {
            volume: volume(number),
            medium: Medium::Volume,
            path,
            device,
            limits: None,
            data_key,
            forked: None,
        });
    }
    MachineSpec { disks, ..spec(1, "counter") }
}

fn later(machine: &MachineSpec) -> MachineSpec {
    MachineSpec { life: Life::Later, ..machine.clone() }
}

fn numbers(text: &str) -> Vec<u64> {
    // The last line may be half of one.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| line.trim().strip_prefix("COUNT ")?.parse().ok()).collect()
}

async fn last(vmm: &LinuxVmm, instance: InstanceId) -> u64 {
    numbers(&text(vmm, instance).await).last().copied().unwrap_or(0)
}

async fn counts_on(vmm: &LinuxVmm, instance: InstanceId) -> u64 {
    let before = last(vmm, instance).await;
    until("the guest counts on", || async { last(vmm, instance).await >= before + 5 }).await;
    last(vmm, instance).await
}

fn memory(scratch: &Scratch, instance: InstanceId) -> PathBuf {
    scratch.path.join("vms").join(instance.to_string()).join("memory")
}

async fn origin(vmm: &LinuxVmm, instance: InstanceId) -> String {
    let origins = vmm.templates().await.unwrap().origins;
    origins.into_iter().find(|(id, _)| *id == instance).unwrap().1
}

/// Whether a file holds these bytes.
fn holds(file: &Path, wanted: &[u8]) -> bool {
    std::fs::read(file).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[tokio::test]
async fn a_guest_goes_on_where_it_was_however_often_and_what_was_kept_is_unreadable_and_goes() {
    let scratch = Scratch::new();
    let machine = machine(&scratch).await;
    let (id, root) = (machine.instance, machine.disks[0].clone());
    let vmm = scratch.vmm().await;
    vmm.start(&machine, vec![]).await.unwrap();
    for round in 0..2 {
        let before = counts_on(&vmm, id).await;
        vmm.hibernate(id, &root).await.unwrap();
        assert_eq!(vmm.state(id).await.unwrap(), MachineState::Asleep);
        assert_eq!(vmm.machines().await.unwrap(), [], "it has no process");
        let kept = memory(&scratch, id);
        assert!(!holds(&kept.join("state"), b"GUEST-READY"), "its memory lies in the clear");
        // Another agent, which knows nothing but what is there.
        let vmm = scratch.vmm().await;
        assert_eq!(vmm.state(id).await.unwrap(), MachineState::Asleep);
        vmm.start(&later(&machine), vec![]).await.unwrap();
        assert_eq!(vmm.state(id).await.unwrap(), MachineState::Running);
        assert_eq!(origin(&vmm, id).await, "resumed from hibernation");
        assert!(!kept.exists(), "it could be gone on from twice");
        counts_on(&vmm, id).await;
        let counted = numbers(&text(&vmm, id).await);
        assert!(counted.contains(&before), "round {round}: the console begins anew");
        assert!(counted.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}: {counted:?}");
    }
    // A stop without more, and it boots.
    vmm.end(id).await.unwrap();
    assert_eq!(vmm.state(id).await.unwrap(), MachineState::Absent);
    vmm.start(&later(&machine), vec![]).await.unwrap();
    assert_eq!(origin(&vmm, id).await, "cold: templates are off");
    until("it counts from the beginning", || async { numbers(&text(&vmm, id).await).first() == Some(&1) })
        .await;
}

#[tokio::test]
async fn what_is_damaged_or_does_not_fit_is_not_gone_on_from() {
    let scratch = Scratch::new();
    let machine = machine(&scratch).await;
    let (id, root) = (machine.instance, machine.disks[0].clone());
    let vmm = scratch.vmm().await;
    vmm.start(&machine, vec![]).await.unwrap();
    let larger = {
        let mut machine = later(&machine);
        machine.machine.memory.0 += 64;
        machine
    };
    let rootless = {
        let mut machine = later(&machine);
        machine.disks.remove(0);
        machine
    };
    let nothing: fn(&Path) = |_| {};
    let flipped: fn(&Path) = |kept| {
        let mut state = std::fs::read(kept.join("state")).unwrap();
        let middle = state.len() / 2;
        state[middle] ^= 1;
        std::fs::write(kept.join("state"), state).unwrap();
    };
    let cut: fn(&Path) = |kept| {
        let state = std::fs::File::options().write(true).open(kept.join("state")).unwrap();
        state.set_len(state.metadata().unwrap().len() - 1).unwrap();
    };
    let forged: fn(&Path) = |kept| {
        let manifest = std::fs::read_to_string(kept.join("manifest.json")).unwrap();
        std::fs::write(kept.join("manifest.json"), manifest + "\n").unwrap();
    };
    for (harm, next, why) in [
        (flipped, later(&machine), "what was kept is damaged"),
        (cut, later(&machine), "what was kept is damaged"),
        (forged, later(&machine), "what was kept is damaged"),
        (nothing, larger, "its machine would be another"),
        (nothing, rootless, "its root volume is another"),
    ] {
        counts_on(&vmm, id).await;
        vmm.hibernate(id, &root).await.unwrap();
        harm(&memory(&scratch, id));
        vmm.start(&next, vec![]).await.unwrap();
        let origin = origin(&vmm, id).await;
        assert!(origin.starts_with("cold: its memory was lost") && origin.contains(why), "{origin}");
        until_says(&vmm, id, "GUEST-READY").await;
        assert!(!memory(&scratch, id).exists(), "{why}");
        until("it counts from the beginning", || async {
            numbers(&text(&vmm, id).await).first() == Some(&1)
        })
        .await;
    }
}

#[tokio::test]
async fn volumes_may_go_come_and_grow_meanwhile() {
    let scratch = Scratch::new();
    let block = scratch.block();
    let mut machine = machine(&scratch).await;
    machine.machine.direct_kernel = Some("devices".into());
    let (id, root) = (machine.instance, machine.disks[0].clone());
    let vmm = scratch.vmm().await;
    vmm.start(&machine, vec![]).await.unwrap();
    let serial = |number| volume(number).to_string().replace('-', "");
    until_says(&vmm, id, &format!("WROTE {}", serial(2))).await;
    vmm.hibernate(id, &root).await.unwrap();
    // The second is gone, a third is there, and the first has grown.
    let grown = VolumeDesired {
        fork: None,
        volume: volume(1),
        size: GiB(2),
        image: None,
        snapshot: None,
        limits: None,
        data_key: root.data_key.clone(),
        shared: false,
    };
    block.ensure_volume(&grown, None).await.unwrap();
    let third = VolumeDesired { volume: volume(3), data_key: None, ..grown };
    let path = block.ensure_volume(&third, None).await.unwrap();
    let third = DiskSpec { volume: volume(3), path, data_key: None, ..root };
    let machine = MachineSpec { disks: vec![machine.disks[0].clone(), third.clone()], ..later(&machine) };
    vmm.start(&machine, vec![]).await.unwrap();
    assert_eq!(origin(&vmm, id).await, "resumed from hibernation");
    until_says(&vmm, id, &format!("FAILS {}", serial(2))).await;
    until_says(&vmm, id, &format!("SIZE {} {}", serial(1), 2 << 21)).await;
    vmm.plug_disk(id, &third).await.unwrap();
    until_says(&vmm, id, &format!("WROTE {}", serial(3))).await;
    let plugged = vmm.plugged(id).await.unwrap();
    assert_eq!((plugged.whole.volumes.len(), plugged.dead), (2, vec![volume(2)]));
    until("the guest lets go of what is gone", || async {
        let gone = Device::Volume(volume(2));
        vmm.unplug(id, gone).await.unwrap() == Release::Done
    })
    .await;
    until_says(&vmm, id, &format!("LEFT {}", serial(2))).await;
}

#[tokio::test]
async fn without_room_for_its_memory_the_guest_runs_on() {
    let scratch = Scratch::new();
    let _small = Scratch::memory(&scratch.path.join("vms"), 6 << 20);
    {
        let machine = machine(&scratch).await;
        let id = machine.instance;
        let vmm = scratch.vmm().await;
        vmm.start(&machine, vec![]).await.unwrap();
        counts_on(&vmm, id).await;
        let error = vmm.hibernate(id, &machine.disks[0]).await.unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(vmm.state(id).await.unwrap(), MachineState::Running);
        counts_on(&vmm, id).await;
        let left = std::fs::read_dir(memory(&scratch, id).parent().unwrap()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("memory")), "{left:?}");
        vmm.forget(id).await.unwrap();
    }
}

#[tokio::test]
async fn memory_is_void_once_another_machine_gets_one_of_its_volumes() {
    let scratch = Scratch::new();
    let machine = machine(&scratch).await;
    let id = machine.instance;
    let vmm = scratch.vmm().await;
    vmm.start(&machine, vec![]).await.unwrap();
    counts_on(&vmm, id).await;
    vmm.hibernate(id, &machine.disks[0]).await.unwrap();
    let vmm = scratch.vmm().await;
    let other = MachineSpec { disks: vec![machine.disks[1].clone()], ..spec(2, "idle") };
    vmm.start(&other, vec![]).await.unwrap();
    assert_eq!(vmm.state(id).await.unwrap(), MachineState::Absent);
    vmm.end(other.instance).await.unwrap();
    vmm.start(&later(&machine), vec![]).await.unwrap();
    until("it counts from the beginning", || async { numbers(&text(&vmm, id).await).first() == Some(&1) })
        .await;
}

#[tokio::test]
async fn whoever_is_killed_in_the_middle_nothing_is_gone_on_from_twice_or_by_half() {
    let scratch = Scratch::new();
    let machine = machine(&scratch).await;
    let (id, root) = (machine.instance, machine.disks[0].clone());
    scratch.vmm().await.start(&machine, vec![]).await.unwrap();
    let kill = |at: &str| {
        let pid = std::panic::catch_unwind(|| qemu_of(&scratch, id)).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            println!("killed while {at}");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    };
    let mut interrupted = [0; 2];
    for round in 0..8_u64 {
        let mut vmm = scratch.vmm().await;
        counts_on(&vmm, id).await;
        // The agent dies at some instant of the way down.
        let cut = tokio::time::timeout(Duration::from_millis(round * 45), vmm.hibernate(id, &root)).await;
        interrupted[0] += u32::from(cut.is_err());
        drop(vmm);
        vmm = scratch.vmm().await;
        match vmm.state(id).await.unwrap() {
            MachineState::Asleep => {}
            MachineState::Running => {
                counts_on(&vmm, id).await;
                vmm.hibernate(id, &root).await.unwrap();
            }
            other => panic!("round {round}: {other:?}"),
        }
        let slept = vmm.state(id).await.unwrap();
        assert_eq!(slept, MachineState::Asleep, "round {round}");
        // And of the way up; its machine too, now and then.
        let next = later(&machine);
        let start = vmm.start(&next, vec![]);
        let cut = tokio::time::timeout(Duration::from_millis(100 + round * 90), start).await;
        interrupted[1] += u32::from(cut.is_err());
        let killed = round % 3 == 2 && cut.is_err();
        if killed {
            kill("waking");
        }
        drop(vmm);
        vmm = scratch.vmm().await;
        for _ in 0..20 {
            match vmm.state(id).await.unwrap() {
                MachineState::Running => break,
                // What was cut short may still be on its way out.
                MachineState::Asleep | MachineState::Absent => {
                    let _again = vmm.start(&later(&machine), vec![]).await;
                }
                MachineState::PoweredOff => panic!("round {round}: it is off"),
            }
        }
        assert_eq!(vmm.state(id).await.unwrap(), MachineState::Running, "round {round}");
        assert!(!memory(&scratch, id).exists(), "round {round}: it could be gone on from twice");
        counts_on(&vmm, id).await;
        let counted = numbers(&text(&vmm, id).await);
        let goes_on = counted.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(goes_on, "round {round}: {counted:?}");
        assert!(killed || counted.first() != Some(&1) || counted.len() > 5, "round {round}: {counted:?}");
    }
    println!("interrupted on the way down and up: {interrupted:?}");
}
