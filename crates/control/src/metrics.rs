//! What is counted while the cloud works: cheap enough for every request, read only when somebody asks.
//!
//! A sample costs three additions to atomics, in a table that was made when the service was; nothing is allocated unless a
//! request fails with a code that its operation never gave before. How the numbers are shown is the program's affair.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of a histogram's buckets, in microseconds: from what a read costs to what nobody waits for.
pub const BOUNDS_MICROS: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last is for what exceeds every bound.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// How many samples are at or below each bound, then how many there are.
    pub fn cumulative(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|i| {
            sum += self.buckets[i].load(Relaxed);
            sum
        })
    }

    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }
}

/// An operation refuses with a handful of codes; whatever comes beyond this many is counted as one.
const CODES: usize = 64;
const OTHER: &str = "other";

/// The requests of one operation.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    pub latency: Histogram,
    succeeded: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl OperationMetrics {
    pub fn succeed(&self, took: Duration) {
        self.latency.record(took);
        self.succeeded.fetch_add(1, Relaxed);
    }

    pub fn fail(&self, took: Duration, code: &str) {
        self.latency.record(took);
        let mut failed = self.failed.lock();
        if let Some(count) = failed.get_mut(code) {
            *count += 1;
        } else {
            let code = if failed.len() < CODES { code } else { OTHER };
            *failed.entry(code.to_owned()).or_default() += 1;
        }
    }

    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Relaxed)
    }

    /// The refusals and failures, by the code that the caller saw.
    pub fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().clone()
    }
}

/// What one kind of reconciler does.
#[derive(Debug, Default)]
pub struct ReconcileMetrics {
    /// From when a run was due to its start.
    pub lag: Histogram,
    pub duration: Histogram,
    failed: AtomicU64,
}

impl ReconcileMetrics {
    pub fn fail(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

/// The counters of a cloud beside those of its services' operations.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests that no service of this cloud is for.
    pub unrouted: OperationMetrics,
    /// From a transaction's decision to when it is on the disk and shows in the view.
    pub commits: Histogram,
    conflicts: AtomicU64,
    commit_failures: AtomicU64,
    reconcilers: Mutex<BTreeMap<&'static str, Arc<ReconcileMetrics>>>,
}

impl Metrics {
    pub(crate) fn conflict(&self) {
        self.conflicts.fetch_add(1, Relaxed);
    }

    pub(crate) fn commit_failed(&self) {
        self.commit_failures.fetch_add(1, Relaxed);
    }

    /// Transactions that had to be decided again.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Relaxed)
    }

    /// Transactions that the store did not take.
    pub fn commit_failures(&self) -> u64 {
        self.commit_failures.load(Relaxed)
    }

    /// The counters of the reconciler of this name, made if it has none.
    pub fn reconciler(&self, name: &'static str) -> Arc<ReconcileMetrics> {
        Arc::clone(self.reconcilers.lock().entry(name).or_default())
    }

    pub fn reconcilers(&self) -> Vec<(&'static str, Arc<ReconcileMetrics>)> {
        self.reconcilers.lock().iter().map(|(name, metrics)| (*name, Arc::clone(metrics))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_in_its_bucket_and_all_above() {
        let histogram = Histogram::default();
        for micros in [10, 11, 99_999_999] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts = histogram.cumulative();
        assert_eq!((counts[0], counts[1], counts[BOUNDS_MICROS.len()]), (1, 2, 3));
        assert_eq!(histogram.sum(), Duration::from_micros(100_000_020));
    }

    #[test]
    fn refusals_are_counted_by_code_and_their_number_is_bounded() {
        let operation = OperationMetrics::default();
        operation.succeed(Duration::ZERO);
        for _ in 0..2 {
            operation.fail(Duration::ZERO, "AuthFailure");
        }
        for i in 0..CODES * 2 {
            operation.fail(Duration::ZERO, &format!("Code{i}"));
        }
        let failed = operation.failed();
        assert_eq!((operation.succeeded(), failed["AuthFailure"]), (1, 2));
        assert_eq!(failed.len(), CODES + 1);
        assert_eq!(failed[OTHER], CODES as u64 + 1);
        assert_eq!(operation.latency.cumulative()[BOUNDS_MICROS.len()], 3 + CODES as u64 * 2);
    }
}
