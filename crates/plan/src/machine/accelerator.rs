//! What executes the guest's instructions.
//!
//! Emulation may run each vCPU in a thread of its own, but before release 8.2 QEMU gives running vCPUs a new memory map
//! before it has forgotten what they looked up in the old one (its `tcg_commit`). A store to a device that another vCPU's
//! change of the map overtakes then goes to another device: a guest that enumerates its bus, as each does at boot, now
//! and then loses the end of an interrupt and with it a vCPU's timer, or its whole process. There all vCPUs share a thread.

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// Emulation.
    Tcg(Threads),
}

/// The threads that emulate a machine's vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    OneEach,
    /// One for all of them.
    Shared,
}

/// The release of a QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// The first whose vCPUs may run side by side.
    const SAFE_IN_THREADS: Self = Self { major: 8, minor: 2 };

    /// From what `--version` prints: `QEMU emulator version 7.2.19 (Debian …)`.
    pub fn parse(said: &str) -> Option<Self> {
        let mut numbers = said.split("version ").nth(1)?.split('.');
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl Accelerator {
    /// Emulation by a QEMU of this version, if it is known.
    pub fn emulation(version: Option<Version>) -> Self {
        let is_safe = version.is_some_and(|version| version >= Version::SAFE_IN_THREADS);
        Self::Tcg(if is_safe { Threads::OneEach } else { Threads::Shared })
    }

    /// As `-accel` takes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg(Threads::OneEach) => "tcg,thread=multi",
            Self::Tcg(Threads::Shared) => "tcg,thread=single",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_qemu_says() {
        let said = "QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7+deb12u16)\nCopyright";
        assert_eq!(Version::parse(said), Some(Version { major: 7, minor: 2 }));
        assert_eq!(Version::parse("QEMU emulator version 10.0.2"), Some(Version { major: 10, minor: 0 }));
        for said in ["", "something else", "version seven.2", "version 7"] {
            assert_eq!(Version::parse(said), None, "{said:?}");
        }
    }

    #[test]
    fn vcpus_run_side_by_side_only_where_that_is_safe() {
        let threads = |major, minor| Accelerator::emulation(Some(Version { major, minor }));
        for (major, minor) in [(7, 2), (8, 1)] {
            assert_eq!(threads(major, minor), Accelerator::Tcg(Threads::Shared));
        }
        for (major, minor) in [(8, 2), (9, 0), (10, 1)] {
            assert_eq!(threads(major, minor), Accelerator::Tcg(Threads::OneEach));
        }
        assert_eq!(Accelerator::emulation(None), Accelerator::Tcg(Threads::Shared));
    }
}
