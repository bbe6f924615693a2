//! What makes `nube up --host sim` an emulator: callers without secrets, machines that change state at once or in
//! realistic time, and a reset.
//!
//! Signatures can be switched off for simulated machines alone, never for real ones, and, unless that is asked for by its
//! name, only where the API listens on loopback. The choice holds for one start; it is not remembered.

use crate::cli::Up;
use crate::cloud_files::{Credentials, ROOT_ACCOUNT};
use crate::config::HostKind;
use agent::host::sim::SimConfig;
use anyhow::{Result, bail};
use clap::ValueEnum;
use control::Cloud;
use gateway::{Emulation, Reset};
use model::Region;
use model::record::Record as _;
use model::record::access_key::AccessKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whether callers must prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Requests are signed with keys of this cloud.
    #[default]
    On,
    /// Any credentials do; a 12-digit access key id names the account. Loopback only.
    Off,
    /// Like off, wherever the API listens: whoever reaches it owns it.
    OffAnywhere,
}

/// How long simulated machines take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// States change at once.
    #[default]
    Instant,
    /// States change in seconds, as on AWS.
    Real,
}

/// How a cloud of simulated machines is run this time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Emulator {
    auth: Auth,
    pace: Pace,
}

impl Emulator {
    /// Takes the choice of the command line, or says why it cannot be.
    pub fn choose(arguments: &Up, host: HostKind, listen: SocketAddr) -> Result<Self> {
        let chosen = Self { auth: arguments.auth, pace: arguments.pace };
        if host == HostKind::Linux && chosen.auth != Auth::On {
            bail!("--auth off is for --host sim alone: without signatures anybody could run machines here");
        }
        if host == HostKind::Linux && chosen.pace != Pace::Instant {
            bail!("--pace is for --host sim alone: real machines take the time that they take");
        }
        if chosen.auth == Auth::Off && !listen.ip().is_loopback() {
            bail!(
                "--auth off with --listen {listen} would let in everybody who reaches this host; if that is meant: \
                 --auth off-anywhere"
            );
        }
        Ok(chosen)
    }

    /// A line for the operator, when there is something to know.
    pub fn notice(self) -> Option<&'static str> {
        match self.auth {
            Auth::On => None,
            Auth::Off => {
                Some("Signatures are off: any credentials do, a 12-digit access key id names the account.")
            }
            Auth::OffAnywhere => {
                Some("Signatures are off: whoever reaches this address may do everything in every account.")
            }
        }
    }

    /// How long status checks say that they initialize.
    pub fn status_checks(self) -> Duration {
        match self.pace {
            Pace::Instant => Duration::ZERO,
            Pace::Real => Duration::from_mins(1),
        }
    }

    pub fn machines(self, seed: u64) -> SimConfig {
        let instant = SimConfig { seed, ..SimConfig::default() };
        match self.pace {
            Pace::Instant => instant,
            Pace::Real => SimConfig {
                start_time: Duration::from_secs(8),
                boot_time: Duration::from_secs(20),
                shutdown_time: Duration::from_secs(15),
                end_time: Duration::from_secs(5),
                snapshot_time: Duration::from_secs(10),
                ..instant
            },
        }
    }

    /// How many machines change at once: those that take their time must not wait for each other.
    pub fn parallel(self, usual: usize) -> usize {
        match self.pace {
            Pace::Instant => usual,
            Pace::Real => usual.max(4096),
        }
    }

    /// The gateway's part.
    pub fn emulation(self, cloud: &Arc<Cloud>, operator: &Credentials) -> Emulation {
        let auth = match self.auth {
            Auth::On => gateway::Auth::Signed,
            Auth::Off => gateway::Auth::OffOnLoopback,
            Auth::OffAnywhere => gateway::Auth::OffAnywhere,
        };
        Emulation { auth, operator: ROOT_ACCOUNT, reset: Some(reset(Arc::clone(cloud), operator)) }
    }
}

/// Forgets everything but the operator's own key, which is in the cloud's directory.
fn reset(cloud: Arc<Cloud>, operator: &Credentials) -> Reset {
    let kept = format!("{}/{}/{}", Region::global(), AccessKey::NOUN, operator.access_key_id);
    Arc::new(move || {
        let (cloud, kept) = (Arc::clone(&cloud), kept.clone());
        Box::pin(async move {
            let forgotten = cloud.forget_everything(move |key| key.as_str() == kept).await?;
            // AWS's own lists are not of this world's making.
            let put = |txn: &mut control::Txn<'_>| {
                ec2::prefix_list::aws::settle(&cloud, txn);
                Ok(())
            };
            cloud.transact(control::cloud::Mode::Shared, put).await?;
            Ok(forgotten)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn choose(arguments: &[&str], host: HostKind, listen: &str) -> Result<Emulator> {
        let cli = Cli::try_parse_from(["nube", "up"].iter().chain(arguments)).unwrap();
        Emulator::choose(cli.up().unwrap(), host, listen.parse().unwrap())
    }

    #[test]
    fn signatures_are_off_only_on_loopback_and_simulated_unless_asked_for_by_name() {
        let off = ["--auth", "off"];
        assert_eq!(choose(&off, HostKind::Sim, "127.0.0.1:4566").unwrap().auth, Auth::Off);
        assert_eq!(choose(&off, HostKind::Sim, "[::1]:4566").unwrap().auth, Auth::Off);
        for (arguments, host, listen) in [
            (off, HostKind::Sim, "0.0.0.0:4566"),
            (off, HostKind::Sim, "192.0.2.1:4566"),
            (off, HostKind::Linux, "127.0.0.1:4566"),
            (["--auth", "off-anywhere"], HostKind::Linux, "127.0.0.1:4566"),
            (["--pace", "real"], HostKind::Linux, "127.0.0.1:4566"),
        ] {
            assert!(choose(&arguments, host, listen).is_err(), "{arguments:?} {host:?} {listen}");
        }
        let anywhere = choose(&["--auth", "off-anywhere"], HostKind::Sim, "0.0.0.0:4566").unwrap();
        assert!(anywhere.notice().unwrap().contains("every account"));
        assert_eq!(choose(&[], HostKind::Linux, "0.0.0.0:4566").unwrap().auth, Auth::On);
    }
}
