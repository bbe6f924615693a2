//! `nube template`: the memory templates of a cloud's host, from which launches are resumed instead of booted.
//!
//! The server passes questions on to the host. Templates are made by themselves after a first launch; `build` makes one
//! before it.

use crate::admin::{self, Question};
use crate::cli::{Data, Switch};
use crate::cloud_files::CloudDir;
use crate::table::{self, Cell, Column};
use crate::terminal;
use crate::terminal::Tone;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use control::Cloud;
use model::GiB;
use model::host::{Machine, Reply, Request, TemplateState, TemplateStatus};
use model::record::image::Image;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

/// What all templates of a cloud may take of the disk unless told otherwise.
const SIZE: GiB = GiB(8);

#[derive(Debug, Args)]
pub struct TemplateFlags {
    /// Resume launches from memory templates, made in the background, or boot every machine; remembered [default: on]
    #[arg(long, value_enum, value_name = "on|off")]
    templates: Option<Switch>,
    /// What templates may take of the disk, in GiB; remembered [default: 8]
    #[arg(long, value_name = "GIB")]
    templates_size: Option<u32>,
}

/// As chosen at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub on: bool,
    pub size: GiB,
}

impl Default for Settings {
    fn default() -> Self {
        Self { on: true, size: SIZE }
    }
}

impl TemplateFlags {
    /// What was known, with what this start changes.
    pub fn settle(&self, known: Settings) -> Settings {
        Settings {
            on: self.templates.map_or(known.on, |templates| templates == Switch::On),
            size: self.templates_size.map_or(known.size, GiB),
        }
    }
}

#[derive(Debug, Args)]
pub struct Template {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the templates, and what is to become one.
    List {
        #[command(flatten)]
        data: Data,
        #[arg(long)]
        json: bool,
    },
    /// Have a template made of an image for an instance type.
    Build {
        #[command(flatten)]
        data: Data,
        /// An AMI's id, its name, or an image's name on this host, such as `nano`.
        image: String,
        /// Such as `t3.nano`.
        instance_type: String,
        /// Return when it is there.
        #[arg(long)]
        wait: bool,
        #[arg(long)]
        json: bool,
    },
    /// Remove a template. Instances that were started from it run on.
    Rm {
        #[command(flatten)]
        data: Data,
        key: String,
    },
}

pub fn run(arguments: &Template) -> Result<ExitCode> {
    match &arguments.command {
        Command::List { data, json } => {
            let dir = CloudDir::existing(&data.data)?;
            let templates = list(&dir)?;
            if *json {
                terminal::json(&serde_json::json!({ "templates": templates }));
            } else if templates.is_empty() {
                terminal::say("No templates.");
            } else {
                let width = terminal::size().map(|(columns, _)| columns);
                table::render(COLUMNS, &templates.iter().map(row).collect::<Vec<_>>(), width)
                    .iter()
                    .for_each(terminal::say);
            }
        }
        Command::Build { data, image, instance_type, wait, json } => {
            let dir = CloudDir::existing(&data.data)?;
            let question =
                Question::BuildTemplate { image: image.clone(), instance_type: instance_type.clone() };
            let key = match admin::ask(&dir, &question)? {
                Reply::Template { key } => key,
                other => bail!(refusal(other)),
            };
            if *wait {
                await_ready(&dir, &key)?;
            }
            if *json {
                terminal::json(&serde_json::json!({ "key": key }));
            } else {
                terminal::say(&key);
            }
        }
        Command::Rm { data, key } => {
            let dir = CloudDir::existing(&data.data)?;
            match admin::ask(&dir, &Question::RemoveTemplate { key: key.clone() })? {
                Reply::Done => {}
                other => bail!(refusal(other)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(dir: &CloudDir) -> Result<Vec<TemplateStatus>> {
    match admin::ask(dir, &Question::Templates)? {
        Reply::Templates { templates, .. } => Ok(templates),
        other => bail!(refusal(other)),
    }
}

fn await_ready(dir: &CloudDir, key: &str) -> Result<()> {
    loop {
        let templates = list(dir)?;
        let Some(template) = templates.into_iter().find(|template| template.key == key) else {
            bail!("{key} is not wanted any more");
        };
        match template.state {
            TemplateState::Ready { .. } => return Ok(()),
            TemplateState::Failed { reason } => bail!("{key} could not be built: {reason}"),
            TemplateState::Wanted | TemplateState::Building => {}
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Failed { reason } => reason,
        other => format!("the host answered {other:?}"),
    }
}

const COLUMNS: &[Column] = &[
    Column::always("TEMPLATE"),
    Column::always("IMAGE"),
    Column::always("TYPE"),
    Column::always("STATE").cut(),
    Column::optional("SIZE", 2).right(),
];

fn row(template: &TemplateStatus) -> Vec<Cell> {
    let (state, size) = match &template.state {
        TemplateState::Wanted => (Cell::new("◐ wanted", Tone::Warn), String::new()),
        TemplateState::Building => (Cell::new("◐ building", Tone::Warn), String::new()),
        TemplateState::Ready { bytes, .. } => (Cell::new("● ready", Tone::Good), table::bytes(*bytes)),
        TemplateState::Failed { reason } => {
            (Cell::new(format!("failed: {reason}"), Tone::Bad), String::new())
        }
    };
    vec![
        Cell::plain(&*template.key),
        Cell::plain(&*template.image),
        Cell::plain(&*template.instance_type),
        state,
        Cell::plain(size),
    ]
}

/// The server's part: from names to what the host understands.
pub async fn build(cloud: &Cloud, image: &str, instance_type: &str) -> Reply {
    let failed = |reason: String| Reply::Failed { reason };
    let Some(kind) = plan::instance_type::get(instance_type) else {
        return failed(format!("there is no instance type {instance_type}"));
    };
    let found = {
        let tables = cloud.view.read();
        let is_meant = |record: &Image| {
            record.image.to_string() == image
                || record.name == image
                || record.name.strip_prefix(&format!("nube/{image}-")).is_some()
        };
        tables.everywhere::<Image>().map(|(_, record)| record.clone()).find(|record| is_meant(record))
    };
    let Some(record) = found else { return failed(format!("there is no image {image}")) };
    let Some(host_image) = record.host_image.clone() else {
        return failed(format!("{image} has no disk on this host"));
    };
    let machine = Machine {
        instance_type: kind.name.to_owned(),
        architecture: record.architecture,
        vcpus: kind.vcpus,
        memory: kind.memory,
        direct_kernel: record.direct_kernel.then(|| host_image.clone()),
        firmware: record.firmware(),
    };
    admin::ask_host(cloud, Request::BuildTemplate { image: host_image, machine }).await
}

/// How the machines of the host were last started.
pub async fn origins(cloud: &Cloud) -> HashMap<String, String> {
    match admin::ask_host(cloud, Request::Templates).await {
        Reply::Templates { origins, .. } => {
            origins.into_iter().map(|(instance, origin)| (instance.to_string(), origin)).collect()
        }
        _ => HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_stays_until_something_else_is() {
        let flags = |templates, templates_size| TemplateFlags { templates, templates_size };
        let off = flags(Some(Switch::Off), Some(2)).settle(Settings::default());
        assert_eq!(off, Settings { on: false, size: GiB(2) });
        assert_eq!(flags(None, None).settle(off), off);
        assert!(flags(Some(Switch::On), None).settle(off).on);
    }
}
