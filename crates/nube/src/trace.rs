//! `nube trace`: the latest start of an instance, step by step, from the call to the guest's own work.
//!
//! The times are the host's, in milliseconds after the call was taken in. Between two of a guest's questions (DHCP, metadata)
//! lies the guest's own time; a guest of ours tells on its console how it spent that.

use crate::admin::{self, Question};
use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::table::{self, Cell, Column};
use crate::terminal::{self, Tone};
use anyhow::{Result, bail};
use clap::Args;
use control::Cloud;
use model::host::{Reply, Request, TraceStep};
use model::record::instance::Instance;
use model::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// A step that took this long, in milliseconds, is pointed out.
const LONG: i64 = 100;
/// What a guest of ours puts before its own account.
const OWN: &str = "timeline: ";
const CONSOLE: usize = 64 * 1024;

#[derive(Debug, Args)]
pub struct Trace {
    #[command(flatten)]
    pub data: Data,
    /// The instance, such as i-0123456789abcdef0.
    pub instance: InstanceId,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What is known of a start.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Steps {
        /// When the call was taken in.
        called: Timestamp,
        steps: Vec<TraceStep>,
        /// The guest's own account: steps and milliseconds, counted by its own clock.
        guest: Option<String>,
    },
    Unknown(String),
}

pub fn run(arguments: &Trace) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let (called, steps, guest) = match admin::ask(&dir, &Question::Trace(arguments.instance))? {
        Answer::Steps { called, steps, guest } => (called, steps, guest),
        Answer::Unknown(reason) => bail!(reason),
    };
    let lines = lines(called, &steps);
    if arguments.json {
        let steps: Vec<_> =
            lines.iter().map(|line| serde_json::json!({ "at_ms": line.at, "step": line.step })).collect();
        terminal::json(
            &serde_json::json!({ "instance": arguments.instance, "steps": steps, "guest": guest }),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<Cell>> = lines.iter().map(row).collect();
    let width = terminal::size().map(|(columns, _)| columns);
    table::render(COLUMNS, &rows, width).iter().for_each(terminal::say);
    if let Some(guest) = guest {
        terminal::say(format!("the guest: {}", Cell::plain(guest).text));
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: &[Column] =
    &[Column::always("MS").right(), Column::always("TOOK").right(), Column::always("STEP").cut()];

struct Line {
    at: i64,
    took: i64,
    step: String,
}

fn lines(called: Timestamp, steps: &[TraceStep]) -> Vec<Line> {
    let mut before = 0;
    let line = |step: &TraceStep| {
        let at = step.at.as_millis() - called.as_millis();
        let took = at - before;
        before = at;
        Line { at, took, step: step.step.clone() }
    };
    steps.iter().map(line).collect()
}

fn row(line: &Line) -> Vec<Cell> {
    let tone = if line.took >= LONG { Tone::Warn } else { Tone::Plain };
    vec![
        Cell::plain(line.at.to_string()),
        Cell::new(format!("+{}", line.took), tone),
        Cell::plain(&*line.step),
    ]
}

/// The server's part.
pub async fn answer(cloud: &Cloud, instance: InstanceId) -> Answer {
    let called = {
        let tables = cloud.view.read();
        tables
            .everywhere::<Instance>()
            .find(|(_, known)| known.instance == instance)
            .map(|(_, i)| i.launched_at)
    };
    let Some(called) = called else { return Answer::Unknown(format!("there is no instance {instance}")) };
    let steps = match admin::ask_host(cloud, Request::Trace { instance }).await {
        Reply::Trace { steps } => steps,
        Reply::NotFound => {
            return Answer::Unknown(format!("the host has not started {instance} since its agent began"));
        }
        Reply::Failed { reason } => return Answer::Unknown(reason),
        other => return Answer::Unknown(format!("the host answered {other:?}")),
    };
    let guest = match admin::ask_host(cloud, Request::ConsoleOutput { instance, limit: CONSOLE }).await {
        Reply::ConsoleOutput { text, .. } => own_account(&String::from_utf8_lossy(text.as_slice())),
        _ => None,
    };
    Answer::Steps { called, steps, guest }
}

/// The last that the guest told.
fn own_account(console: &str) -> Option<String> {
    let told = console.lines().rev().find_map(|line| line.split_once(OWN))?.1;
    Some(told.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_counts_from_the_call_and_from_the_one_before() {
        let step = |name: &str, at| TraceStep { step: name.into(), at: Timestamp::from_millis(at) };
        let lines = lines(Timestamp::from_millis(1000), &[step("heard of", 1004), step("ports", 1030)]);
        let told: Vec<_> = lines.iter().map(|line| (line.at, line.took, &*line.step)).collect();
        assert_eq!(told, [(4, 4, "heard of"), (30, 26, "ports")]);
    }

    #[test]
    fn the_guests_latest_account_is_found_on_its_console() {
        let console =
            "nube: timeline: link 0, ssh 900\r\nlogin:\r\n[1.0] nube: timeline: link 0, ssh 300\r\n";
        assert_eq!(own_account(console).as_deref(), Some("link 0, ssh 300"));
        assert_eq!(own_account("Linux"), None);
    }
}
