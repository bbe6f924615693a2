use super::modification::{OPTIMIZING, Stage, counted, stage};
use super::*;
use VolumeType::{Gp2, Gp3, Io1, Io2, Sc1, St1, Standard};
use model::Timestamp;
use model::host::{Burst, Rate as HostRate};
use model::record::volume::Modification;
use std::time::Duration;

fn asked(volume_type: VolumeType, size: i64, iops: Option<i32>, throughput: Option<i32>) -> Asked {
    Asked { volume_type, size, iops, throughput, multi_attach: false }
}

fn made(volume_type: VolumeType, size: i64, iops: Option<i32>, throughput: Option<i32>) -> Provision {
    provision(&asked(volume_type, size, iops, throughput)).unwrap()
}

#[test]
fn each_type_has_its_defaults() {
    for (volume_type, size, iops, shown) in [
        (Standard, 1, None, (None, None)),
        (Gp2, 1, None, (Some(100), None)),
        (Gp2, 34, None, (Some(102), None)),
        (Gp2, 5334, None, (Some(16_000), None)),
        (Gp2, 16_384, None, (Some(16_000), None)),
        (Gp3, 1, None, (Some(3000), Some(125))),
        (Gp3, 65_536, None, (Some(3000), Some(125))),
        (Io1, 4, Some(200), (Some(200), None)),
        (Io2, 65_536, Some(256_000), (Some(256_000), None)),
        (St1, 125, None, (None, None)),
        (Sc1, 16_384, None, (None, None)),
    ] {
        let made = made(volume_type, size, iops, None);
        assert_eq!((made.iops, made.throughput), shown, "{volume_type} {size}");
    }
}

#[test]
fn what_a_type_cannot_be_is_refused() {
    use super::Rate::{Iops, Throughput};
    let small = |volume_type, size, least| Refusal::TooSmall { volume_type, size, least };
    let large = |volume_type, size, most| Refusal::TooLarge { volume_type, size, most };
    let high = |what, value, most| Refusal::TooHigh { what, value, most };
    let low = |what, value, least| Refusal::TooLow { what, value, least };
    let ratio = |iops, size, most| Refusal::IopsPerGiB { iops, size: GiB(size), most };
    for (given, refusal) in [
        (asked(Standard, 0, None, None), small(Standard, 0, 1)),
        (asked(Standard, 1025, None, None), large(Standard, 1025, 1024)),
        (asked(Gp2, 16_385, None, None), large(Gp2, 16_385, 16_384)),
        (asked(Gp3, 65_537, None, None), large(Gp3, 65_537, 65_536)),
        (asked(Gp3, -1, None, None), small(Gp3, -1, 1)),
        (asked(Io1, 3, Some(100), None), small(Io1, 3, 4)),
        (asked(St1, 124, None, None), small(St1, 124, 125)),
        (asked(Sc1, 124, None, None), small(Sc1, 124, 125)),
        (asked(Gp2, 10, Some(100), None), Refusal::NoChoice { what: Iops, volume_type: Gp2 }),
        (asked(Io1, 10, Some(100), Some(125)), Refusal::NoChoice { what: Throughput, volume_type: Io1 }),
        (asked(Io1, 10, None, None), Refusal::NoIops(Io1)),
        (asked(Io2, 10, None, None), Refusal::NoIops(Io2)),
        (asked(Gp3, 10, Some(2999), None), low(Iops, 2999, 3000)),
        (asked(Gp3, 1000, Some(80_001), None), high(Iops, 80_001, 80_000)),
        (asked(Gp3, 1000, None, Some(124)), low(Throughput, 124, 125)),
        (asked(Gp3, 1000, Some(80_000), Some(2001)), high(Throughput, 2001, 2000)),
        (asked(Io1, 16_384, Some(64_001), None), high(Iops, 64_001, 64_000)),
        (asked(Io2, 16_384, Some(256_001), None), high(Iops, 256_001, 256_000)),
        (asked(Io1, 10, Some(501), None), ratio(501, 10, 50)),
        (asked(Io2, 10, Some(10_001), None), ratio(10_001, 10, 1000)),
        (asked(Gp3, 10, Some(5001), None), ratio(5001, 10, 500)),
        (asked(Gp3, 10, None, Some(751)), Refusal::ThroughputPerIops { throughput: 751, iops: 3000 }),
        (Asked { multi_attach: true, ..asked(Gp3, 10, None, None) }, Refusal::NoMultiAttach(Gp3)),
    ] {
        assert_eq!(provision(&given), Err(refusal), "{given:?}");
    }
    made(Io1, 10, Some(500), None);
    made(Gp3, 10, Some(5000), None);
    made(Gp3, 160, Some(80_000), Some(2000));
    made(Gp3, 1, None, Some(750));
    assert!(provision(&Asked { multi_attach: true, ..asked(Io2, 10, Some(100), None) }).is_ok());
}

