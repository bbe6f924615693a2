//! `nube down`: the end of a cloud's machines, networks and processes; with `--purge`, of its state too.

use crate::cli::Down;
use crate::cloud_files::CloudDir;
use crate::config::HostKind;
use crate::{agent_process, blockd_process, blocks_place};
use crate::{dns_setup, lock, terminal};
use anyhow::{Context as _, Result};
use std::process::ExitCode;
use std::time::Duration;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(arguments: &Down) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let cloud = dir.read()?;
    // The parent first, so that it starts nothing again.
    for name in ["up", "server", "agent"] {
        lock::end_holder(&dir.run(), name, PATIENCE)?;
    }
    if cloud.host == HostKind::Linux {
        agent_process::purge(&dir, &cloud)?;
        // Last: a machine that waits for it would not end by itself.
        lock::end_holder(&dir.run(), blockd_process::NAME, PATIENCE)?;
    }
    dns_setup::remove(dns_setup::DROP_INS.as_ref(), &cloud)?;
    if arguments.purge {
        blocks_place::erase(&dir, &cloud)?;
        std::fs::remove_dir_all(dir.path())
            .with_context(|| format!("cannot delete {}", dir.path().display()))?;
    }
    if arguments.json {
        terminal::json(&serde_json::json!({ "data": dir.path(), "purged": arguments.purge }));
    } else if arguments.purge {
        terminal::say("The cloud is down, and its state is deleted.");
    } else {
        terminal::say(
            "The cloud is down. Volumes and records are kept; nube up starts it and its instances again.",
        );
    }
    Ok(ExitCode::SUCCESS)
}
