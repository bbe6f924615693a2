//! Where the environment is read: directories, and what decides about colours and logs.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What carries the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostKind {
    Linux,
    Sim,
}

#[allow(clippy::disallowed_methods, reason = "this module is the one place that reads the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `/var/lib/nube` for root, else below the user's data directory.
pub fn default_data_dir() -> PathBuf {
    if let Some(data) = variable("NUBE_DATA") {
        return data;
    }
    if is_root() { PathBuf::from("/var/lib/nube") } else { user_dir("XDG_DATA_HOME", ".local/share") }
}

/// `/var/cache/nube/images` for root, else below the user's cache directory.
pub fn default_image_cache() -> PathBuf {
    if let Some(cache) = variable("NUBE_IMAGES") {
        return cache;
    }
    let base =
        if is_root() { PathBuf::from("/var/cache/nube") } else { user_dir("XDG_CACHE_HOME", ".cache") };
    base.join("images")
}

/// Where the clouds of this host note which public addresses are theirs.
pub fn pool_claims() -> PathBuf {
    PathBuf::from("/var/lib/nube-public-pools")
}

fn user_dir(xdg: &str, below_home: &str) -> PathBuf {
    let base = variable(xdg).or_else(|| Some(variable("HOME")?.join(below_home)));
    base.unwrap_or_else(|| PathBuf::from(".")).join("nube")
}

pub fn home() -> Option<PathBuf> {
    variable("HOME")
}

/// What the log shows: `NUBE_LOG`, levels by target such as `info,agent=debug`, or what matters.
pub fn log_filter() -> String {
    variable("NUBE_LOG").and_then(|v| v.into_os_string().into_string().ok()).unwrap_or_else(|| "info".into())
}

/// How long after a volume of a snapshot is there what it lacks is brought onto the host: `NUBE_FILL_AFTER`, in seconds. A guest that
/// boots from it comes first.
pub fn fill_after() -> Duration {
    const USUAL: Duration = Duration::from_secs(10);
    let seconds = variable("NUBE_FILL_AFTER").and_then(|v| v.to_str()?.parse().ok());
    seconds.map_or(USUAL, Duration::from_secs)
}

/// Where the service manager wants to hear that we are ready, as sd_notify(3) has it.
pub fn notify_socket() -> Option<PathBuf> {
    variable("NOTIFY_SOCKET")
}

/// Colours are for people: on a terminal, unless `NO_COLOR` is set.
pub fn colours() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdout().is_terminal() && variable("NO_COLOR").is_none()
}
