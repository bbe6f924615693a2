//! Control groups: what a machine may take of the host, and which processes are its own.
//!
//! `nube-<cloud>/<instance>` under the mount of each controller (version 1) or of all (version 2, and then at the mount's root:
//! machines outlive the services that started them). The groups also are the kernel's own list of a machine's processes.
//! What a VPN connection's daemon takes is bounded likewise, in `nube-<cloud>-vpn/<connection>`.

use super::launcher::Priority;
use model::{CloudTag, InstanceId, MiB};
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a machine's processes may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub memory: MiB,
    pub processes: u32,
    /// Processor time in each [`PERIOD`]; none: no cap.
    pub cpu: Option<Duration>,
    pub priority: Priority,
}

/// The period of the processor cap.
pub const PERIOD: Duration = Duration::from_millis(100);

/// The mounted controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    V1 { memory: PathBuf, pids: Option<PathBuf>, cpu: Option<PathBuf> },
    V2(PathBuf),
}

impl Hierarchy {
    /// What is mounted here; none when nothing offers the memory controller.
    pub fn detect() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        Self::from_mounts(&mounts, |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    fn from_mounts(mounts: &str, controllers: impl Fn(&Path) -> String) -> Option<Self> {
        let mut v1 = Vec::new();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let at = PathBuf::from(at);
            match kind {
                "cgroup2" if controllers(&at).split_whitespace().any(|c| c == "memory") => {
                    return Some(Self::V2(at));
                }
                "cgroup" => v1.push((at, options.to_owned())),
                _ => {}
            }
        }
        let find = |controller: &str| {
            v1.iter()
                .find(|(_, options)| options.split(',').any(|option| option == controller))
                .map(|(at, _)| at.clone())
        };
        Some(Self::V1 { memory: find("memory")?, pids: find("pids"), cpu: find("cpu") })
    }
}

/// The control groups of one cloud on this host.
#[derive(Debug, Clone)]
pub struct Cgroups {
    hierarchy: Hierarchy,
    name: String,
}

impl Cgroups {
    pub fn of(cloud: &CloudTag, hierarchy: Hierarchy) -> Self {
        Self { hierarchy, name: format!("nube-{cloud}") }
    }

    /// Those of its VPN connections.
    pub fn of_vpns(cloud: &CloudTag, hierarchy: Hierarchy) -> Self {
        Self { hierarchy, name: format!("nube-{cloud}-vpn") }
    }

    /// This cloud's directory under each mount.
    fn tops(&self) -> Vec<PathBuf> {
        let mounts = match &self.hierarchy {
            Hierarchy::V2(root) => vec![root],
            Hierarchy::V1 { memory, pids, cpu } => {
                [Some(memory), pids.as_ref(), cpu.as_ref()].into_iter().flatten().collect()
            }
        };
        let mut tops: Vec<_> = mounts.into_iter().map(|m| m.join(&self.name)).collect();
        tops.dedup();
        tops
    }

    /// Makes the machine's groups with these limits, and names the files that a process joins them by.
    pub fn ensure(&self, of: impl Display, limits: Limits) -> io::Result<Vec<PathBuf>> {
        let own = of.to_string();
        let bytes = limits.memory.bytes().to_string();
        let processes = limits.processes.to_string();
        let period = PERIOD.as_micros();
        match &self.hierarchy {
            Hierarchy::V2(root) => {
                let top = root.join(&self.name);
                fs::create_dir_all(&top)?;
                for parent in [root, &top] {
                    // A container's own root group holds processes, and then the kernel delegates nothing below it. The
                    // machines still get groups, to be found by; what bounds them is the container's limit.
                    if let Err(error) = fs::write(parent.join("cgroup.subtree_control"), "+memory +pids +cpu")
                    {
                        tracing::warn!(group = %parent.display(), %error, "machines run without limits of their own");
                    }
                }
                let group = top.join(&own);
                fs::create_dir_all(&group)?;
                let quota = limits.cpu.map_or("max".to_owned(), |q| q.as_micros().to_string());
                let weight = if limits.priority == Priority::Background { "1" } else { "100" };
                let values = [
                    ("cpu.weight", weight.to_owned()),
                    ("memory.max", bytes),
                    ("pids.max", processes),
                    ("cpu.max", format!("{quota} {period}")),
                ];
                for (file, value) in values {
                    if group.join(file).exists() {
                        fs::write(group.join(file), value)?;
                    }
                }
            }
            Hierarchy::V1 { memory, pids, cpu } => {
                let make = |mount: &Path| -> io::Result<PathBuf> {
                    let group = mount.join(&self.name).join(&own);
                    fs::create_dir_all(&group)?;
                    Ok(group)
                };
                fs::write(make(memory)?.join("memory.limit_in_bytes"), bytes)?;
                if let Some(pids) = pids {
                    fs::write(make(pids)?.join("pids.max"), processes)?;
                }
                if let Some(cpu) = cpu {
                    let group = make(cpu)?;
                    let shares = if limits.priority == Priority::Background { "10" } else { "1024" };
                    fs::write(group.join("cpu.shares"), shares)?;
                    fs::write(group.join("cpu.cfs_period_us"), period.to_string())?;
                    let quota = limits.cpu.map_or("-1".to_owned(), |q| q.as_micros().to_string());
                    fs::write(group.join("cpu.cfs_quota_us"), quota)?;
                }
            }
        }
        Ok(self.tops().into_iter().map(|top| top.join(&own).join("cgroup.procs")).collect())
    }

    /// The processes in the machine's groups.
    pub fn processes(&self, instance: InstanceId) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .tops()
            .iter()
            .filter_map(|top| fs::read_to_string(top.join(instance.to_string()).join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|l| l.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Every machine that has a group.
    pub fn instances(&self) -> Vec<InstanceId> {
        let mut found: Vec<_> = self
            .tops()
            .iter()
            .filter_map(|top| fs::read_dir(top).ok())
            .flatten()
            .filter_map(|entry| InstanceId::parse(entry.ok()?.file_name().to_str()?).ok())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Removes the machine's groups, which must hold no process.
    pub fn remove(&self, of: impl Display) -> io::Result<()> {
        let own = of.to_string();
        self.tops().iter().try_for_each(|top| remove(&top.join(&own)))
    }

    /// Removes the cloud's own groups, which must hold no machine.
    pub fn remove_all(&self) -> io::Result<()> {
        self.tops().iter().try_for_each(|top| remove(top))
    }
}

fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_recognised() {
        let v1 = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
                  cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                  cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let want = Hierarchy::V1 {
            memory: "/sys/fs/cgroup/memory".into(),
            pids: None,
            cpu: Some("/sys/fs/cgroup/cpu,cpuacct".into()),
        };
        assert_eq!(Hierarchy::from_mounts(v1, |_| String::new()), Some(want));
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        assert_eq!(
            Hierarchy::from_mounts(v2, |_| "cpu memory pids\n".into()),
            Some(Hierarchy::V2("/sys/fs/cgroup".into()))
        );
        assert_eq!(Hierarchy::from_mounts(v2, |_| "cpu\n".into()), None);
    }
}
