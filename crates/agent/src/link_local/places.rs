//! How many connections an instance, and all instances together, may hold.

use model::InstanceId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
pub struct Places {
    per_instance: u32,
    together: u32,
    taken: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_instance: HashMap<InstanceId, u32>,
    together: u32,
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    instance: InstanceId,
}

impl Places {
    pub fn new(per_instance: u32, together: u32) -> Arc<Self> {
        Arc::new(Self { per_instance, together, taken: Mutex::default() })
    }

    /// `None`: the instance, or all of them, hold as many as they may.
    pub fn take(self: &Arc<Self>, instance: InstanceId) -> Option<Place> {
        let mut counts = self.taken.lock();
        if counts.together >= self.together {
            return None;
        }
        let count = counts.by_instance.entry(instance).or_default();
        if *count >= self.per_instance {
            return None;
        }
        *count += 1;
        counts.together += 1;
        Some(Place { places: Arc::clone(self), instance })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.taken.lock();
        counts.together -= 1;
        if let Some(count) = counts.by_instance.get_mut(&self.instance) {
            *count -= 1;
            if *count == 0 {
                counts.by_instance.remove(&self.instance);
            }
        }
    }
}
