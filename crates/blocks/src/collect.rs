//! Collecting garbage while the store is in use: mark and sweep, with epochs.
//!
//! Every block and leaf carries in its name the epoch in which it was written. A session has the epoch in which it began; it
//! writes blocks of that epoch, and reuses blocks of that epoch and those of its parent, no others.
//!
//! A run: (1) raise the epoch to E; (2) list and read all roots; (3) list and read all sessions; (4) give up if the epoch is
//! not E any more; (5) mark what the roots, and the sessions' copies of their parents' roots, refer to; (6) sweep what is
//! not marked and was written before M, the lowest epoch of E and of the sessions seen, but for those that are done and whose
//! roots were read; (7) clear away sessions that had ended
//! when they were seen in (3).
//!
//! Why nothing is lost that a snapshot S needs, or will. S refers to *own* blocks, of its session's epoch e, and to *inherited*
//! ones, which its parent P referred to.
//! - Its root was read in (2): all is marked.
//! - Its session was seen in (3): M ≤ e spares its own blocks; the copy of P's root marks those inherited.
//! - Its session was cleared by an earlier run: then S was complete before this run began and is marked by its root, unless it
//!   is deleted, and who inherits from it has a session of its own. By a later run: then (4) gives up, because a run raises
//!   the epoch before it clears anything.
//! - Its session registered after (3): it has read the epoch again after it could be seen, so e ≥ E ≥ M spares its own blocks. P was
//!   still there when the copy could be seen, so after (3), so it was there in (2) or completed since: it was marked, or this
//!   proof applies to P in turn. (A session stays until a run has seen it ended, so P's cannot have slipped through between.)
//!
//! What is dead stays dead, since nobody refers to blocks of epochs before M but by inheriting, so a sweep may be slow, be
//! killed, and run beside others. An object that cannot be read stops the sweep of its domain: what it refers to is not known.

use crate::error::{Damage, Error, Result};
use crate::manifest::Root;
use crate::session::{self, Seen};
use crate::store::BlockStore;
use crate::{BlockRef, DomainId, layout};
use model::SnapshotId;
use std::collections::{BTreeSet, HashSet};

/// Names that are held in memory at once.
const BATCH: usize = 100_000;
/// Objects that are deleted by one call.
const DELETE: usize = 256;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    pub epoch: u32,
    /// Blocks and leaves that are in use.
    pub live: u64,
    /// Those removed.
    pub blocks: u64,
    pub leaves: u64,
    /// Sessions that were cleared away.
    pub sessions: u64,
    /// Another run began meanwhile and does the work.
    pub superseded: bool,
    /// Domains in which nothing was removed, because something that refers to their blocks is damaged.
    pub spared: BTreeSet<DomainId>,
}

/// What is in use.
#[derive(Default)]
pub(crate) struct Marks {
    leaves: HashSet<BlockRef>,
    /// Sorted once all are there. Two that collide would spare garbage, no more.
    blocks: Vec<u128>,
}

pub(crate) fn fingerprint(at: &BlockRef) -> u128 {
    let hash = u128::from_le_bytes(at.hash.0[..16].try_into().expect("16 of 32 bytes"));
    (hash << 32) | u128::from(at.epoch)
}

