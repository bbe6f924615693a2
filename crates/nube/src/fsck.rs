//! `nube fsck`: whether every snapshot of a cloud can still be read, block by block. It changes nothing and may run
//! while the cloud does.

use crate::blocks_place;
use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::config::HostKind;
use crate::{table, terminal};
use anyhow::{Context as _, Result};
use blocks::fsck::{Depth, Report};
use blocks::{BlockStore, Directory, Place};
use clap::Args;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct Fsck {
    #[command(flatten)]
    pub data: Data,
    /// Read every byte, rather than roots, tables and the length of each block.
    #[arg(long)]
    pub full: bool,
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Fsck) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let store = dir.snapshots();
    let cloud = dir.read()?;
    let report = if cloud.host == HostKind::Linux && store.exists() {
        examine(
            &store,
            &blocks_place::place(&dir, &cloud)?,
            if arguments.full { Depth::Full } else { Depth::Quick },
        )?
    } else {
        // No snapshot was taken yet, or the host is simulated and keeps none.
        Report::default()
    };
    if arguments.json {
        terminal::say(json(&report));
    } else {
        lines(&report).iter().for_each(terminal::say);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn examine(path: &Path, place: &Place, depth: Depth) -> Result<Report> {
    let unreadable = || format!("the snapshots in {} cannot be examined", path.display());
    let objects = place.open(path).with_context(unreadable)?;
    let mut report = BlockStore::new(objects).fsck(depth).with_context(unreadable)?;
    // Each archived snapshot has a store of its own.
    let archive = path.join("archive");
    if archive.exists() {
        for entry in fs::read_dir(&archive).with_context(unreadable)? {
            let own = Directory::open(&entry.with_context(unreadable)?.path()).with_context(unreadable)?;
            report.add(BlockStore::new(Arc::new(own)).fsck(depth).with_context(unreadable)?);
        }
    }
    Ok(report)
}

fn json(report: &Report) -> serde_json::Value {
    let problem = |problem: &blocks::fsck::Problem| {
        serde_json::json!({
            "snapshot": problem.snapshot, "block": problem.block, "object": problem.object,
            "damage": problem.damage.to_string(),
        })
    };
    serde_json::json!({
        "clean": report.is_clean(), "snapshots": report.snapshots, "being_written": report.sessions,
        "blocks": report.blocks, "tables": report.leaves, "damaged": report.damaged,
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
        "garbage": report.orphans, "undecided": report.in_doubt, "unknown": report.foreign,
    })
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![
        format!("Snapshots  {}, and {} being written", report.snapshots, report.sessions),
        format!(
            "Blocks     {} of 512 KiB ({}), in {} tables",
            report.blocks,
            table::bytes(report.blocks * blocks::BLOCK_SIZE as u64),
            report.leaves
        ),
    ];
    if report.orphans > 0 {
        lines.push(format!(
            "Garbage    {} blocks and tables; the host removes them by itself",
            report.orphans
        ));
    }
    for name in &report.foreign {
        lines.push(terminal::warn(format_args!("unknown    {name}")));
    }
    for problem in &report.problems {
        let whose = problem.snapshot.map_or_else(|| "no snapshot".to_owned(), |id| id.to_string());
        let place = problem.block.map_or_else(String::new, |block| format!(" block {block}"));
        let what = format!("damaged    {whose}{place}: {}: {}", problem.object, problem.damage);
        lines.push(terminal::bad(what));
    }
    let told = report.problems.len() as u64;
    if report.damaged > told {
        lines.push(terminal::bad(format_args!("damaged    {} more", report.damaged - told)));
    }
    lines.push(if report.is_clean() {
        terminal::good("Everything that snapshots are made of is there.")
    } else {
        terminal::bad("What is damaged is never returned as data: reads of it fail. Delete these snapshots, or copy what can be read.")
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use blocks::{Begin, Domain, DomainId};
    use model::{AccountId, SnapshotId, Timestamp};

    fn store_with_a_snapshot(path: &Path) -> SnapshotId {
        let store = BlockStore::new(Arc::new(Directory::open(path).unwrap()));
        let domain = Domain::plain(DomainId::parse("1").unwrap(), &[7; 32]);
        let begin = Begin {
            snapshot: SnapshotId::from_entropy(1),
            parent: None,
            account: AccountId::from_number(1),
            key_id: None,
            size: 1 << 30,
            created_at: Timestamp::from_millis(0),
        };
        let session = store.begin(begin, Arc::new(domain)).unwrap();
        session.put_block(3, &vec![1; blocks::BLOCK_SIZE]).unwrap();
        session.complete().unwrap().snapshot
    }

    #[test]
    fn a_damaged_block_is_told_by_its_snapshot_and_place() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = store_with_a_snapshot(dir.path());
        let report = examine(dir.path(), &Place::Directory, Depth::Full).unwrap();
        assert_eq!((report.is_clean(), report.snapshots, report.blocks), (true, 1, 1));
        assert!(lines(&report)[0].contains("1, and 0 being written"));

        let mut block = dir.path().join("objects/blocks");
        while block.is_dir() {
            block = std::fs::read_dir(&block).unwrap().next().unwrap().unwrap().path();
        }
        let mut bytes = std::fs::read(&block).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&block, bytes).unwrap();
        let report = examine(dir.path(), &Place::Directory, Depth::Full).unwrap();
        assert!(!report.is_clean());
        let told = lines(&report).join("\n");
        assert!(told.contains(&format!("{snapshot} block 3")) && told.contains("checksum"), "{told}");
        assert_eq!(json(&report)["problems"][0]["block"], 3);
    }

    #[test]
    fn archived_snapshots_are_examined_too() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = store_with_a_snapshot(dir.path());
        let archive = dir.path().join("archive").join(snapshot.to_string());
        std::fs::create_dir_all(&archive).unwrap();
        store_with_a_snapshot(&archive);
        let report = examine(dir.path(), &Place::Directory, Depth::Full).unwrap();
        assert_eq!((report.is_clean(), report.snapshots, report.blocks), (true, 2, 2));
        std::fs::remove_dir_all(archive.join("objects/blocks")).unwrap();
        assert!(!examine(dir.path(), &Place::Directory, Depth::Quick).unwrap().is_clean());
    }
}
