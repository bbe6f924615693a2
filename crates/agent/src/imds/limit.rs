//! How many connections an instance, and all instances together, may hold.

use model::InstanceId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) const PER_INSTANCE: u32 = 32;
pub(super) const TOGETHER: u32 = 8192;

#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_instance: HashMap<InstanceId, u32>,
    together: u32,
}

/// One connection's place; dropping it gives it back.
pub(super) struct Place {
    limit: Arc<Limit>,
    instance: InstanceId,
}

impl Limit {
    pub fn enter(self: &Arc<Self>, instance: InstanceId) -> Option<Place> {
        let mut counts = self.0.lock();
        if counts.together >= TOGETHER {
            return None;
        }
        let count = counts.by_instance.entry(instance).or_default();
        if *count >= PER_INSTANCE {
            return None;
        }
        *count += 1;
        counts.together += 1;
        Some(Place { limit: Arc::clone(self), instance })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.limit.0.lock();
        counts.together -= 1;
        if let Some(count) = counts.by_instance.get_mut(&self.instance) {
            *count -= 1;
            if *count == 0 {
                counts.by_instance.remove(&self.instance);
            }
        }
    }
}
