//! What volumes lack of their snapshots, as a process: it serves them to machines, and needs neither server nor agent.
//!
//! It outlives `nube up` for as long as some volume lacks something; the next `nube up` puts its own in its place, and machines wait
//! that long. `nube down` ends it.

use crate::blocks_place;
use crate::cloud_files::CloudDir;
use crate::lock::Lock;
use crate::server_process::terminated;
use agent::host::linux::block::lazy;
use agent::host::linux::block::lazy::blockd::Blockd;
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::ExitCode;

pub const NAME: &str = "blockd";

/// `nube blockd`.
pub fn run(data: &Path) -> Result<ExitCode> {
    let dir = CloudDir::existing(data)?;
    let _lock = Lock::take(&dir.run(), NAME)?;
    let _ = rustix::process::setsid();
    let cloud = dir.read()?;
    crate::log::start(Some(&dir.logs().join("blockd.log")), cloud.operation.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let place = blocks_place::place(&dir, &cloud)?;
        let blockd = Blockd::open(&dir.volumes(), &dir.snapshots(), &place);
        let blockd = blockd.context("snapshots cannot be served")?;
        tokio::select! {
            served = blockd.serve() => served.context("the agent cannot be heard"),
            () = terminated() => {
                tracing::info!("ending; machines wait for what they lack");
                Ok(())
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether some volume lacks something.
pub fn is_needed(dir: &CloudDir) -> bool {
    lazy::records(&dir.volumes()).is_ok_and(|records| !records.is_empty())
}
