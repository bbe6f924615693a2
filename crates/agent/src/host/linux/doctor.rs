//! What on this host will not work, and what to do about it: the requirements, and what is no requirement but slows a cloud
//! down or surprises its owner. Looks and tries; changes nothing that stays.

#![allow(unsafe_code)]

use super::net::trial;
use super::vmm::accel::{self, Kvm};
use super::vmm::cgroup::Hierarchy;
use super::{exec, requirements};
use model::MiB;
use plan::machine::Version;
use serde::Serialize;
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Good,
    /// Worth knowing.
    Note,
    /// It works, but worse than it could.
    Warning,
    /// It will not work.
    Problem,
}

/// What was found about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub subject: &'static str,
    pub level: Level,
    pub says: String,
    /// What to do.
    pub remedy: Option<String>,
    /// The Debian package that helps.
    pub package: Option<&'static str>,
}

impl Finding {
    pub fn new(subject: &'static str, level: Level, says: impl Into<String>) -> Self {
        Self { subject, level, says: says.into(), remedy: None, package: None }
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// QEMU before this was never tried.
const QEMU_AT_LEAST: u32 = 7;
/// Less than this carries hardly a machine.
const MEMORY_AT_LEAST: MiB = MiB(1024);

/// Looks at everything that machines, volumes and networks need. `images` is where kernels for a trial lie.
pub async fn examine(qemu: &str, images: &Path) -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let mut findings = Vec::new();
    let lacks = requirements::lacks();
    if lacks.is_empty() {
        findings.push(Finding::new(
            "requirements",
            Level::Good,
            "rights, programs, devices and firmware are there",
        ));
    }
    findings.extend(lacks.into_iter().map(|lack| {
        let mut finding = Finding::new("requirements", Level::Problem, lack.says);
        finding.package = lack.package;
        finding
    }));
    findings.push(version(qemu).await);
    findings.push(kvm(qemu, images).await);
    if root {
        // The kernel may take its time to load modules.
        let tried = tokio::task::spawn_blocking(|| (trial::run(), trial::foreign_filters())).await;
        if let Ok((features, filters)) = tried {
            kernel(features, &mut findings);
            firewalls(filters, &mut findings);
        }
    } else {
        findings.push(Finding::new("kernel", Level::Note, "what it can do is tried as root only"));
    }
    findings.push(vpn());
    findings.push(cgroups());
    findings.push(memory());
    findings.push(clock());
    findings
}

/// VPN connections are an extra: without what they need, nothing else suffers.
fn vpn() -> Finding {
    match requirements::lacks_vpn() {
        None => Finding::new("vpn", Level::Good, "strongSwan is there for VPN connections"),
        Some(lack) => Finding::new("vpn", Level::Note, format!("no VPN connections can be made: {lack}")).remedy(
            "apt install charon-systemd strongswan-swanctl libstrongswan-standard-plugins libcharon-extra-plugins",
        ),
    }
}

async fn version(qemu: &str) -> Finding {
    let said = exec::run(qemu, &["--version"], b"").await;
    let text = match &said {
        Ok(output) if output.success() => String::from_utf8_lossy(&output.stdout),
        _ => return Finding::new("qemu", Level::Problem, format!("{qemu} does not start")),
    };
    let line = text.lines().next().unwrap_or_default().to_owned();
    match Version::parse(&line) {
        Some(Version { major, .. }) if major < QEMU_AT_LEAST => Finding::new(
            "qemu",
            Level::Warning,
            format!("{line} is older than {QEMU_AT_LEAST}.0, which machines are tried with"),
        )
        .remedy("use a newer release of the distribution"),
        _ => Finding::new("qemu", Level::Good, line),
    }
}

async fn kvm(qemu: &str, images: &Path) -> Finding {
    let slow = "machines run emulated (TCG), at a tenth of the speed or less";
    match accel::try_kvm(qemu, images).await {
        Kvm::Works => Finding::new("kvm", Level::Good, "a guest runs under KVM"),
        Kvm::Absent => Finding::new("kvm", Level::Warning, format!("there is no /dev/kvm: {slow}")).remedy(
            "turn virtualisation on in the firmware, or nested virtualisation where this host is a machine itself; then: \
             modprobe kvm_intel or kvm_amd",
        ),
        Kvm::Forbidden(error) => {
            Finding::new("kvm", Level::Warning, format!("/dev/kvm does not open ({error}): {slow}"))
                .remedy("run as root; in a container, give it the device /dev/kvm")
        }
        Kvm::Broken => Finding::new("kvm", Level::Warning, format!("/dev/kvm opens, but no guest runs under it: {slow}"))
            .remedy("see the kernel's log for kvm; nested virtualisation is often half there"),
        Kvm::Untried => {
            Finding::new("kvm", Level::Note, "/dev/kvm opens; whether a guest runs is tried once there is an image")
        }
    }
}

fn kernel(trials: std::io::Result<Vec<trial::Trial>>, findings: &mut Vec<Finding>) {
    let trials = match trials {
        Ok(trials) => trials,
        Err(error) => {
            let says = format!("no network namespace can be made: {error}");
            let remedy = "in a container, run it privileged (CAP_SYS_ADMIN, CAP_NET_ADMIN)";
            findings.push(Finding::new("kernel", Level::Problem, says).remedy(remedy));
            return;
        }
    };
    let mut able = Vec::new();
    for trial in trials {
        let Err(error) = trial.outcome else {
            able.push(trial.feature);
            continue;
        };
        // Nothing needs it yet.
        let level = if trial.feature == "vxlan" { Level::Note } else { Level::Problem };
        let says = format!("{} does not work ({}): {error}", trial.feature, trial.purpose);
        findings.push(Finding::new("kernel", level, says).remedy(format!(
            "modprobe {}; a kernel without it needs another kernel package (linux-image-amd64, not -cloud or a container's)",
            trial.feature
        )));
    }
    if !able.is_empty() {
        findings.push(Finding::new("kernel", Level::Good, format!("{} work", able.join(", "))));
    }
}

fn firewalls(filters: std::io::Result<Vec<String>>, findings: &mut Vec<Finding>) {
    let filters = match filters {
        Ok(filters) => filters,
        Err(error) => {
            findings.push(Finding::new(
                "firewall",
                Level::Problem,
                format!("nftables cannot be asked: {error}"),
            ));
            return;
        }
    };
    for filter in &filters {
        let says = format!("the chain `{filter}` drops forwarded packets");
        findings.push(if filter.contains("firewalld") {
            Finding::new("firewall", Level::Warning, says)
                .remedy("put the cloud's link (nb-TAG) into a trusted zone: firewall-cmd --permanent --zone=trusted --add-interface=nb-TAG")
        } else {
            Finding::new("firewall", Level::Note, format!("{says}; nube puts accept rules for its own link at its head"))
        });
    }
    if filters.is_empty() {
        findings.push(Finding::new("firewall", Level::Good, "nothing drops forwarded packets"));
    }
}

fn cgroups() -> Finding {
    match Hierarchy::detect() {
        Some(Hierarchy::V2(at)) => {
            Finding::new("cgroups", Level::Good, format!("version 2 at {}", at.display()))
        }
        Some(Hierarchy::V1 { .. }) => Finding::new(
            "cgroups",
            Level::Note,
            "version 1; machines are bounded, but version 2 does it better",
        )
        .remedy("boot with systemd.unified_cgroup_hierarchy=1"),
        None => Finding::new(
            "cgroups",
            Level::Problem,
            "no control groups with the memory controller are mounted",
        )
        .remedy("mount -t cgroup2 none /sys/fs/cgroup; on some boards the kernel wants cgroup_enable=memory"),
    }
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (Some(total), Some(free)) = (field("MemTotal:"), field("MemAvailable:")) else {
        return Finding::new("memory", Level::Note, "/proc/meminfo cannot be read");
    };
    let says = format!("{} of {} MiB are free", free >> 10, total >> 10);
    if free >> 10 < u64::from(MEMORY_AT_LEAST.0) {
        Finding::new("memory", Level::Warning, says)
            .remedy("end something: a machine needs its memory whole, and nube never promises it twice")
    } else {
        Finding::new("memory", Level::Good, says)
    }
}

/// Signatures are refused when the clocks of client and server differ by more than minutes, and guests take their time from
/// here.
fn clock() -> Finding {
    const UNSYNCHRONISED: i32 = 5;
    // SAFETY: an all-zero `timex` is a valid one that asks for nothing to be changed (`modes` is 0).
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    match state {
        UNSYNCHRONISED => Finding::new(
            "clock",
            Level::Note,
            "nothing keeps this host's clock in step, as far as the kernel knows",
        )
        .remedy("apt-get install systemd-timesyncd; guests take their time from this host"),
        _ => Finding::new("clock", Level::Good, "kept in step"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_missing_says_what_it_is_for_and_what_helps() {
        let trial = |feature, outcome| trial::Trial { feature, purpose: "routing", outcome };
        let mut findings = Vec::new();
        kernel(
            Ok(vec![trial("veth", Ok(())), trial("tun", Err(std::io::ErrorKind::NotFound.into()))]),
            &mut findings,
        );
        assert_eq!(findings[0].level, Level::Problem);
        assert!(findings[0].says.contains("tun") && findings[0].says.contains("routing"), "{findings:?}");
        assert!(findings[0].remedy.as_deref().unwrap().starts_with("modprobe tun"));
        assert_eq!(findings[1], Finding::new("kernel", Level::Good, "veth work"));
    }

    #[test]
    fn a_firewall_that_takes_no_rules_of_others_is_a_warning() {
        let mut findings = Vec::new();
        firewalls(
            Ok(vec!["ip filter FORWARD".into(), "inet firewalld filter_FORWARD".into()]),
            &mut findings,
        );
        assert_eq!(findings.iter().map(|f| f.level).collect::<Vec<_>>(), [Level::Note, Level::Warning]);
    }

    #[tokio::test]
    async fn every_subject_has_a_finding() {
        let findings = examine("/usr/bin/qemu-system-x86_64", Path::new("/nonexistent")).await;
        for subject in ["requirements", "qemu", "kvm", "kernel", "vpn", "cgroups", "memory", "clock"] {
            assert!(findings.iter().any(|finding| finding.subject == subject), "{subject}: {findings:#?}");
        }
    }
}
