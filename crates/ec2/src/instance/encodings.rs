//! Instances as they were last encoded, kept because clients ask for the same ones again and again: rendering and encoding
//! one takes up to 30 µs, finding its text a fraction of one.
//!
//! Invariant: a text is used only while every record that it was rendered from is still the present one. The records
//! are held with the text, so no other can take the place of one in memory, and [`render::instance`] sees nothing but
//! them and the catalogue of types, which is part of the program. The instance itself is compared each time; the records
//! beside it are compared only when a record of their kinds has changed in the region since they last were ([`Stamp`]).
//!
//! Bounded: what was not asked for lately is dropped by halves, so the texts never take more than [`KEPT_BYTES`].

use super::render::{self, Shown, Stamp};
use control::Tables;
use model::record::instance::Instance;
use model::{InstanceId, Region};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use wire::ec2::Encoded;

/// Texts of some 4 KiB: half of them is the whole of a cloud of 12,000 instances.
const KEPT_BYTES: usize = 96 << 20;

#[derive(Default)]
pub struct Encodings(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    recent: Texts,
    recent_bytes: usize,
    earlier: Texts,
}

type Texts = HashMap<InstanceId, Kept, BuildHasherDefault<Spread>>;

/// Ids are random numbers of our own making already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(8) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    fn write_u128(&mut self, number: u128) {
        // The table looks at the highest bits and at the lowest.
        self.0 = (number as u64 ^ (number >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

/// The records are apart from what is looked at for each answer.
struct Kept {
    instance: Arc<Instance>,
    /// When the records were last seen to be the present ones.
    stamp: Stamp,
    text: Encoded,
    shown: Box<Shown>,
}

impl Encodings {
    /// Each of these instances, all of that region, as an item of a list.
    pub fn of(&self, tables: &Tables, region: &Region, instances: &[&Arc<Instance>]) -> Vec<Encoded> {
        let stamp = Stamp::of(tables, region);
        let mut texts = Vec::with_capacity(instances.len());
        let mut missing = Vec::new();
        {
            let mut halves = self.0.lock();
            for (at, instance) in instances.iter().enumerate() {
                let found = halves.find(tables, stamp, instance);
                if found.is_none() {
                    missing.push(at);
                }
                texts.push(found);
            }
        }
        // Rendered while others may read.
        let rendered = missing.into_iter().map(|at| {
            let shown = Shown::of(tables, instances[at]);
            let text = Encoded::item(&render::instance(&shown));
            texts[at] = Some(text.clone());
            Kept { instance: Arc::clone(instances[at]), stamp, text, shown: Box::new(shown) }
        });
        let rendered: Vec<Kept> = rendered.collect();
        if !rendered.is_empty() {
            let mut halves = self.0.lock();
            for kept in rendered {
                halves.keep(kept);
            }
        }
        texts.into_iter().flatten().collect()
    }
}

impl Kept {
    fn is_still(&mut self, tables: &Tables, stamp: Stamp, instance: &Arc<Instance>) -> bool {
        if !Arc::ptr_eq(&self.instance, instance) {
            return false;
        }
        if self.stamp != stamp {
            if !self.shown.is_still(tables, instance) {
                return false;
            }
            self.stamp = stamp;
        }
        true
    }
}

impl Halves {
    fn find(&mut self, tables: &Tables, stamp: Stamp, instance: &Arc<Instance>) -> Option<Encoded> {
        let id = instance.instance;
        if let Some(kept) = self.recent.get_mut(&id) {
            return kept.is_still(tables, stamp, instance).then(|| kept.text.clone());
        }
        let mut kept = self.earlier.remove(&id)?;
        kept.is_still(tables, stamp, instance).then(|| {
            let text = kept.text.clone();
            self.keep(kept);
            text
        })
    }

    fn keep(&mut self, kept: Kept) {
        let size = kept.text.size();
        if self.recent_bytes + size > KEPT_BYTES / 2 {
            self.earlier = std::mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
        self.recent_bytes += size;
        if let Some(replaced) = self.recent.insert(kept.instance.instance, kept) {
            self.recent_bytes -= replaced.text.size();
        }
    }
}
