//! What the interfaces of an instance may carry together: token buckets of the VPC's rule set.
//!
//! ```text
//! forward ─► bandwidth: bw_out_peak, bw_out [the port it came by] ─► over? drop
//!                       bw_in_peak, bw_in   [the port it goes to] ─► over? drop
//! ```
//! A bucket belongs to an instance and a direction, and all of the instance's ports in the VPC are led to it: they draw on the
//! same tokens. Its name says all that it does, so a bucket that stands is right, keeps its credit when an agent starts anew or
//! another port joins, and goes with the last port that is led to it. Only what both gates let pass is counted; what instance
//! and router say to each other (metadata, names, time) is not.
//!
//! A packet over the limit is dropped, not queued: no queue, no device and no second way through the kernel is needed, and
//! TCP comes to the whole base rate by it, for what it leaves unused while it waits stays in the bucket. Buckets are objects that
//! maps lead to, not rules of chains: the kernel goes through all chains whenever one comes, and through no objects.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
//! Differs: packets are counted without their Ethernet header, and one that is segmented later as one. A bucket of the
//! kernel's holds a second of its rate and 4 GiB more at most, where credit ends; moments above the peak pass. No limits of
//! single flows, of what leaves the region, or of packets a second. An instance with interfaces in two VPCs has the whole in
//! each.

use model::InstanceId;
use model::host::{Bandwidth, Burst, Rate};

/// In bytes per second: the kernel's arithmetic holds no more, beside a full burst. What would be faster is not limited.
const FASTEST: u64 = 14_000_000_000;
/// No bucket is smaller than this: two of the largest packets that a guest hands over, in bytes.
const LEAST_BURST: u32 = 1 << 17;

/// The maps from ports to buckets. Names of buckets begin with their map's, so a longer one stands before what it begins with.
pub const MAPS: [&str; 4] = ["bw_out_peak", "bw_out", "bw_in_peak", "bw_in"];

/// Tokens in bytes: `rate` of them come in a second, and what is not used is kept up to `rate + burst`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Of [`MAPS`].
    pub map: &'static str,
    pub name: String,
    pub rate: u64,
    pub burst: u32,
}

/// The buckets that an instance is held to, of both directions; [`of_name`] reads their names back.
pub fn buckets(bandwidth: Bandwidth) -> Vec<Bucket> {
    let Rate { base, burst } = bandwidth.rate;
    let burst = burst.filter(|burst| burst.rate > base);
    let credit = burst.map_or(0, |burst| (burst.rate - base).saturating_mul(u64::from(burst.seconds)));
    let credit = u32::try_from(credit).unwrap_or(u32::MAX).max(LEAST_BURST);
    let ends = name_end(bandwidth);
    let peak = burst.map_or(u64::MAX, |burst| burst.rate);
    let [out_peak, out, in_peak, in_] = MAPS;
    let all = [
        (out_peak, peak, LEAST_BURST),
        (out, base, credit),
        (in_peak, peak, LEAST_BURST),
        (in_, base, credit),
    ];
    all.into_iter()
        .filter(|(_, rate, _)| *rate <= FASTEST)
        .map(|(map, rate, burst)| Bucket { map, name: format!("{map}_{ends}"), rate: rate.max(1), burst })
        .collect()
}

fn name_end(bandwidth: Bandwidth) -> String {
    let digits = super::names::digits(bandwidth.instance);
    match bandwidth.rate {
        Rate { base, burst: None } => format!("{digits}_{base}"),
        Rate { base, burst: Some(Burst { rate, seconds }) } => format!("{digits}_{base}_{rate}_{seconds}"),
    }
}

/// Whether a bucket is one of these.
pub fn is_bucket(name: &str) -> bool {
    MAPS.iter().any(|map| name.starts_with(map))
}

/// What a bucket was made for.
pub fn of_name(name: &str) -> Option<Bandwidth> {
    let rest = MAPS.iter().find_map(|map| name.strip_prefix(map)?.strip_prefix('_'))?;
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

    fn of(base: u64, burst: Option<(u64, u32)>) -> Bandwidth {
        let rate = Rate { base, burst: burst.map(|(rate, seconds)| Burst { rate, seconds }) };
        Bandwidth { instance: InstanceId::from_entropy(u128::MAX), rate }
    }

    fn shape(bandwidth: Bandwidth) -> Vec<(&'static str, u64, u32)> {
        buckets(bandwidth).into_iter().map(|bucket| (bucket.map, bucket.rate, bucket.burst)).collect()
    }

    #[test]
    fn a_buckets_name_says_what_it_is_for() {
        for bandwidth in [of(8_000_000, Some((625_000_000, 300))), of(3_125_000_000, None)] {
            let mut names: Vec<String> = buckets(bandwidth).into_iter().map(|bucket| bucket.name).collect();
            for name in &names {
                // The kernel's names have 255 bytes at most.
                assert!(is_bucket(name) && name.len() < 128, "{name}");
                assert_eq!(of_name(name), Some(bandwidth), "{name}");
            }
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all);
        }
        for other in ["bw_out", "bw_out_1_2", "sgi_0123456789abcdef0", "bw_in_0123456789abcdef0_1_2"] {
            assert_eq!(of_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_steady_rate_is_one_bucket_each_way() {
        let steady = 3_125_000_000;
        assert_eq!(
            shape(of(steady, None)),
            [("bw_out", steady, LEAST_BURST), ("bw_in", steady, LEAST_BURST)]
        );
    }

    #[test]
    fn credit_is_what_a_burst_takes_beyond_the_base() {
        let (peak, base) = ((3_000_000, LEAST_BURST), (1_000_000, 120_000_000));
        assert_eq!(
            shape(of(1_000_000, Some((3_000_000, 60)))),
            [
                ("bw_out_peak", peak.0, peak.1),
                ("bw_out", base.0, base.1),
                ("bw_in_peak", peak.0, peak.1),
                ("bw_in", base.0, base.1),
            ]
        );
        let most = buckets(of(8_000_000, Some((625_000_000, 3600))));
        assert_eq!(most[1].burst, u32::MAX, "a bucket holds no more");
    }

    #[test]
    fn every_type_has_limits_that_the_kernel_can_count() {
        for kind in crate::instance_type::all() {
            for bucket in buckets(Bandwidth { instance: InstanceId::from_entropy(1), rate: kind.bandwidth() })
            {
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
