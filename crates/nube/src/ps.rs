//! `nube ps`: the instances, volumes and addresses of a cloud in tables, across accounts and regions.

use crate::admin::{self, Question};
use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::inventory::{AddressLine, Health, InstanceLine, Inventory, Selection, VolumeLine, age};
use crate::table::{self, Cell, Column};
use crate::terminal::{self, Tone};
use crate::watch;
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Ps {
    #[command(flatten)]
    pub data: Data,
    #[arg(value_enum, default_value_t = Noun::Instances)]
    pub noun: Noun,
    /// Terminated instances too.
    #[arg(short, long)]
    pub all: bool,
    /// Only this region's.
    #[arg(long)]
    pub region: Option<String>,
    /// Only this account's.
    #[arg(long, value_name = "NUMBER")]
    pub account: Option<String>,
    #[command(flatten)]
    pub watch: Watch,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Draw again every so many seconds, until Ctrl-C.
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub watch: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is no number of seconds"))?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("between 0.1 and 3600 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Noun {
    Instances,
    Volumes,
    Addresses,
}

pub fn run(arguments: &Ps) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let selection = Selection {
        region: arguments.region.clone(),
        account: arguments.account.clone(),
        ended: arguments.all,
    };
    let draw = || -> Result<Vec<String>> {
        let inventory: Inventory = admin::ask(&dir, &Question::Inventory(selection.clone()))?;
        if arguments.json {
            return Ok(vec![json(&inventory, arguments.noun)?.to_string()]);
        }
        let lines = tabulate(&inventory, arguments.noun, terminal::size().map(|(columns, _)| columns));
        Ok(lines.unwrap_or_else(|| vec![terminal::faint(nothing(arguments.noun))]))
    };
    match arguments.watch.watch {
        Some(every) => watch::run(every, draw)?,
        None => draw()?.iter().for_each(terminal::say),
    }
    Ok(ExitCode::SUCCESS)
}

fn json(inventory: &Inventory, noun: Noun) -> Result<serde_json::Value> {
    Ok(match noun {
        Noun::Instances => serde_json::json!({ "instances": serde_json::to_value(&inventory.instances)? }),
        Noun::Volumes => serde_json::json!({ "volumes": serde_json::to_value(&inventory.volumes)? }),
        Noun::Addresses => serde_json::json!({ "addresses": serde_json::to_value(&inventory.addresses)? }),
    })
}

fn nothing(noun: Noun) -> &'static str {
    match noun {
        Noun::Instances => "No instances.",
        Noun::Volumes => "No volumes.",
        Noun::Addresses => "No public addresses.",
    }
}

/// The table of a noun; none when there is nothing of it.
pub fn tabulate(inventory: &Inventory, noun: Noun, width: Option<usize>) -> Option<Vec<String>> {
    let (columns, rows): (&[Column], Vec<Vec<Cell>>) = match noun {
        Noun::Instances => {
            let mixed = Mixed::of(inventory.instances.iter().map(|line| (&*line.account, &*line.region)));
            (INSTANCES, inventory.instances.iter().map(|line| instance(line, inventory.at, mixed)).collect())
        }
        Noun::Volumes => {
            let mixed = Mixed::of(inventory.volumes.iter().map(|line| (&*line.account, &*line.region)));
            (VOLUMES, inventory.volumes.iter().map(|line| volume(line, inventory.at, mixed)).collect())
        }
        Noun::Addresses => {
            let mixed = Mixed::of(inventory.addresses.iter().map(|line| (&*line.account, &*line.region)));
            (ADDRESSES, inventory.addresses.iter().map(|line| address(line, mixed)).collect())
        }
    };
    (!rows.is_empty()).then(|| table::render(columns, &rows, width))
}

/// Whether rows of several accounts or regions stand together, so that each must say whose it is.
#[derive(Clone, Copy)]
struct Mixed {
    accounts: bool,
    regions: bool,
}

impl Mixed {
    fn of<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (accounts, regions): (BTreeSet<_>, BTreeSet<_>) = lines.unzip();
        Self { accounts: accounts.len() > 1, regions: regions.len() > 1 }
    }

    fn account(self, account: &str) -> Cell {
        Cell::plain(if self.accounts { account } else { "" })
    }

    fn region(self, region: &str) -> Cell {
        Cell::plain(if self.regions { region } else { "" })
    }
}

