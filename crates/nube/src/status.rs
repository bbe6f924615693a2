//! `nube status`: whether a cloud's processes run, what it carries, and what is not at rest.

use crate::cli::Status;
use crate::cloud_files::{CloudDir, CloudFile};
use crate::config::HostKind;
use crate::inventory::{Inventory, Selection};
use crate::ps::{Noun, tabulate};
use crate::table::{self, Cell, Column};
use crate::terminal::Tone;
use crate::{admin, lock, terminal, watch};
use anyhow::Result;
use std::process::ExitCode;

/// How many rows of each noun are shown; `nube ps` shows all.
const ROWS: usize = 15;

pub fn run(arguments: &Status) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    if let Some(every) = arguments.watch.watch {
        watch::run(every, || Ok(Picture::take(&dir)?.shown(arguments)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let picture = Picture::take(&dir)?;
    picture.shown(arguments).iter().for_each(terminal::say);
    Ok(if picture.healthy() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// A cloud at one moment.
struct Picture {
    dir: CloudDir,
    cloud: CloudFile,
    processes: Vec<(&'static str, Option<i32>)>,
    answer: Result<admin::Status>,
}

impl Picture {
    fn take(dir: &CloudDir) -> Result<Self> {
        let cloud = dir.read()?;
        let parts: &[&'static str] = match cloud.host {
            HostKind::Linux => &["up", "server", "agent", "blockd"],
            HostKind::Sim => &["up", "server"],
        };
        let pid = |part| lock::holder(&dir.run(), part).map(|pid| pid.as_raw_nonzero().get());
        let processes = parts.iter().map(|part| (*part, pid(part))).collect();
        let answer = admin::ask(dir, &admin::Question::Status);
        Ok(Self { dir: dir.clone(), cloud, processes, answer })
    }

    fn healthy(&self) -> bool {
        self.answer.as_ref().is_ok_and(|status| status.host_connected && status.unsettled.is_empty())
    }

    fn shown(&self, arguments: &Status) -> Vec<String> {
        if arguments.json { vec![self.json().to_string()] } else { self.lines() }
    }

    fn json(&self) -> serde_json::Value {
        let processes: serde_json::Map<_, _> =
            self.processes.iter().map(|(name, pid)| ((*name).to_owned(), (*pid).into())).collect();
        serde_json::json!({
            "data": self.dir.path(), "endpoint": self.cloud.endpoint(), "host": self.cloud.host,
            "tag": self.cloud.tag, "public_pool": self.cloud.public_pool, "ipv6_pool": self.cloud.ipv6_pool(), "processes": processes,
            "healthy": self.healthy(), "status": self.answer.as_ref().ok(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let regions: Vec<&str> = self.cloud.regions.iter().map(model::Region::as_str).collect();
        let mut lines = vec![
            format!("Cloud     {} in {}", terminal::strong(&self.cloud.tag), self.dir.path().display()),
            format!("Endpoint  {}", self.cloud.endpoint()),
            format!("Regions   {}", shorten(&regions)),
        ];
        for (name, pid) in &self.processes {
            let state = match pid {
                Some(pid) => terminal::good(format_args!("running (process {pid})")),
                None => terminal::bad("not running"),
            };
            lines.push(format!("{name:9} {state}"));
        }
        match &self.answer {
            Err(error) => lines.push(format!("Server    {}", terminal::bad(format!("{error:#}")))),
            Ok(status) => self.carried(status, &mut lines),
        }
        lines
    }

    fn carried(&self, status: &admin::Status, lines: &mut Vec<String>) {
        let host = match (status.host_connected, &status.host) {
            (true, Some(name)) => terminal::good(format_args!("{name}, connected")),
            _ => terminal::bad("not connected"),
        };
        lines.push(format!("Host      {host}"));
        if let Some(room) = &status.room {
            let (memory, used) = (room.memory_mib << 20, room.memory_mib_used << 20);
            lines.push(format!(
                "vCPUs     {} {} of {} promised",
                table::bar(room.vcpus_used, room.vcpus),
                room.vcpus_used,
                room.vcpus
            ));
            lines.push(format!(
                "Memory    {} {} of {} promised",
                table::bar(used, memory),
                table::bytes(used),
                table::bytes(memory)
            ));
        }
        let counts: Vec<String> = status.instances.iter().map(|(state, n)| format!("{n} {state}")).collect();
        let counts = if counts.is_empty() { "none".into() } else { counts.join(", ") };
        lines.push(format!("Instances {counts}"));
        let width = terminal::size().map(|(columns, _)| columns);
        let inventory: Result<Inventory> =
            admin::ask(&self.dir, &admin::Question::Inventory(Selection::default()));
        if let Ok(inventory) = &inventory {
            for noun in [Noun::Instances, Noun::Volumes, Noun::Addresses] {
                let Some(mut table) = tabulate(inventory, noun, width) else { continue };
                lines.push(String::new());
                let more = table.len().saturating_sub(ROWS + 1);
                table.truncate(ROWS + 1);
                lines.append(&mut table);
                if more > 0 {
                    let command = match noun {
                        Noun::Instances => "nube ps",
                        Noun::Volumes => "nube ps volumes",
                        Noun::Addresses => "nube ps addresses",
                    };
                    lines.push(terminal::faint(format_args!("… {more} more: {command}")));
                }
            }
        }
        if !status.unsettled.is_empty() {
            const COLUMNS: &[Column] = &[
                Column::always("FAILING"),
                Column::optional("TIMES", 1).right(),
                Column::always("LAST ERROR").cut(),
            ];
            let rows: Vec<_> = status
                .unsettled
                .iter()
                .map(|object| {
                    vec![
                        Cell::plain(&*object.key),
                        Cell::plain(object.failures.to_string()),
                        Cell::new(object.last_error.clone().unwrap_or_default(), Tone::Bad),
                    ]
                })
                .collect();
            lines.push(String::new());
            lines.extend(table::render(COLUMNS, &rows, width));
        }
    }
}

/// The first few, and how many more.
fn shorten(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
