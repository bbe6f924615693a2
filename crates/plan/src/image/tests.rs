use super::*;
use crate::instance::admit::tests::image;
use model::record::account::Criterion;
use model::{AccountId, GiB, Timestamp};
use std::time::Duration;

fn attached(number: u128, device: &str, size: u32, volume_type: VolumeType) -> Attached {
    let iops = (volume_type != VolumeType::Standard).then_some(3000);
    Attached {
        device: device.into(),
        volume: VolumeId::from_entropy(number),
        provision: Provision { volume_type, size: GiB(size), iops, throughput: None, multi_attach: false },
        delete_on_termination: number == 1,
    }
}

fn change(device: &str, spec: VolumeSpec) -> DeviceSpec {
    DeviceSpec { device: device.into(), change: DeviceChange::Volume(spec) }
}

fn omit(device: &str) -> DeviceSpec {
    DeviceSpec { device: device.into(), change: DeviceChange::Omit }
}

fn of_snapshot(number: u128, size: u32) -> VolumeSpec {
    VolumeSpec {
        snapshot: Some(SnapshotId::from_entropy(number)),
        snapshot_size: Some(GiB(size)),
        ..VolumeSpec::default()
    }
}

#[test]
fn names_are_of_few_letters() {
    for name in ["web", "web 1.0 (a)/[b]-'c'@d_e", &"a".repeat(128)] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "ab", "webé", "web:1", "a\nb", &"a".repeat(129)] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn all_volumes_of_an_instance_are_captured_unless_the_caller_says_otherwise() {
    let own = [
        attached(1, "/dev/xvda", 8, VolumeType::Gp3),
        attached(2, "/dev/sdf", 4, VolumeType::Standard),
        attached(3, "/dev/sdg", 4, VolumeType::Gp2),
    ];
    let all = captured(&own, "/dev/xvda", &[]).unwrap();
    let contents: Vec<_> = all.iter().map(|device| device.content).collect();
    assert_eq!(contents, [1, 2, 3].map(|n| Content::Volume(VolumeId::from_entropy(n))));
    let root = all[0].clone().into_image(Some(SnapshotId::from_entropy(9)));
    assert_eq!((root.size, root.volume_type.as_str(), root.iops), (GiB(8), "gp3", Some(3000)));
    assert!(root.delete_on_termination);
    assert_eq!(all[2].clone().into_image(None).iops, None, "a gp2 has no choice");

    let larger = VolumeSpec { size: Some(20), delete_on_termination: Some(false), ..VolumeSpec::default() };
    let empty = VolumeSpec { size: Some(5), ..VolumeSpec::default() };
    let changes = [
        change("xvda", larger),
        omit("/dev/sdf"),
        change("/dev/sdh", empty),
        change("/dev/sdg", of_snapshot(7, 6)),
    ];
    let some = captured(&own, "/dev/xvda", &changes).unwrap();
    let contents: Vec<_> = some.iter().map(|device| device.content).collect();
    let snapshot = SnapshotId::from_entropy(7);
    assert_eq!(
        contents,
        [Content::Volume(VolumeId::from_entropy(1)), Content::Snapshot(snapshot), Content::Empty]
    );
    let root = some[0].clone().into_image(None);
    assert_eq!((root.size, root.delete_on_termination), (GiB(20), false));
}

#[test]
fn an_instance_without_its_root_is_no_image() {
    let own = [attached(1, "/dev/xvda", 8, VolumeType::Gp3)];
    assert_eq!(captured(&own, "/dev/xvda", &[omit("/dev/xvda")]), Err(Refusal::NoRoot));
    assert_eq!(captured(&own, "/dev/sda1", &[]), Err(Refusal::NoRoot));
    assert_eq!(captured(&[], "/dev/xvda", &[]), Err(Refusal::NoRoot));
    assert_eq!(
        captured(&own, "/dev/xvda", &[change("/dev/xvda", of_snapshot(1, 1))]),
        Err(Refusal::RootSnapshot)
    );
    let smaller = VolumeSpec { size: Some(7), ..VolumeSpec::default() };
    assert!(matches!(
        captured(&own, "/dev/xvda", &[change("/dev/xvda", smaller)]),
        Err(Refusal::SmallerThanImage { size: 7, .. })
    ));
}

#[test]
fn an_image_is_registered_of_a_snapshot_of_its_root() {
    let specs = [change("/dev/sdf", of_snapshot(2, 4)), change("/dev/sda1", of_snapshot(1, 8))];
    let devices = registered("/dev/sda1", &specs).unwrap();
    let root = devices[0].clone().into_image(Some(SnapshotId::from_entropy(1)));
    assert_eq!((root.device.as_str(), root.size, root.delete_on_termination), ("/dev/sda1", GiB(8), true));
    assert_eq!(registered("/dev/xvda", &specs), Err(Refusal::NoRoot));
    let empty = VolumeSpec { size: Some(8), ..VolumeSpec::default() };
    assert_eq!(registered("/dev/sda1", &[change("/dev/sda1", empty)]), Err(Refusal::NoRoot));
}

#[test]
fn an_image_is_available_when_all_its_snapshots_are() {
    let done = Life::Completed { at: Timestamp::default(), full: 0 };
    let pending = Life::Pending { taken: true, percent: 0 };
    let failed = Life::Failed { reason: "no space".into() };
    assert_eq!(settled([Some(&done), Some(&pending)]), None);
    assert_eq!(settled([Some(&done), Some(&done)]), Some(State::Available));
    let reason = "no space".to_owned();
    assert_eq!(settled([Some(&pending), Some(&failed)]), Some(State::Failed { reason }));
    assert!(matches!(settled([None]), Some(State::Failed { .. })));
}

#[test]
fn one_criterion_is_enough_and_all_of_it_must_hold() {
    let day = |days: u64| Timestamp::default() + Duration::from_hours(24 * days);
    let same = |pattern: &str, name: &str| pattern == name;
    let mut image = image();
    image.owner = AccountId::from_number(7);
    image.created_at = day(0);
    let is = |criteria: &[Criterion], at: u64| allowed::is_allowed(&image, criteria, day(at), same);
    let by = |provider: &str| Criterion { providers: vec![provider.into()], ..Criterion::default() };
    assert!(is(&[], 0));
    assert!(is(&[by("000000000007")], 0));
    assert!(!is(&[by("amazon")], 0));
    assert!(is(&[by("amazon"), by("000000000007")], 0));
    let named = Criterion { names: vec!["nano".into()], ..by("amazon") };
    assert!(!is(&[named], 0));
    let fresh = Criterion { days_since_created: Some(3), ..Criterion::default() };
    assert!(is(std::slice::from_ref(&fresh), 3));
    assert!(!is(&[fresh], 4));
}