const INSTANCES: &[Column] = &[
    Column::optional("NAME", 9).cut(),
    Column::always("INSTANCE"),
    Column::always("STATE"),
    Column::optional("HEALTH", 8).cut(),
    Column::optional("TYPE", 6),
    Column::optional("PUBLIC", 7),
    Column::optional("PRIVATE", 4),
    Column::optional("ZONE", 3),
    Column::optional("ACCOUNT", 5),
    Column::optional("KEY", 2).cut(),
    Column::optional("IMAGE", 1),
    Column::optional("START", 2),
    Column::optional("AGE", 6).right(),
];

fn instance(line: &InstanceLine, at: i64, mixed: Mixed) -> Vec<Cell> {
    vec![
        Cell::maybe(line.name.as_deref()),
        Cell::plain(&*line.id),
        state(&line.state),
        match (&line.health, &line.state_reason) {
            // A machine that ended by itself says why.
            (Health::None, Some(reason)) if line.state == "stopped" && reason.starts_with("Server.") => {
                Cell::new(reason, Tone::Warn)
            }
            (health, _) => shown(health),
        },
        Cell::plain(&*line.instance_type),
        Cell::maybe(line.public_address.as_deref()),
        Cell::maybe(line.private_address.as_deref()),
        Cell::plain(&*line.zone),
        mixed.account(&line.account),
        Cell::maybe(line.key.as_deref()),
        Cell::plain(&*line.image),
        Cell::plain(line.origin.as_deref().map(first_word).unwrap_or_default()),
        Cell::plain(table::age(age(at, line.launched_at))),
    ]
}

/// `clone` or `cold`; the rest is in the JSON.
fn first_word(origin: &str) -> &str {
    origin.split([' ', ':']).next().unwrap_or_default()
}

const VOLUMES: &[Column] = &[
    Column::optional("NAME", 9).cut(),
    Column::always("VOLUME"),
    Column::always("STATE"),
    Column::optional("HEALTH", 8).cut(),
    Column::always("SIZE").right(),
    Column::optional("TYPE", 3),
    Column::optional("INSTANCE", 7),
    Column::optional("DEVICE", 4),
    Column::optional("ZONE", 2),
    Column::optional("ACCOUNT", 5),
    Column::optional("AGE", 6).right(),
];

fn volume(line: &VolumeLine, at: i64, mixed: Mixed) -> Vec<Cell> {
    vec![
        Cell::maybe(line.name.as_deref()),
        Cell::plain(&*line.id),
        state(&line.state),
        shown(&line.health),
        Cell::plain(table::bytes(u64::from(line.size_gib) << 30)),
        Cell::plain(&*line.volume_type),
        Cell::maybe(line.instance.as_deref()),
        Cell::maybe(line.device.as_deref()),
        Cell::plain(&*line.zone),
        mixed.account(&line.account),
        Cell::plain(table::age(age(at, line.created_at))),
    ]
}

const ADDRESSES: &[Column] = &[
    Column::always("ADDRESS"),
    Column::optional("PRIVATE", 7),
    Column::optional("HEALTH", 5).cut(),
    Column::optional("INSTANCE", 6),
    Column::optional("INTERFACE", 1),
    Column::optional("ALLOCATION", 2),
    Column::optional("REGION", 3),
    Column::optional("ACCOUNT", 4),
];

fn address(line: &AddressLine, mixed: Mixed) -> Vec<Cell> {
    vec![
        Cell::plain(&*line.public_address),
        Cell::maybe(line.private_address.as_deref()),
        shown(&line.health),
        Cell::maybe(line.instance.as_deref()),
        Cell::maybe(line.interface.as_deref()),
        Cell::maybe(line.allocation.as_deref()),
        mixed.region(&line.region),
        mixed.account(&line.account),
    ]
}

fn state(name: &str) -> Cell {
    let (mark, tone) = match name {
        "running" | "in-use" => ("●", Tone::Good),
        "available" => ("○", Tone::Plain),
        "stopped" => ("○", Tone::Faint),
        "terminated" => ("✕", Tone::Faint),
        _ => ("◐", Tone::Warn),
    };
    Cell::new(format!("{mark} {name}"), tone)
}

fn shown(health: &Health) -> Cell {
    match health {
        Health::Ok => Cell::new("ok", Tone::Good),
        Health::Changing => Cell::new("changing", Tone::Warn),
        Health::Failing(reason) => Cell::new(format!("failing: {reason}"), Tone::Bad),
        Health::Unknown => Cell::new("unknown", Tone::Warn),
        Health::None => Cell::new("–", Tone::Faint),
    }
}
