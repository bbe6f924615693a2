//! `nube fork`: copies of a running instance, memory and disks. The server makes them; the command prints their ids.

use crate::admin::{self, Question};
use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::terminal;
use anyhow::{Result, bail};
use clap::Args;
use control::Cloud;
use model::InstanceId;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Longer than the server waits for the host.
const PATIENCE: Duration = Duration::from_mins(15);

#[derive(Debug, Args)]
pub struct Fork {
    #[command(flatten)]
    pub data: Data,
    /// The running instance, such as i-0123456789abcdef0.
    pub instance: InstanceId,
    /// How many copies.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub count: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Forked {
        children: Vec<InstanceId>,
        /// How long the parent stood still, in microseconds.
        pause: u64,
    },
    Refused(String),
}

pub fn run(arguments: &Fork) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let question = Question::Fork { instance: arguments.instance, count: arguments.count };
    match admin::ask_patiently(&dir, &question, PATIENCE)? {
        Answer::Forked { children, pause } if arguments.json => {
            terminal::json(&serde_json::json!({
                "parent": arguments.instance, "instances": children, "pause_us": pause,
            }));
        }
        Answer::Forked { children, .. } => children.iter().for_each(terminal::say),
        Answer::Refused(reason) => bail!(reason),
    }
    Ok(ExitCode::SUCCESS)
}

/// The server's part.
pub async fn answer(cloud: &Arc<Cloud>, instance: InstanceId, count: u32) -> Answer {
    match ec2::instance::fork::fork(cloud, instance, count).await {
        Ok(made) => Answer::Forked {
            children: made.children,
            pause: u64::try_from(made.pause.as_micros()).unwrap_or(u64::MAX),
        },
        Err(refused) => Answer::Refused(refused.to_string()),
    }
}
