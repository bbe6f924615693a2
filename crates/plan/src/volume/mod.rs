//! What each volume type can be: bounds of size, IOPS and throughput, defaults, and what a modification may ask.
//!
//! CreateVolume, RunInstances and ModifyVolume all decide here; [`limits`](limits::limits) says what a host enforces of it.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html>

mod limits;
pub mod modification;
#[cfg(test)]
mod tests;

pub use limits::{limits, share};

use model::GiB;
use model::record::volume::{Provision, VolumeType};
use std::ops::RangeInclusive;

/// Why a volume cannot be as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TooSmall {
        volume_type: VolumeType,
        size: i64,
        least: i64,
    },
    TooLarge {
        volume_type: VolumeType,
        size: i64,
        most: i64,
    },
    /// The type leaves no choice of this.
    NoChoice {
        what: Rate,
        volume_type: VolumeType,
    },
    /// The type needs a choice.
    NoIops(VolumeType),
    TooLow {
        what: Rate,
        value: i64,
        least: i64,
    },
    TooHigh {
        what: Rate,
        value: i64,
        most: i64,
    },
    /// More IOPS than the size allows.
    IopsPerGiB {
        iops: u32,
        size: GiB,
        most: u32,
    },
    /// More throughput than the IOPS allow: four are needed for each MiB a second.
    ThroughputPerIops {
        throughput: u32,
        iops: u32,
    },
    NoMultiAttach(VolumeType),
    Shrinks {
        from: GiB,
        to: i64,
    },
    /// Multi-attach is switched for io2 volumes alone, and not while they are attached.
    MultiAttachIsFixed,
}

/// What a caller may provision beside the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    Iops,
    /// In MiB a second.
    Throughput,
}

/// What a caller says of a new volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub volume_type: VolumeType,
    pub size: i64,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub multi_attach: bool,
}

/// What a caller wants to be different.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    pub volume_type: Option<VolumeType>,
    pub size: Option<i32>,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub multi_attach: Option<bool>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

struct Rules {
    size: RangeInclusive<i64>,
    /// What a caller may ask; none: no choice.
    iops: Option<RangeInclusive<i64>>,
    iops_per_gib: u32,
    throughput: Option<RangeInclusive<i64>>,
    multi_attach: bool,
    bootable: bool,
}

const fn rules(volume_type: VolumeType) -> Rules {
    const SSD: Rules = Rules {
        size: 1..=16_384,
        iops: None,
        iops_per_gib: 0,
        throughput: None,
        multi_attach: false,
        bootable: true,
    };
    match volume_type {
        VolumeType::Standard => Rules { size: 1..=1024, ..SSD },
        VolumeType::Gp2 => SSD,
        VolumeType::Gp3 => Rules {
            size: 1..=65_536,
            iops: Some(3000..=80_000),
            iops_per_gib: 500,
            throughput: Some(125..=2000),
            ..SSD
        },
        VolumeType::Io1 => {
            Rules { size: 4..=16_384, iops: Some(100..=64_000), iops_per_gib: 50, multi_attach: true, ..SSD }
        }
        VolumeType::Io2 => Rules {
            size: 4..=65_536,
            iops: Some(100..=256_000),
            iops_per_gib: 1000,
            multi_attach: true,
            ..SSD
        },
        VolumeType::St1 | VolumeType::Sc1 => Rules { size: 125..=16_384, bootable: false, ..SSD },
    }
}

/// What every gp3 volume has without paying for more.
const GP3_IOPS: u32 = 3000;
const GP3_THROUGHPUT: u32 = 125;
/// What a volume gets that becomes of another type, and nobody says how fast.
const IOPS_OF_NEW_TYPE: i32 = 3000;

/// Whether a machine may start from it.
pub const fn bootable(volume_type: VolumeType) -> bool {
    rules(volume_type).bootable
}

