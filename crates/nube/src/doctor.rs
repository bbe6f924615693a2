//! `nube doctor`: what on this host will not work, and what to do about it, before it is tried.
//!
//! What machines and networks need is the agent's to know (`agent::host::linux::doctor`); here is what a cloud needs beside
//! them: a port, a range of addresses, room on the disk, an image.

use crate::cli::Data;
use crate::cloud_files::{CloudDir, CloudFile};
use crate::config::{self, HostKind};
use crate::terminal::{self, Tone};
use crate::{lock, pool, table};
use agent::host::linux::doctor::{Finding, Level, examine};
use agent::host::linux::vmm::default_qemu;
use anyhow::Result;
use clap::Args;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub data: Data,
    /// For real machines, or for simulated ones [default: as the cloud was made, else linux]
    #[arg(long, value_enum)]
    pub host: Option<HostKind>,
    /// Where the API shall listen [default: as the cloud was made, else 127.0.0.1:4566]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Less than this hardly holds an image and a volume.
const DISK_AT_LEAST: u64 = 4 << 30;

pub fn run(arguments: &Doctor) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data).ok();
    let cloud = dir.as_ref().and_then(|dir| dir.read().ok());
    let host = arguments.host.or(cloud.as_ref().map(|cloud| cloud.host)).unwrap_or(HostKind::Linux);
    let mut findings = Vec::new();
    if host == HostKind::Linux {
        let qemu = default_qemu().into_iter().next().map(|(_, program)| program).unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        findings.extend(runtime.block_on(examine(&qemu, &config::default_image_cache())));
        findings.push(image(&config::default_image_cache()));
        findings.extend(addresses(dir.as_ref(), cloud.as_ref()));
    }
    findings.push(port(arguments, dir.as_ref(), cloud.as_ref()));
    findings.push(disk("disk", &arguments.data.data));
    if host == HostKind::Linux {
        findings.push(disk("image cache", &config::default_image_cache()));
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let packages: BTreeSet<&str> = findings.iter().filter_map(|finding| finding.package).collect();
    let apt = (!packages.is_empty())
        .then(|| format!("apt-get install -y {}", packages.iter().copied().collect::<Vec<_>>().join(" ")));
    if arguments.json {
        terminal::json(&serde_json::json!({
            "ready": problems == 0, "problems": problems, "warnings": warnings, "host": host, "apt": apt,
            "findings": serde_json::to_value(&findings)?,
        }));
    } else {
        let width = terminal::size().map_or(usize::MAX, |(columns, _)| columns);
        findings.iter().flat_map(|finding| shown(finding, width)).for_each(terminal::say);
        terminal::say("");
        if let Some(apt) = apt {
            terminal::say(format_args!("What is missing, as root: {}", terminal::strong(apt)));
        }
        terminal::say(verdict(problems, warnings, host));
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(problems: usize, warnings: usize, host: HostKind) -> String {
    let kind = match host {
        HostKind::Linux => "real machines",
        HostKind::Sim => "simulated machines",
    };
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (problems, warnings) {
        (0, 0) => terminal::good(format_args!("This host is ready for {kind}.")),
        (0, _) => terminal::good(format_args!(
            "This host is ready for {kind}, with {}.",
            several(warnings, "warning")
        )),
        (_, _) => terminal::bad(format_args!(
            "This host is not ready for {kind}: {}.",
            several(problems, "problem")
        )),
    }
}

/// A mark, the subject, what was found and what to do, within the terminal's width.
fn shown(finding: &Finding, width: usize) -> Vec<String> {
    const INDENT: usize = 18;
    let (mark, tone) = match finding.level {
        Level::Good => ("✓", Tone::Good),
        Level::Note => ("·", Tone::Faint),
        Level::Warning => ("!", Tone::Warn),
        Level::Problem => ("✗", Tone::Bad),
    };
    let room = width.saturating_sub(INDENT).max(30);
    let mut lines = Vec::new();
    for (at, line) in wrap(&finding.says, room).into_iter().enumerate() {
        lines.push(match at {
            0 => format!(" {} {:13}  {line}", terminal::toned(mark, tone), finding.subject),
            _ => format!("{:INDENT$}{line}", ""),
        });
    }
    for (at, line) in
        wrap(finding.remedy.as_deref().unwrap_or_default(), room.saturating_sub(2)).into_iter().enumerate()
    {
        let arrow = if at == 0 { "→" } else { " " };
        lines.push(format!("{:INDENT$}{}", "", terminal::faint(format_args!("{arrow} {line}"))));
    }
    lines
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn port(arguments: &Doctor, dir: Option<&CloudDir>, cloud: Option<&CloudFile>) -> Finding {
    let known = cloud.map(|cloud| cloud.listen);
    let listen = arguments.listen.or(known).unwrap_or_else(crate::up::default_listen);
    match TcpListener::bind(listen) {
        Ok(_) => Finding::new("port", Level::Good, format!("{listen} is free")),
        Err(_)
            if known == Some(listen)
                && dir.is_some_and(|dir| lock::holder(&dir.run(), "server").is_some()) =>
        {
            Finding::new("port", Level::Good, format!("this cloud answers at {listen}"))
        }
        Err(error) => {
            Finding::new("port", Level::Problem, format!("nube cannot listen on {listen}: {error}"))
                .remedy("name another one: nube up --listen 127.0.0.1:4567")
        }
    }
}

fn image(cache: &Path) -> Finding {
    match images::cache::list(cache) {
        Ok(images) if images.is_empty() => Finding::new(
            "images",
            Level::Warning,
            format!("there is no machine image in {}", cache.display()),
        )
        .remedy("nube image build nano"),
        Ok(images) => {
            let names: Vec<&str> = images.iter().map(|image| image.manifest.name.as_str()).collect();
            Finding::new("images", Level::Good, names.join(", "))
        }
        Err(error) => {
            Finding::new("images", Level::Problem, format!("the image cache cannot be read: {error}"))
        }
    }
}

/// Whether public addresses would collide with networks that this host knows a way to.
fn addresses(dir: Option<&CloudDir>, cloud: Option<&CloudFile>) -> Option<Finding> {
    let routes = pool::routes().ok()?;
    Some(match (dir, cloud) {
        (Some(_), Some(cloud)) => collision(cloud.public_pool, &format!("nb-{}", cloud.tag), &routes),
        _ => match pool::free(&config::pool_claims(), &routes) {
            Some(free) => {
                Finding::new("addresses", Level::Good, format!("{free} is free for public addresses"))
            }
            None => Finding::new(
                "addresses",
                Level::Problem,
                "every part of 198.18.0.0/15 is in use on this host",
            )
            .remedy("name a range that nobody uses: nube up --public-pool 203.0.113.0/24"),
        },
    })
}

fn collision(pool: Ipv4Net, own: &str, routes: &[(String, Ipv4Net)]) -> Finding {
    let meets = |route: &Ipv4Net| route.prefix_len() > 0 && (route.contains(&pool) || pool.contains(route));
    match routes.iter().find(|(link, route)| link != own && meets(route)) {
        None => Finding::new("addresses", Level::Good, format!("{pool} collides with nothing")),
        Some((link, route)) => Finding::new(
            "addresses",
            Level::Problem,
            format!("public addresses are {pool}, but this host reaches {route} by {link}"),
        )
        .remedy("make the cloud anew with another --public-pool, or take that route away"),
    }
}

fn disk(subject: &'static str, path: &Path) -> Finding {
    let there = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Err(error) => {
            Finding::new(subject, Level::Problem, format!("{} cannot be looked at: {error}", there.display()))
        }
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let says = format!("{} free for {}", table::bytes(free), path.display());
            if free < DISK_AT_LEAST {
                Finding::new(subject, Level::Warning, says)
                    .remedy("make room, or name another place (--data, --cache)")
            } else {
                Finding::new(subject, Level::Good, says)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_of_somebody_else_collides_and_our_own_does_not() {
        let pool = "198.18.0.0/22".parse().unwrap();
        let route = |link: &str, net: &str| (link.to_owned(), net.parse().unwrap());
        let harmless =
            [route("nb-abc", "198.18.0.0/22"), route("eth0", "0.0.0.0/0"), route("eth0", "10.0.0.0/8")];
        assert_eq!(collision(pool, "nb-abc", &harmless).level, Level::Good);
        let found = collision(pool, "nb-abc", &[route("tun0", "198.18.1.0/24")]);
        assert_eq!(found.level, Level::Problem);
        assert!(found.says.contains("tun0"), "{found:?}");
    }

    #[test]
    fn long_sentences_are_wrapped_under_each_other() {
        let finding =
            Finding::new("kvm", Level::Warning, "one two three four five six seven").remedy("do it");
        assert_eq!(
            shown(&finding, 48),
            [
                " ! kvm            one two three four five six",
                "                  seven",
                "                  → do it",
            ]
        );
    }
}