impl Marks {
    /// Marks what a root refers to; each leaf is read once.
    fn add(&mut self, store: &BlockStore, root: &Root) -> Result<()> {
        for (_, at) in &root.leaves {
            if self.leaves.insert(*at) {
                let leaf = store.leaf(&root.manifest.domain, at)?;
                self.blocks.extend(leaf.0.iter().map(|(_, at)| fingerprint(at)));
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.blocks.sort_unstable();
        self.blocks.dedup();
    }

    pub(crate) fn leaf(&self, at: &BlockRef) -> bool {
        self.leaves.contains(at)
    }

    pub(crate) fn block(&self, at: &BlockRef) -> bool {
        self.blocks.binary_search(&fingerprint(at)).is_ok()
    }

    fn len(&self) -> u64 {
        (self.leaves.len() + self.blocks.len()) as u64
    }
}

/// Steps 2 to 5.
pub(crate) struct Survey {
    pub roots: Vec<Root>,
    pub sessions: Vec<Seen>,
    pub marks: Marks,
    /// Nothing of this epoch or a later one is garbage for certain.
    pub before: u32,
    pub unsure: BTreeSet<DomainId>,
    pub damaged: Vec<Error>,
}

/// `None`: another run began.
pub(crate) fn survey(store: &BlockStore, epoch: u32, still: u32) -> Result<Option<Survey>> {
    let mut roots = Vec::new();
    for snapshot in store.snapshots()? {
        roots.extend(store.root(snapshot)?);
    }
    let sessions = session::look(store)?;
    if store.epoch()? != still {
        return Ok(None);
    }
    // The root of one that is done marks all that it needs, if it was read.
    let read: HashSet<SnapshotId> = roots.iter().map(|root| root.manifest.snapshot).collect();
    let relies = |seen: &&Seen| !(seen.aborted || seen.done && read.contains(&seen.snapshot));
    let counted = sessions.iter().filter(relies).filter_map(Seen::epoch);
    let before = counted.min().unwrap_or(epoch).min(epoch);
    let (mut marks, mut unsure, mut damaged) = (Marks::default(), BTreeSet::new(), Vec::new());
    let copies = sessions.iter().filter(relies).filter_map(|seen| seen.parent.as_ref());
    for root in roots.iter().chain(copies) {
        match marks.add(store, root) {
            Ok(()) => {}
            Err(error @ Error::Damaged { damage, .. }) => {
                // A later run may have swept a snapshot that was deleted since it was listed.
                if damage == Damage::Missing && store.epoch()? != still {
                    return Ok(None);
                }
                unsure.insert(root.manifest.domain.clone());
                damaged.push(error.within(root.manifest.snapshot, None));
            }
            Err(error) => return Err(error),
        }
    }
    marks.sort();
    Ok(Some(Survey { roots, sessions, marks, before, unsure, damaged }))
}

pub fn run(store: &BlockStore) -> Result<Collected> {
    let epoch = store.advance()?;
    let mut collected = Collected { epoch, ..Collected::default() };
    let Some(survey) = survey(store, epoch, epoch)? else {
        return Ok(Collected { superseded: true, ..collected });
    };
    collected.live = survey.marks.len();
    for error in &survey.damaged {
        tracing::error!(%error, "garbage of this domain cannot be told from data");
    }
    collected.blocks = sweep(store, layout::BLOCKS, &survey, |at| survey.marks.block(at))?;
    collected.leaves = sweep(store, layout::LEAVES, &survey, |at| survey.marks.leaf(at))?;
    for seen in &survey.sessions {
        if seen.done || seen.aborted || seen.epoch().is_none() {
            session::clear(store, seen.snapshot)?;
            collected.sessions += 1;
        } else if seen.completing && survey.roots.iter().any(|root| root.manifest.snapshot == seen.snapshot) {
            // Its writer died between the root and the mark. The next run clears it.
            session::mark_done(store, seen.snapshot)?;
        }
    }
    collected.spared = survey.unsure;
    Ok(collected)
}

fn sweep(
    store: &BlockStore,
    under: &str,
    survey: &Survey,
    marked: impl Fn(&BlockRef) -> bool,
) -> Result<u64> {
    let mut swept = 0;
    loop {
        let mut dead = Vec::new();
        store.objects.list(under, &mut |key| {
            let Some((domain, at)) = layout::parse_addressed(under, key) else { return };
            let garbage = at.epoch < survey.before && !survey.unsure.contains(&domain) && !marked(&at);
            if garbage && dead.len() < BATCH {
                dead.push(key.to_owned());
            }
        })?;
        // Those of one directory together, so that it is flushed once.
        dead.sort_unstable();
        for batch in dead.chunks(DELETE) {
            store.objects.delete(batch)?;
        }
        swept += dead.len() as u64;
        if dead.len() < BATCH {
            return Ok(swept);
        }
    }
}
