//! Examining the whole store, without keys and while it is in use. Nothing is changed; [`BlockStore::collect`] removes orphans,
//! which is all that can be repaired.

use crate::collect::{fingerprint, survey};
use crate::error::{Damage, Error, Result};
use crate::frame::{self, Kind};
use crate::manifest::{Root, first_of};
use crate::store::BlockStore;
use crate::{layout, session};
use model::SnapshotId;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Reads roots and leaves; of each block it looks at the header and the length.
    Quick,
    /// Reads every byte.
    Full,
}

/// Something that cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whom it hurts; `None`: a block that no snapshot has.
    pub snapshot: Option<SnapshotId>,
    /// The block of the volume; for a leaf its first.
    pub block: Option<u64>,
    pub object: String,
    pub damage: Damage,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub snapshots: u64,
    pub sessions: u64,
    pub blocks: u64,
    pub leaves: u64,
    /// Told one by one up to [`TOLD`]; `damaged` counts all.
    pub problems: Vec<Problem>,
    pub damaged: u64,
    /// Garbage: blocks and leaves that nothing refers to.
    pub orphans: u64,
    /// What nothing refers to yet, or no more, and a session that is open may.
    pub in_doubt: u64,
    /// Objects that no store of this version writes. They are left alone.
    pub foreign: Vec<String>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.damaged == 0
    }

    /// Counts another store in.
    pub fn add(&mut self, other: Self) {
        self.snapshots += other.snapshots;
        self.sessions += other.sessions;
        self.blocks += other.blocks;
        self.leaves += other.leaves;
        let untold = other.damaged - other.problems.len() as u64;
        other.problems.into_iter().for_each(|problem| self.tell(problem));
        self.damaged += untold;
        self.orphans += other.orphans;
        self.in_doubt += other.in_doubt;
        self.foreign.extend(other.foreign);
    }

    fn tell(&mut self, problem: Problem) {
        self.damaged += 1;
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        }
    }
}

/// Problems that a report tells one by one.
pub const TOLD: usize = 10_000;

pub fn run(store: &BlockStore, depth: Depth) -> Result<Report> {
    let mut report = Report::default();
    let blocks = examine_blocks(store, depth, &mut report)?;
    let roots = examine_roots(store, &mut report)?;
    for root in &roots {
        examine_snapshot(store, root, &blocks, &mut report)?;
    }
    report.sessions = session::open_sessions(store)?.len() as u64;
    // What a root that cannot be read refers to is not known, so nothing can be called an orphan.
    if report.damaged == 0 {
        count_orphans(store, &mut report)?;
    }
    store.objects.list("", &mut |key| {
        let known = layout::parse_epoch(key).is_some()
            || layout::parse_root(key).is_some()
            || layout::parse_session(key).is_some()
            || layout::parse_addressed(layout::BLOCKS, key).is_some()
            || layout::parse_addressed(layout::LEAVES, key).is_some();
        if !known && report.foreign.len() < TOLD {
            report.foreign.push(key.to_owned());
        }
    })?;
    Ok(report)
}

/// What is there, by fingerprint, and what is wrong with it.
fn examine_blocks(
    store: &BlockStore,
    depth: Depth,
    report: &mut Report,
) -> Result<HashMap<u128, Option<Damage>>> {
    let mut keys = Vec::new();
    store.objects.list(layout::BLOCKS, &mut |key| {
        keys.extend(layout::parse_addressed(layout::BLOCKS, key));
    })?;
    let mut blocks = HashMap::with_capacity(keys.len());
    for (domain, at) in keys {
        let key = layout::block(&domain, &at);
        let damage = match depth {
            Depth::Quick => store.objects.head(&key, frame::HEADER)?.map(|head| {
                let length = frame::length(Kind::Block, &head.bytes)?;
                if length == head.size { Ok(()) } else { Err(Damage::Length) }
            }),
            Depth::Full => {
                store.objects.get(&key)?.map(|bytes| frame::check(Kind::Block, &bytes).map(|_| ()))
            }
        };
        // It was swept meanwhile.
        let Some(damage) = damage else { continue };
        blocks.insert(fingerprint(&at), damage.err());
    }
    report.blocks = blocks.len() as u64;
    Ok(blocks)
}

fn examine_roots(store: &BlockStore, report: &mut Report) -> Result<Vec<Root>> {
    let mut roots = Vec::new();
    for snapshot in store.snapshots()? {
        match store.root(snapshot) {
            Ok(Some(root)) if root.manifest.snapshot == snapshot => roots.push(root),
            Ok(None) => continue,
            Ok(Some(_)) => report.tell(Problem {
                snapshot: Some(snapshot),
                block: None,
                object: layout::root(snapshot),
                damage: Damage::Content,
            }),
            Err(Error::Damaged { object, damage, .. }) => {
                report.tell(Problem { snapshot: Some(snapshot), block: None, object, damage });
            }
            Err(error) => return Err(error),
        }
        report.snapshots += 1;
    }
    Ok(roots)
}

fn examine_snapshot(
    store: &BlockStore,
    root: &Root,
    blocks: &HashMap<u128, Option<Damage>>,
    report: &mut Report,
) -> Result<()> {
    let (snapshot, domain) = (root.manifest.snapshot, &root.manifest.domain);
    let mut found = Vec::new();
    for (number, at) in &root.leaves {
        let first = first_of(*number);
        let leaf = match store.leaf(domain, at) {
            Ok(leaf) => leaf,
            Err(Error::Damaged { object, damage, .. }) => {
                found.push(Problem { snapshot: Some(snapshot), block: Some(first), object, damage });
                continue;
            }
            Err(error) => return Err(error),
        };
        for (slot, at) in &leaf.0 {
            let object = || layout::block(domain, at);
            let damage = match blocks.get(&fingerprint(at)) {
                Some(None) => continue,
                Some(Some(damage)) => *damage,
                // It may have come after the listing.
                None if store.objects.head(&object(), 0)?.is_some() => continue,
                None => Damage::Missing,
            };
            let block = Some(first + u64::from(*slot));
            found.push(Problem { snapshot: Some(snapshot), block, object: object(), damage });
        }
    }
    // A snapshot that was deleted meanwhile misses nothing.
    if !found.is_empty() && store.objects.head(&layout::root(snapshot), 0)?.is_some() {
        for problem in found {
            report.tell(problem);
        }
    }
    Ok(())
}

fn count_orphans(store: &BlockStore, report: &mut Report) -> Result<()> {
    let epoch = store.epoch()?;
    // As the next collection would see it, which raises the epoch first.
    let Some(survey) = survey(store, epoch + 1, epoch)? else { return Ok(()) };
    let mut leaves = 0;
    for (under, is_leaf) in [(layout::BLOCKS, false), (layout::LEAVES, true)] {
        store.objects.list(under, &mut |key| {
            let Some((_, at)) = layout::parse_addressed(under, key) else { return };
            leaves += u64::from(is_leaf);
            let used = if is_leaf { survey.marks.leaf(&at) } else { survey.marks.block(&at) };
            if used {
                return;
            }
            if at.epoch < survey.before {
                report.orphans += 1;
            } else {
                report.in_doubt += 1;
            }
        })?;
    }
    report.leaves = leaves;
    Ok(())
}