#[test]
fn limits_follow_the_type_and_the_size() {
    const MIB: u64 = 1 << 20;
    let of = |volume_type, size, iops, throughput| limits(&made(volume_type, size, iops, throughput));
    let gp3 = of(Gp3, 10, None, None);
    assert_eq!(gp3.iops, HostRate { base: 3000, burst: None });
    assert_eq!((gp3.bytes.base, gp3.operation), (125 * MIB, 256 << 10));
    let gp2 = of(Gp2, 100, None, None);
    // 5.4 million operations, of which 300 a second are earned while 3000 are spent.
    assert_eq!(gp2.iops, HostRate { base: 300, burst: Some(Burst { rate: 3000, seconds: 2000 }) });
    assert_eq!(gp2.bytes.base, 128 * MIB);
    assert_eq!(of(Gp2, 1000, None, None).iops.burst, None, "it is as fast without credit");
    assert_eq!(of(Gp2, 171, None, None).bytes.base, 250 * MIB);
    assert_eq!(of(Io1, 1280, Some(1000), None).bytes.base, 250 * MIB);
    assert_eq!(of(Io1, 1280, Some(20_000), None).bytes.base, 500 * MIB);
    assert_eq!(of(Io1, 1280, Some(64_000), None).bytes.base, 1000 * MIB);
    assert_eq!(of(Io2, 256, Some(256_000), None).bytes.base, 4000 * MIB);
    let st1 = of(St1, 1024, None, None);
    assert_eq!(st1.bytes, HostRate { base: 40 * MIB, burst: Some(Burst { rate: 250 * MIB, seconds: 4993 }) });
    assert_eq!((st1.iops.base, st1.iops.burst.unwrap().rate, st1.operation), (40, 250, 1 << 20));
    assert_eq!(of(St1, 16_384, None, None).bytes.burst, None, "500 MiB/s always");
    let sc1 = of(Sc1, 16_384, None, None);
    assert_eq!((sc1.bytes.base, sc1.bytes.burst.unwrap().rate), (192 * MIB, 250 * MIB));
    for volume_type in VolumeType::ALL {
        let least = made(volume_type, 125, volume_type.needs_iops(), None);
        assert!(limits(&least).iops.base > 0 && limits(&least).bytes.base > 0, "{volume_type}");
    }
}

trait NeedsIops {
    fn needs_iops(self) -> Option<i32>;
}

impl NeedsIops for VolumeType {
    fn needs_iops(self) -> Option<i32> {
        matches!(self, Io1 | Io2).then_some(100)
    }
}

#[test]
fn a_modification_keeps_what_it_does_not_name() {
    let gp3 = made(Gp3, 10, Some(4000), Some(200));
    let change = |change: Change| modify(&gp3, &change, false);
    let grown = change(Change { size: Some(20), ..Change::default() }).unwrap();
    assert_eq!(grown, Provision { size: GiB(20), ..gp3 });
    let slower = change(Change { throughput: Some(125), ..Change::default() }).unwrap();
    assert_eq!((slower.iops, slower.throughput), (Some(4000), Some(125)));
    let gp2 = change(Change { volume_type: Some(Gp2), ..Change::default() }).unwrap();
    assert_eq!((gp2.iops, gp2.throughput), (Some(100), None));
    let io2 = change(Change { volume_type: Some(Io2), ..Change::default() }).unwrap();
    assert_eq!((io2.iops, io2.throughput), (Some(3000), None), "the default of a new type");
    let back = modify(&io2, &Change { volume_type: Some(Gp3), ..Change::default() }, true).unwrap();
    assert_eq!((back.iops, back.throughput), (Some(3000), Some(125)));
    assert_eq!(
        change(Change { size: Some(9), ..Change::default() }),
        Err(Refusal::Shrinks { from: GiB(10), to: 9 })
    );
    let st1 = Change { volume_type: Some(St1), ..Change::default() };
    assert!(matches!(change(st1), Err(Refusal::TooSmall { .. })));
    let shared = Change { multi_attach: Some(true), ..Change::default() };
    assert_eq!(change(shared), Err(Refusal::MultiAttachIsFixed));
    assert!(modify(&io2, &shared, false).unwrap().multi_attach);
    assert_eq!(modify(&io2, &shared, true), Err(Refusal::MultiAttachIsFixed));
}

#[test]
fn a_modification_ends_by_the_clock_once_it_is_in_force() {
    let provision = made(Gp3, 10, None, None);
    let at = Timestamp::from_millis(1_000);
    let mut modification =
        Modification { started_at: at, original: provision, target: provision, in_force_since: None };
    assert_eq!(stage(&modification, at + Duration::from_hours(1)), Stage::Modifying);
    modification.in_force_since = Some(at);
    assert_eq!(stage(&modification, at), Stage::Optimizing { percent: 0 });
    assert_eq!(stage(&modification, at + OPTIMIZING / 2), Stage::Optimizing { percent: 50 });
    let done = Stage::Completed { at: at + OPTIMIZING };
    assert_eq!(stage(&modification, at + OPTIMIZING * 9), done);
    let day = Duration::from_hours(24);
    assert_eq!(counted(&[at, at + OPTIMIZING], at + day), [at + OPTIMIZING]);
}
