//! The journal's folder on the disk in memory. Names change in order, and a power cut leaves the first few changes of
//! those that were not synced; a write that fails has written half.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};

use store::{Folder, SegmentFile};

use crate::Dice;
use crate::disk::{Disk, Op, PAGE, survivors};

#[derive(Clone, Default)]
pub struct Files {
    nodes: Vec<Node>,
    /// What listings see.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Since the last sync of the folder.
    changes: Vec<Change>,
}

#[derive(Clone, Default)]
struct Node {
    cache: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Op>,
}

#[derive(Clone)]
enum Change {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Create(name, node) => drop(names.insert(name.clone(), *node)),
            Change::Rename(from, to) => {
                let node = names.remove(from).expect("to be there");
                names.insert(to.clone(), node);
            }
            Change::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Files {
    pub fn pages(&self) -> usize {
        self.names.values().map(|node| self.nodes[*node].cache.len().div_ceil(PAGE)).sum()
    }

    pub fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut names = self.durable_names.clone();
        for change in &self.changes[..dice.below(self.changes.len() as u64 + 1) as usize] {
            change.apply(&mut names);
        }
        let nodes = self.nodes.iter().map(|node| {
            let image = survivors(&node.durable, &node.dirty, dice);
            Node { cache: image.clone(), durable: image, dirty: Vec::new() }
        });
        Self { nodes: nodes.collect(), durable_names: names.clone(), names, changes: Vec::new() }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

/// For tests that do to the files what no program does.
impl Disk {
    pub fn segments(&self) -> Vec<String> {
        let names = &self.0.lock().files.names;
        names.keys().filter(|name| name.starts_with("segment-")).cloned().collect()
    }

    pub fn segment(&self, name: &str) -> Vec<u8> {
        let files = &self.0.lock().files;
        files.nodes[files.names[name]].cache.clone()
    }

    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let files = &mut self.0.lock().files;
        let node = files.names[name];
        files.nodes[node] = Node { cache: bytes.to_vec(), durable: bytes.to_vec(), dirty: Vec::new() };
    }

    pub fn lose(&self, name: &str) {
        let files = &mut self.0.lock().files;
        files.names.remove(name).unwrap();
        files.durable_names.remove(name).unwrap();
    }

    /// Puts another disk's journal in the place of this one's.
    pub fn exchange_journal(&self, other: &Disk) {
        let files = other.0.lock().files.clone();
        self.0.lock().files = files;
    }
}

impl Folder for Disk {
    fn names(&self) -> Result<Vec<String>> {
        Ok(self.0.lock().files.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Box<dyn SegmentFile>> {
        let mut state = self.0.lock();
        state.step()?;
        state.reserve((bytes as usize).div_ceil(PAGE))?;
        let node = state.files.nodes.len();
        let dirty = vec![Op::Resize(bytes as usize)];
        state.files.nodes.push(Node { cache: vec![0; bytes as usize], durable: Vec::new(), dirty });
        state.files.change(Change::Create(name.to_owned(), node));
        Ok(Box::new(File(self.clone(), node)))
    }

    fn open(&self, name: &str) -> Result<Box<dyn SegmentFile>> {
        let node = self.0.lock().files.names.get(name).copied();
        Ok(Box::new(File(self.clone(), node.ok_or(ErrorKind::NotFound)?)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.files.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        if !state.files.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        state.files.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.0.lock();
        // After an error the changes may still reach the disk.
        state.step()?;
        state.files.changes.clear();
        state.files.durable_names = state.files.names.clone();
        Ok(())
    }
}

struct File(Disk, usize);

impl SegmentFile for File {
    fn bytes(&self) -> Result<u64> {
        Ok(self.0.0.lock().files.nodes[self.1].cache.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let state = self.0.0.lock();
        let found = state.files.nodes[self.1].cache.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.0.0.lock();
        let verdict = state.step();
        let written = if verdict.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let node = &mut state.files.nodes[self.1];
        if offset as usize + bytes.len() > node.cache.len() {
            return Err(Error::other("a segment does not grow"));
        }
        let op = Op::Write(offset as usize, bytes[..written].to_vec());
        op.apply(&mut node.cache);
        node.dirty.push(op);
        verdict
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.0.0.lock();
        let verdict = state.step();
        let node = &mut state.files.nodes[self.1];
        let dirty = std::mem::take(&mut node.dirty);
        if verdict.is_ok() {
            for op in dirty {
                op.apply(&mut node.durable);
            }
        }
        verdict
    }
}
