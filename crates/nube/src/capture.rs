//! `nube capture eni-…`: what an interface sends and receives, as a pcap.

use crate::cli::Data;
use crate::cloud_files::CloudDir;
use crate::config::HostKind;
use agent::host::linux::net::capture::{Capture as Listener, Limits};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use model::NetworkInterfaceId;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Capture {
    #[command(flatten)]
    pub data: Data,
    /// The interface; its machine runs on meanwhile.
    #[arg(value_name = "ENI")]
    pub interface: String,
    /// The file to write [default: standard output, for `tcpdump -nr -`]
    #[arg(short = 'w', long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// End after so many packets.
    #[arg(short = 'c', long, value_name = "PACKETS")]
    pub count: Option<u64>,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

pub fn run(arguments: &Capture) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let cloud = dir.read()?;
    let interface = NetworkInterfaceId::parse(&arguments.interface)?;
    if cloud.host == HostKind::Sim {
        bail!("the machines of this cloud are simulated: no packets pass");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("only root may listen to what a machine sends and receives");
    }
    let listener = Listener::open(&cloud.tag, interface).context("cannot listen")?;
    let Some(mut listener) = listener else {
        bail!(
            "{interface} has no port on this host: its instance does not run, or there is no such interface"
        );
    };
    let limits = Limits { frames: arguments.count, time: arguments.seconds.map(Duration::from_secs) };
    let mut out: Box<dyn Write> = match &arguments.write {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None if io::stdout().is_terminal() => {
            bail!(
                "a capture is no text: name a file (--write FILE), or pipe it: nube capture … | tcpdump -nr -"
            )
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    match listener.write(limits, &mut out) {
        Ok(frames) => {
            eprintln!("{frames} packets of {interface}");
            Ok(ExitCode::SUCCESS)
        }
        // Whoever read along has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("the capture ended"),
    }
}