/// A new volume, with the defaults of its type filled in.
pub fn provision(asked: &Asked) -> Result<Provision, Refusal> {
    let Asked { volume_type, size, .. } = *asked;
    let rules = rules(volume_type);
    let (least, most) = (*rules.size.start(), *rules.size.end());
    if size < least {
        return Err(Refusal::TooSmall { volume_type, size, least });
    }
    if size > most {
        return Err(Refusal::TooLarge { volume_type, size, most });
    }
    let size = GiB(size as u32);
    let choice = |what, value: Option<i32>, range: &Option<RangeInclusive<i64>>| match (value, range) {
        (None, _) => Ok(None),
        (Some(_), None) => Err(Refusal::NoChoice { what, volume_type }),
        (Some(value), Some(range)) => within(what, i64::from(value), range).map(Some),
    };
    let iops = choice(Rate::Iops, asked.iops, &rules.iops)?;
    let throughput = choice(Rate::Throughput, asked.throughput, &rules.throughput)?;
    let (iops, throughput) = match volume_type {
        VolumeType::Gp2 => (Some((size.0 * 3).clamp(100, 16_000)), None),
        VolumeType::Gp3 => (iops.or(Some(GP3_IOPS)), throughput.or(Some(GP3_THROUGHPUT))),
        VolumeType::Io1 | VolumeType::Io2 if iops.is_none() => return Err(Refusal::NoIops(volume_type)),
        VolumeType::Io1 | VolumeType::Io2 => (iops, None),
        VolumeType::St1 | VolumeType::Sc1 | VolumeType::Standard => (None, None),
    };
    if let (Some(iops), Some(_)) = (iops, &rules.iops) {
        let most = size.0 * rules.iops_per_gib;
        let included = if volume_type == VolumeType::Gp3 { GP3_IOPS } else { 0 };
        if iops > most.max(included) {
            return Err(Refusal::IopsPerGiB { iops, size, most: rules.iops_per_gib });
        }
    }
    if let (Some(throughput), Some(iops)) = (throughput, iops)
        && throughput * 4 > iops
    {
        return Err(Refusal::ThroughputPerIops { throughput, iops });
    }
    if asked.multi_attach && !rules.multi_attach {
        return Err(Refusal::NoMultiAttach(volume_type));
    }
    Ok(Provision { volume_type, size, iops, throughput, multi_attach: asked.multi_attach })
}

fn within(what: Rate, value: i64, range: &RangeInclusive<i64>) -> Result<u32, Refusal> {
    let (least, most) = (*range.start(), *range.end());
    if value < least {
        Err(Refusal::TooLow { what, value, least })
    } else if value > most {
        Err(Refusal::TooHigh { what, value, most })
    } else {
        Ok(value as u32)
    }
}

/// A volume as it is to become. What the caller leaves out stays, unless the type changes: then it is the new type's default.
pub fn modify(now: &Provision, change: &Change, attached: bool) -> Result<Provision, Refusal> {
    let volume_type = change.volume_type.unwrap_or(now.volume_type);
    let same_type = volume_type == now.volume_type;
    let size = change.size.map_or(i64::from(now.size.0), i64::from);
    if size < i64::from(now.size.0) {
        return Err(Refusal::Shrinks { from: now.size, to: size });
    }
    let rules = rules(volume_type);
    let kept = |value: Option<u32>| value.filter(|_| same_type).map(|value| value as i32);
    let iops = change.iops.or_else(|| {
        rules.iops.as_ref()?;
        kept(now.iops).or(Some(IOPS_OF_NEW_TYPE))
    });
    let throughput = change.throughput.or_else(|| {
        rules.throughput.as_ref()?;
        kept(now.throughput)
    });
    let multi_attach = change.multi_attach.unwrap_or(now.multi_attach);
    if multi_attach != now.multi_attach && (now.volume_type != VolumeType::Io2 || attached) {
        return Err(Refusal::MultiAttachIsFixed);
    }
    provision(&Asked { volume_type, size, iops, throughput, multi_attach })
}
