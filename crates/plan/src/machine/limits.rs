//! A volume's limits in QEMU's terms: leaky buckets that refill at the base rate.
//!
//! QEMU's bucket holds `max × max-length` operations and runs dry at the base rate, so a guest that begins with a full
//! credit goes on at the burst's rate for as long as the bucket takes to fill at the difference of the two. EBS counts the
//! other way round, credits that are spent, with the same result. A machine's buckets begin empty: a volume that is
//! plugged in has its full credit.
//!
//! Operations count as EBS counts them: one that is larger than [`VolumeLimits::operation`] counts as several (a part
//! counts as a part, where EBS rounds up).
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-io-characteristics.html>

use model::host::{Rate, VolumeLimits};
use serde_json::{Value, json};

/// Every figure that we set, also where it says "none": what was set before must not stay.
pub fn render(limits: Option<&VolumeLimits>) -> Value {
    let Some(limits) = limits else {
        return json!({
            "iops-total": 0, "iops-total-max": 0, "iops-total-max-length": 1,
            "bps-total": 0, "bps-total-max": 0, "bps-total-max-length": 1,
            "iops-size": 0,
        });
    };
    let (iops_max, iops_length) = burst(limits.iops);
    let (bytes_max, bytes_length) = burst(limits.bytes);
    json!({
        "iops-total": limits.iops.base, "iops-total-max": iops_max, "iops-total-max-length": iops_length,
        "bps-total": limits.bytes.base, "bps-total-max": bytes_max, "bps-total-max-length": bytes_length,
        "iops-size": if limits.iops.base == 0 { 0 } else { limits.operation },
    })
}

/// Whether the answer to a query of the limits says what is wanted.
pub fn are_in_force(wanted: &Value, answer: &Value) -> bool {
    wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| answer.get(key) == Some(value)))
}

/// The bucket's fill rate and size, in seconds at that rate; no burst when a full credit is less than a second of it.
fn burst(rate: Rate) -> (u64, u64) {
    let Some(burst) = rate.burst.filter(|burst| burst.rate > rate.base && rate.base > 0) else {
        return (0, 1);
    };
    let credit = u128::from(burst.rate - rate.base) * u128::from(burst.seconds);
    let seconds = (credit + u128::from(burst.rate) / 2) / u128::from(burst.rate);
    match u64::try_from(seconds) {
        Ok(seconds @ 1..) => (burst.rate, seconds),
        Ok(0) | Err(_) => (0, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::host::Burst;

    /// QEMU's bucket (`util/throttle.c`), a tenth of a second at a time, under a guest that always wants more.
    fn operations(limits: &Value, seconds: u64) -> Vec<f64> {
        let figure = |key: &str| limits[key].as_f64().unwrap();
        let (base, max) = (figure("iops-total"), figure("iops-total-max"));
        let size = if max > 0.0 { max * figure("iops-total-max-length") } else { base / 10.0 };
        let (mut level, step) = (0.0_f64, 0.1);
        let mut done = Vec::new();
        for _ in 0..seconds {
            let mut in_second = 0.0;
            for _ in 0..10 {
                level = (level - base * step).max(0.0);
                let at_most = if max > 0.0 { max } else { f64::INFINITY } * step;
                let taken = (size - level).max(0.0).min(at_most);
                level += taken;
                in_second += taken;
            }
            done.push(in_second);
        }
        done
    }

    fn limits(base: u64, burst: Option<Burst>) -> VolumeLimits {
        VolumeLimits {
            iops: Rate { base, burst },
            bytes: Rate { base: 131_072_000, burst: None },
            operation: 256 << 10,
        }
    }

    #[test]
    fn without_limits_every_figure_says_so() {
        let none = render(None);
        assert!(none.as_object().unwrap().values().all(|v| *v == 0 || *v == 1));
        assert!(are_in_force(&none, &none));
        assert!(!are_in_force(&none, &render(Some(&limits(100, None)))));
    }

    #[test]
    fn a_base_rate_holds() {
        let rendered = render(Some(&limits(500, None)));
        assert_eq!(rendered["iops-size"], 262_144);
        let done = operations(&rendered, 60);
        let total: f64 = done.iter().sum();
        assert!((total / 60.0 - 500.0).abs() < 10.0, "{total}");
    }

    #[test]
    fn a_full_credit_lasts_as_long_at_the_bursts_rate_as_it_says_and_then_the_base_rate_holds() {
        // A gp2 volume of 33 GiB: 5.4 million credits.
        let rendered = render(Some(&limits(100, Some(Burst { rate: 3000, seconds: 5_400_000 / 2900 }))));
        let done = operations(&rendered, 2_400);
        let lasted = done.iter().take_while(|rate| **rate > 2_900.0).count();
        assert!((1_850..=1_875).contains(&lasted), "{lasted}");
        let after: f64 = done[2_000..].iter().sum::<f64>() / 400.0;
        assert!((after - 100.0).abs() < 5.0, "{after}");
    }

    #[test]
    fn a_burst_that_is_no_burst_is_left_out() {
        for burst in [Burst { rate: 100, seconds: 1800 }, Burst { rate: 3000, seconds: 0 }] {
            let rendered = render(Some(&limits(100, Some(burst))));
            assert_eq!(
                (&rendered["iops-total-max"], &rendered["iops-total-max-length"]),
                (&json!(0), &json!(1))
            );
        }
    }
}
