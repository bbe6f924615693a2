//! What a volume may do in a second: the figures that hosts enforce.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html>,
//! <https://docs.aws.amazon.com/ebs/latest/userguide/provisioned-iops.html>,
//! <https://docs.aws.amazon.com/ebs/latest/userguide/hdd-vols.html>
//! Differs: throughput of a gp2 volume between 170 and 334 GiB does not fall to 128 MiB/s when its credit is spent.

use model::host::{Burst, Rate, VolumeLimits};
use model::record::volume::{Provision, VolumeType};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// A larger operation on an SSD counts as several of these.
const SSD_OPERATION: u32 = 256 << 10;
const HDD_OPERATION: u32 = 1 << 20;

/// The operations that a gp2 volume saves up, and how fast it may spend them.
const GP2_CREDIT: u64 = 5_400_000;
const GP2_BURST: u64 = 3000;
/// Up to this size a gp2 volume is held to the lower throughput.
const GP2_SMALL: u32 = 170;

/// The limits of a volume.
pub fn limits(volume: &Provision) -> VolumeLimits {
    let gib = u64::from(volume.size.0);
    let iops = u64::from(volume.iops.unwrap_or_default());
    let ssd = |iops: Rate, bytes: u64| VolumeLimits { iops, bytes: steady(bytes), operation: SSD_OPERATION };
    match volume.volume_type {
        VolumeType::Gp2 => {
            let throughput = if volume.size.0 <= GP2_SMALL { 128 } else { 250 };
            ssd(saving(iops, GP2_BURST, GP2_CREDIT), throughput * MIB)
        }
        VolumeType::Gp3 => ssd(steady(iops), u64::from(volume.throughput.unwrap_or(125)) * MIB),
        // 256 KiB an operation up to 500 MiB/s; from 32,000 IOPS on 16 KiB an operation.
        VolumeType::Io1 => ssd(steady(iops), (iops * 256 * KIB).min((500 * MIB).max(iops * 16 * KIB))),
        VolumeType::Io2 => ssd(steady(iops), (iops * 256 * KIB).min(4000 * MIB)),
        VolumeType::St1 => disk(gib, 40, 250, 500, 500),
        VolumeType::Sc1 => disk(gib, 12, 80, 192, 250),
        // About a hundred, for a while some hundreds.
        VolumeType::Standard => VolumeLimits {
            iops: Rate { base: 100, burst: Some(Burst { rate: 200, seconds: 60 }) },
            bytes: steady(90 * MIB),
            operation: HDD_OPERATION,
        },
    }
}

/// What each of so many machines may do of it, so that all together do no more than the volume may.
pub fn share(limits: VolumeLimits, machines: usize) -> VolumeLimits {
    let by = machines.max(1) as u64;
    let part = |rate: Rate| Rate {
        base: (rate.base / by).max(1),
        burst: rate.burst.map(|burst| Burst { rate: (burst.rate / by).max(1), ..burst }),
    };
    VolumeLimits { iops: part(limits.iops), bytes: part(limits.bytes), ..limits }
}

const fn steady(base: u64) -> Rate {
    Rate { base, burst: None }
}

/// A rate with credit that is spent at the burst's rate while it is earned at the base's.
fn saving(base: u64, burst: u64, credit: u64) -> Rate {
    let burst = (burst > base).then(|| Burst { rate: burst, seconds: (credit / (burst - base)) as u32 });
    Rate { base, burst }
}

/// A disk whose rates grow with its size, in MiB/s for each TiB, up to a bound; the credit is a TiB for each TiB.
fn disk(gib: u64, base: u64, burst: u64, most_base: u64, most_burst: u64) -> VolumeLimits {
    let rate = |per_tib: u64, most: u64| (gib * per_tib * MIB / 1024).min(most * MIB);
    let (base, burst) = (rate(base, most_base), rate(burst, most_burst));
    let bytes = saving(base, burst, gib << 30);
    // An operation costs a MiB of credit, however small it is.
    let operations = |bytes: u64| bytes.div_ceil(MIB).max(1);
    let iops = Rate {
        base: operations(bytes.base),
        burst: bytes.burst.map(|b| Burst { rate: operations(b.rate), seconds: b.seconds }),
    };
    VolumeLimits { iops, bytes, operation: HDD_OPERATION }
}
