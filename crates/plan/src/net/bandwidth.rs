//! What the interfaces of an instance may carry together: token buckets that the programs at ports draw on.
//!
//! ```text
//! machine ─► port: peak, base ─► over? drop ─► rule set, or the short way ─► port: peak, base ─► over? drop ─► machine
//!            (out, of the sender)                                            (in, of the receiver)
//! ```
//! Buckets belong to an instance and a direction, and all of the instance's ports draw on the same tokens, in whatever VPC they
//! are. What a machine sends is counted as it comes, before any gate is asked; what it is sent, once the gates have let it pass:
//! nobody outside can use up what it may receive. What instance and router say to each other (metadata, names, time) is not
//! counted.
//!
//! A packet over the limit is dropped, not queued: no queue, no device and no second way through the kernel is needed, and
//! TCP comes to the whole base rate by it, for what it leaves unused while it waits stays in the bucket.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
//! Differs: packets are counted without their Ethernet header, and one that is segmented later as one. A bucket holds a second
//! of its rate beside the credit; moments above the peak pass. No limits of single flows, of what leaves the region, or of
//! packets a second.

use model::host::Rate;

/// No bucket holds less beside a second of its rate: two of the largest packets that a guest hands over, in bytes.
const LEAST_CREDIT: u64 = 1 << 17;
const SECOND: u64 = 1_000_000_000;

/// Tokens in bytes: `rate` of them come in a second, and what is not used is kept up to `capacity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub rate: u64,
    pub capacity: u64,
}

impl Bucket {
    fn new(rate: u64, credit: u64) -> Self {
        let rate = rate.max(1);
        Self { rate, capacity: rate.saturating_add(credit.max(LEAST_CREDIT)) }
    }

    /// How long the tokens of a byte take to come: nanoseconds times 65,536.
    pub fn cost(self) -> u64 {
        ((SECOND << 16) / self.rate).max(1)
    }

    /// How long the tokens of a full bucket take to come, in nanoseconds.
    pub fn depth(self) -> u64 {
        let time = u128::from(self.capacity) * u128::from(SECOND) / u128::from(self.rate);
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

/// What holds an instance to a rate, each way: to its peak, if it may burst, and to its base.
pub fn buckets(Rate { base, burst }: Rate) -> (Option<Bucket>, Bucket) {
    let Some(burst) = burst.filter(|burst| burst.rate > base) else { return (None, Bucket::new(base, 0)) };
    let credit = (burst.rate - base).saturating_mul(u64::from(burst.seconds));
    (Some(Bucket::new(burst.rate, 0)), Bucket::new(base, credit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::host::Burst;

    #[test]
    fn a_steady_rate_is_one_bucket() {
        let bucket = Bucket { rate: 3_125_000_000, capacity: 3_125_131_072 };
        assert_eq!(buckets(Rate { base: 3_125_000_000, burst: None }), (None, bucket));
        let no_faster = Some(Burst { rate: 3_125_000_000, seconds: 60 });
        assert_eq!(buckets(Rate { base: 3_125_000_000, burst: no_faster }), (None, bucket));
    }

    #[test]
    fn credit_is_what_a_burst_takes_beyond_the_base() {
        let (peak, base) =
            buckets(Rate { base: 1_000_000, burst: Some(Burst { rate: 3_000_000, seconds: 60 }) });
        assert_eq!(peak, Some(Bucket { rate: 3_000_000, capacity: 3_131_072 }));
        assert_eq!(base, Bucket { rate: 1_000_000, capacity: 121_000_000 });
        // A microsecond a byte; a full one lasts for 121 seconds.
        assert_eq!((base.cost(), base.depth()), (1_000 << 16, 121 * SECOND));
    }

    #[test]
    fn every_type_has_limits_that_the_kernel_can_count() {
        for kind in crate::instance_type::all() {
            let (peak, base) = buckets(kind.bandwidth());
            for bucket in peak.into_iter().chain([base]) {
                // A large packet fits, its cost has 64 bits, and no rate is off by more than a hundredth.
                let packet = 1u64 << 17;
                assert!(bucket.capacity > packet, "{}: {bucket:?}", kind.name);
                assert!(packet.checked_mul(bucket.cost()).is_some(), "{}: {bucket:?}", kind.name);
                let rate = (SECOND << 16) / bucket.cost();
                assert!(rate - bucket.rate <= bucket.rate / 100, "{}: {bucket:?}, {rate}", kind.name);
            }
        }
    }
}
