//! Objects in memory: for tests and the simulator.

use super::{Head, Objects, Put, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default, Clone)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>);

impl Memory {
    /// Number of objects and their bytes.
    pub fn size(&self) -> (usize, u64) {
        let objects = self.0.lock();
        (objects.len(), objects.values().map(|bytes| bytes.len() as u64).sum())
    }
}

impl Objects for Memory {
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let mut objects = self.0.lock();
        if objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        objects.insert(key.to_owned(), bytes.into());
        Ok(Put::Written)
    }

    fn replace(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.0.lock().insert(key.to_owned(), bytes.into());
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let found = self.0.lock().get(key).cloned();
        Ok(found.map(|bytes| bytes.to_vec()))
    }

    fn head(&self, key: &str, length: usize) -> Result<Option<Head>> {
        let found = self.0.lock().get(key).cloned();
        Ok(found
            .map(|bytes| Head { bytes: bytes[..length.min(bytes.len())].to_vec(), size: bytes.len() as u64 }))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        let keys: Vec<String> = {
            let objects = self.0.lock();
            let from = objects.range(prefix.to_owned()..);
            from.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect()
        };
        for key in &keys {
            each(key);
        }
        Ok(())
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        let mut objects = self.0.lock();
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }
}
