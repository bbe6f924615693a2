//! What the interfaces of an instance may carry together: token buckets of the VPC's rule set.
//!
//! ```text
//! forward ─► bandwidth: bw_out[port it came by] ─► bwo_…: over the ceiling? drop · a bucket has room? go on · drop
//!                       bw_in[port it goes to]  ─► bwi_…: the same
//! ```
//! A chain belongs to an instance and a direction, and all of the instance's ports in the VPC lead to it: they draw on the same
//! buckets. Its name says everything that its rules do, so a chain that stands is right, keeps its credit when an agent starts
//! anew or another port joins, and goes with the last port that leads to it. Only what both gates let pass is counted; what
//! instance and router say to each other (metadata, names, time) is not.
//!
//! A packet over the limit is dropped, not queued: no queue, no device and no second way through the kernel is needed, and
//! TCP comes to the whole base rate by it, for what it leaves unused while it waits stays in the bucket.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
//! Differs: packets are counted without their Ethernet header, and one that is segmented later as one. A bucket of the
//! kernel's holds a second of its rate and at most 4 GiB, so credit ends at [`MOST_BUCKETS`] of them, and short bursts
//! pass the ceiling. No limits of single flows, of what leaves the region, or of packets a second. An instance with
//! interfaces in two VPCs has the whole in each.

use model::InstanceId;
use model::host::{Bandwidth, Burst, Rate};

/// So many buckets hold the credit of one direction: 32 GiB.
pub const MOST_BUCKETS: u64 = 8;
/// In bytes per second: the kernel's arithmetic holds no more, beside a full burst. What would be faster is not limited.
const FASTEST: u64 = 14_000_000_000;
/// No bucket is smaller than this: two of the largest packets that a guest hands over, in bytes.
const LEAST_BURST: u32 = 1 << 17;

/// The way of packets, seen from the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Out,
    In,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Out, Self::In];

    /// The map from ports to chains.
    pub const fn map(self) -> &'static str {
        match self {
            Self::Out => "bw_out",
            Self::In => "bw_in",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Out => "bwo_",
            Self::In => "bwi_",
        }
    }
}

/// Tokens in bytes: `rate` of them come in a second, and what is not used is kept up to `rate + burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub rate: u64,
    pub burst: u32,
}

/// The rules of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What does not fit is dropped.
    pub ceiling: Option<Bucket>,
    /// What fits into none of these is dropped; empty: the ceiling is all there is.
    pub credit: Vec<Bucket>,
}

/// The limits of one direction.
pub fn limits(rate: Rate) -> Limits {
    let plain = |rate: u64| (rate <= FASTEST).then_some(Bucket { rate: rate.max(1), burst: LEAST_BURST });
    let Some(burst) = rate.burst.filter(|burst| burst.rate > rate.base) else {
        return Limits { ceiling: plain(rate.base), credit: Vec::new() };
    };
    let ceiling = plain(burst.rate);
    if rate.base > FASTEST {
        return Limits { ceiling, credit: Vec::new() };
    }
    let credit = (burst.rate - rate.base).saturating_mul(u64::from(burst.seconds));
    let buckets = credit.div_ceil(u64::from(u32::MAX)).clamp(1, MOST_BUCKETS);
    let each = u32::try_from(credit / buckets).unwrap_or(u32::MAX).max(LEAST_BURST);
    let bucket = Bucket { rate: (rate.base / buckets).max(1), burst: each };
    Limits { ceiling, credit: std::iter::repeat_n(bucket, buckets as usize).collect() }
}

/// The chain of a direction; [`of_chain`] reads it back.
pub fn chain(bandwidth: Bandwidth, direction: Direction) -> String {
    let (prefix, digits) = (direction.prefix(), super::names::digits(bandwidth.instance));
    match bandwidth.rate {
        Rate { base, burst: None } => format!("{prefix}{digits}_{base}"),
        Rate { base, burst: Some(Burst { rate, seconds }) } => {
            format!("{prefix}{digits}_{base}_{rate}_{seconds}")
        }
    }
}

