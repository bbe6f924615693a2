//! Instances as they were last encoded, kept because clients ask for the same ones again and again: rendering and encoding
//! one takes up to 30 µs, finding its text a few.
//!
//! Invariant: a text is used only while every record that it was rendered from is still the present one. The records
//! are held with the text, so no other can take the place of one in memory, and [`render::instance`] sees nothing but
//! them and the catalogue of types, which is part of the program.
//!
//! Bounded: what was not asked for lately is dropped by halves, so the texts never take more than [`KEPT_BYTES`].

use super::render::{self, Shown};
use control::Tables;
use model::InstanceId;
use model::record::instance::Instance;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use wire::ec2::Encoded;

/// Texts of some 4 KiB: half of them is the whole of a cloud of 12,000 instances.
const KEPT_BYTES: usize = 96 << 20;

#[derive(Default)]
pub struct Encodings(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    recent: HashMap<InstanceId, Kept>,
    recent_bytes: usize,
    earlier: HashMap<InstanceId, Kept>,
}

struct Kept {
    shown: Shown,
    text: Encoded,
}

impl Encodings {
    /// The instance as an item of a list.
    pub fn of(&self, tables: &Tables, instance: &Arc<Instance>) -> Encoded {
        if let Some(text) = self.0.lock().find(tables, instance) {
            return text;
        }
        let shown = Shown::of(tables, instance);
        let text = Encoded::item(&render::instance(&shown));
        self.0.lock().keep(Kept { shown, text: text.clone() });
        text
    }
}

impl Halves {
    fn find(&mut self, tables: &Tables, instance: &Arc<Instance>) -> Option<Encoded> {
        let id = instance.instance;
        if let Some(kept) = self.recent.get(&id) {
            return kept.shown.is_still(tables, instance).then(|| kept.text.clone());
        }
        let kept = self.earlier.remove(&id)?;
        kept.shown.is_still(tables, instance).then(|| {
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
        if let Some(replaced) = self.recent.insert(kept.shown.instance.instance, kept) {
            self.recent_bytes -= replaced.text.size();
        }
    }
}
