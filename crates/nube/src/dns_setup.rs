//! `nube dns`: how this host's resolver comes to ask the cloud for public DNS names.
//!
//! Nothing of the host is changed unless `--install` asks for it; then a drop-in of systemd-resolved routes the domains of
//! the cloud's regions to [`crate::dns`], and `--remove` or `nube down` takes it away.

use crate::cli::Dns;
use crate::cloud_files::{CloudDir, CloudFile, write_whole};
use crate::terminal;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where systemd-resolved looks for drop-ins.
pub const DROP_INS: &str = "/etc/systemd/resolved.conf.d";
/// The first port that a new cloud tries: 5353 is multicast DNS's.
const PORT: u16 = 5354;
const TRIED: u16 = 64;

/// What `--dns` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    Off,
    At(SocketAddr),
}

impl Resolver {
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

pub fn parse(text: &str) -> Result<Resolver, String> {
    if text == "off" {
        return Ok(Resolver::Off);
    }
    text.parse().map(Resolver::At).map_err(|_| "an address with a port, or off".to_owned())
}

/// An address on loopback that nobody has, for a new cloud. Another cloud may take it until this one is up; then the log
/// says so, and `--dns` chooses another.
pub fn free_address() -> Option<SocketAddr> {
    let candidates = (PORT..PORT + TRIED).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    candidates.into_iter().find(|at| UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok())
}

pub fn run(arguments: &Dns) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let cloud = dir.read()?;
    if arguments.remove {
        let removed = remove(&arguments.drop_ins, &cloud)?;
        terminal::say(if removed {
            "The host's resolver asks the cloud no more."
        } else {
            "Nothing was installed."
        });
        return Ok(ExitCode::SUCCESS);
    }
    let Some(at) = cloud.dns else {
        bail!("this cloud answers no public DNS names; start it with: nube up --dns 127.0.0.1:{PORT}");
    };
    let file = drop_in(&arguments.drop_ins, &cloud);
    if arguments.install {
        fs::create_dir_all(&arguments.drop_ins)
            .with_context(|| format!("cannot make {}", arguments.drop_ins.display()))?;
        write_whole(&file, text(&cloud, at).as_bytes(), 0o644)?;
        let read = reload();
        terminal::say(format_args!("Written: {}", file.display()));
        if !read {
            terminal::say(
                "systemd-resolved does not run here, or could not be told; it reads the file when it starts.",
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.json {
        terminal::json(&serde_json::json!({
            "resolver": at, "domains": domains(&cloud), "installed": file.exists(), "file": file,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    terminal::say(format_args!("Public DNS names of this cloud's instances are answered at {at}."));
    terminal::say("");
    terminal::say(format_args!("systemd-resolved: nube dns --install, or put this into {}", file.display()));
    for line in text(&cloud, at).lines() {
        terminal::say(format_args!("  {line}"));
    }
    terminal::say("");
    terminal::say("dnsmasq: put these lines into its configuration");
    for domain in domains(&cloud) {
        terminal::say(format_args!("  server=/{domain}/{}#{}", at.ip(), at.port()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes what `--install` has written. What is not there is fine.
pub fn remove(drop_ins: &Path, cloud: &CloudFile) -> Result<bool> {
    let file = drop_in(drop_ins, cloud);
    match fs::remove_file(&file) {
        Ok(()) => {
            reload();
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", file.display())),
    }
}

fn drop_in(folder: &Path, cloud: &CloudFile) -> PathBuf {
    folder.join(format!("nube-{}.conf", cloud.tag))
}

fn domains(cloud: &CloudFile) -> Vec<String> {
    cloud.regions.iter().map(model::Region::public_domain).collect()
}

/// A drop-in that sends the domains, and only them, to the cloud.
fn text(cloud: &CloudFile, at: SocketAddr) -> String {
    let routed: Vec<String> = domains(cloud).into_iter().map(|domain| format!("~{domain}")).collect();
    format!("# Written by nube dns --install.\n[Resolve]\nDNS={at}\nDomains={}\n", routed.join(" "))
}

/// Has systemd-resolved read its configuration, where it runs.
fn reload() -> bool {
    #[allow(
        clippy::disallowed_methods,
        reason = "a change of the host that its operator asked for; no machine is concerned"
    )]
    let mut systemctl = std::process::Command::new("systemctl");
    let asked = systemctl.args(["--quiet", "try-restart", "systemd-resolved.service"]).output();
    asked.is_ok_and(|done| done.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_off_is_understood() {
        assert_eq!(parse("off"), Ok(Resolver::Off));
        let at = "127.0.0.1:5354".parse().unwrap();
        assert_eq!(parse("127.0.0.1:5354"), Ok(Resolver::At(at)));
        assert!(parse("5354").is_err());
    }
}