/// Whether the chain is one of these.
pub fn is_chain(name: &str) -> bool {
    Direction::ALL.iter().any(|direction| name.starts_with(direction.prefix()))
}

/// What a chain was made for.
pub fn of_chain(name: &str) -> Option<Bandwidth> {
    let rest = Direction::ALL.iter().find_map(|direction| name.strip_prefix(direction.prefix()))?;
    let (digits, rates) = rest.split_once('_')?;
    let instance = InstanceId::parse(&format!("i-{digits}")).ok()?;
    let mut numbers = rates.split('_').map(|number| number.parse::<u64>().ok());
    let base = numbers.next()??;
    let burst = match numbers.next() {
        None => None,
        Some(rate) => Some(Burst { rate: rate?, seconds: u32::try_from(numbers.next()??).ok()? }),
    };
    Some(Bandwidth { instance, rate: Rate { base, burst } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(base: u64, burst: Option<(u64, u32)>) -> Rate {
        Rate { base, burst: burst.map(|(rate, seconds)| Burst { rate, seconds }) }
    }

    #[test]
    fn a_chains_name_says_what_it_is_for() {
        let instance = InstanceId::from_entropy(u128::MAX);
        for rate in [rate(8_000_000, Some((625_000_000, 300))), rate(3_125_000_000, None)] {
            let bandwidth = Bandwidth { instance, rate };
            for direction in Direction::ALL {
                let name = chain(bandwidth, direction);
                // The kernel's names have 255 bytes at most.
                assert!(is_chain(&name) && name.len() < 128, "{name}");
                assert_eq!(of_chain(&name), Some(bandwidth), "{name}");
            }
            assert_ne!(chain(bandwidth, Direction::In), chain(bandwidth, Direction::Out));
        }
        for other in [
            "bwo_",
            "bwo_1_2",
            "sgi_0123456789abcdef0",
            "bwi_0123456789abcdef0_x",
            "bwi_0123456789abcdef0_1_2",
        ] {
            assert_eq!(of_chain(other), None, "{other}");
        }
    }

    #[test]
    fn a_steady_rate_is_one_bucket() {
        let limits = limits(rate(3_125_000_000, None));
        assert_eq!(limits.ceiling, Some(Bucket { rate: 3_125_000_000, burst: LEAST_BURST }));
        assert!(limits.credit.is_empty());
    }

    #[test]
    fn credit_is_what_a_burst_takes_beyond_the_base() {
        let limits = limits(rate(1_000_000, Some((3_000_000, 60))));
        assert_eq!(limits.ceiling, Some(Bucket { rate: 3_000_000, burst: LEAST_BURST }));
        assert_eq!(limits.credit, [Bucket { rate: 1_000_000, burst: 120_000_000 }]);
    }

    #[test]
    fn more_credit_than_a_bucket_holds_lies_in_several_that_fill_at_the_base_rate_together() {
        let limits = limits(rate(8_000_000, Some((625_000_000, 20))));
        assert_eq!(
            limits.credit,
            vec![Bucket { rate: 8_000_000 / 3, burst: 12_340_000_000u64.div_euclid(3) as u32 }; 3]
        );
        let most = super::limits(rate(8_000_000, Some((625_000_000, 3600))));
        assert_eq!(most.credit, vec![Bucket { rate: 1_000_000, burst: u32::MAX }; MOST_BUCKETS as usize]);
    }

    #[test]
    fn every_type_has_limits_that_the_kernel_can_count() {
        for kind in crate::instance_type::all() {
            let limits = limits(kind.bandwidth());
            for bucket in limits.ceiling.iter().chain(&limits.credit) {
                // As the kernel has it: nanoseconds a second, times what a bucket holds, in 64 bits.
                let product = 1_000_000_000u64.checked_mul(bucket.rate + u64::from(bucket.burst));
                assert!(product.is_some() && bucket.rate > 0, "{}: {bucket:?}", kind.name);
                assert!(
                    bucket.rate + u64::from(bucket.burst) > 1 << 16,
                    "{}: a large packet never fits",
                    kind.name
                );
            }
        }
    }
}
