//! The table: publishers, series, releases. A new release is one string in front of the others.

use model::host::Architecture;
use model::record::image::{BootMode, Platform};

/// Who publishes images, under which account.
pub(super) struct Publisher {
    pub account: u64,
    pub platform: Platform,
    /// The user that ssh logs in as.
    pub user: &'static str,
}

/// Images that differ in release and architecture only.
pub(super) struct Series {
    pub publisher: &'static Publisher,
    /// With `{release}`, `{arch}` (`x86_64`) and `{deb}` (`amd64`).
    pub name: &'static str,
    pub description: &'static str,
    /// The newest first.
    pub releases: &'static [&'static str],
    pub architectures: &'static [Architecture],
    pub root_device: &'static str,
    /// In GiB.
    pub size: u32,
    pub volume_type: &'static str,
    /// Of x86; Arm always boots by UEFI.
    pub boot_mode: Option<BootMode>,
    pub imds_v2: bool,
}

/// A series' name or description for one of its images.
pub(super) fn fill(text: &str, release: &str, architecture: Architecture) -> String {
    let (arch, deb) = match architecture {
        Architecture::X86_64 => ("x86_64", "amd64"),
        Architecture::Arm64 => ("arm64", "arm64"),
    };
    text.replace("{release}", release).replace("{arch}", arch).replace("{deb}", deb)
}

static AMAZON: Publisher =
    Publisher { account: 137_112_412_989, platform: Platform::Linux, user: "ec2-user" };
static CANONICAL: Publisher =
    Publisher { account: 99_720_109_477, platform: Platform::Linux, user: "ubuntu" };
static DEBIAN: Publisher = Publisher { account: 136_693_071_363, platform: Platform::Linux, user: "admin" };
static RED_HAT: Publisher =
    Publisher { account: 309_956_199_498, platform: Platform::RedHat, user: "ec2-user" };
static SUSE: Publisher = Publisher { account: 13_907_871_322, platform: Platform::Suse, user: "ec2-user" };
static MICROSOFT: Publisher =
    Publisher { account: 801_119_661_308, platform: Platform::Windows, user: "Administrator" };

const BOTH: &[Architecture] = &[Architecture::X86_64, Architecture::Arm64];
const X86: &[Architecture] = &[Architecture::X86_64];
const ARM: &[Architecture] = &[Architecture::Arm64];

const fn al2023(
    name: &'static str,
    description: &'static str,
    releases: &'static [&'static str],
    size: u32,
) -> Series {
    Series {
        publisher: &AMAZON,
        name,
        description,
        releases,
        architectures: BOTH,
        root_device: "/dev/xvda",
        size,
        volume_type: "gp3",
        boot_mode: Some(BootMode::UefiPreferred),
        imds_v2: true,
    }
}

const fn amazon2(
    name: &'static str,
    description: &'static str,
    architectures: &'static [Architecture],
) -> Series {
    Series {
        publisher: &AMAZON,
        name,
        description,
        releases: &["2.0.20260930.0", "2.0.20250405.0"],
        architectures,
        root_device: "/dev/xvda",
        size: 8,
        volume_type: "gp2",
        boot_mode: None,
        imds_v2: false,
    }
}

const fn ubuntu(
    name: &'static str,
    description: &'static str,
    releases: &'static [&'static str],
    volume_type: &'static str,
) -> Series {
    Series {
        publisher: &CANONICAL,
        name,
        description,
        releases,
        architectures: BOTH,
        root_device: "/dev/sda1",
        size: 8,
        volume_type,
        boot_mode: Some(BootMode::UefiPreferred),
        imds_v2: false,
    }
}

const fn debian(name: &'static str, description: &'static str, releases: &'static [&'static str]) -> Series {
    Series {
        publisher: &DEBIAN,
        name,
        description,
        releases,
        architectures: BOTH,
        root_device: "/dev/xvda",
        size: 8,
        volume_type: "gp3",
        boot_mode: Some(BootMode::UefiPreferred),
        imds_v2: false,
    }
}

const fn red_hat(name: &'static str, releases: &'static [&'static str]) -> Series {
    Series {
        publisher: &RED_HAT,
        name,
        description: "Provided by Red Hat, Inc.",
        releases,
        architectures: BOTH,
        root_device: "/dev/sda1",
        size: 10,
        volume_type: "gp3",
        boot_mode: Some(BootMode::UefiPreferred),
        imds_v2: false,
    }
}

const fn suse(name: &'static str, description: &'static str, releases: &'static [&'static str]) -> Series {
    Series {
        publisher: &SUSE,
        name,
        description,
        releases,
        architectures: BOTH,
        root_device: "/dev/sda1",
        size: 10,
        volume_type: "gp3",
        boot_mode: Some(BootMode::UefiPreferred),
        imds_v2: false,
    }
}

const fn windows(name: &'static str, description: &'static str, boot_mode: Option<BootMode>) -> Series {
    Series {
        publisher: &MICROSOFT,
        name,
        description,
        releases: &["2026.09.17", "2026.07.15"],
        architectures: X86,
        root_device: "/dev/sda1",
        size: 30,
        volume_type: "gp2",
        boot_mode,
        imds_v2: false,
    }
}

const NEWEST_AL2023: &[&str] = &["2023.12.20260930.0"];
const AL2023: &[&str] = &[NEWEST_AL2023[0], "2023.9.20251110.1"];

/// Of one publisher's series the usual one comes first: of images of one day it counts as the youngest.
pub(super) static SERIES: &[Series] = &[
    al2023(
        "al2023-ami-{release}-kernel-6.1-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} HVM kernel-6.1",
        AL2023,
        8,
    ),
    al2023(
        "al2023-ami-{release}-kernel-6.12-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} HVM kernel-6.12",
        AL2023,
        8,
    ),
    al2023(
        "al2023-ami-{release}-kernel-6.18-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} HVM kernel-6.18",
        NEWEST_AL2023,
        8,
    ),
    al2023(
        "al2023-ami-minimal-{release}-kernel-6.1-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} Minimal HVM kernel-6.1",
        AL2023,
        2,
    ),
    al2023(
        "al2023-ami-minimal-{release}-kernel-6.12-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} Minimal HVM kernel-6.12",
        AL2023,
        2,
    ),
    al2023(
        "al2023-ami-minimal-{release}-kernel-6.18-{arch}",
        "Amazon Linux 2023 AMI {release} {arch} Minimal HVM kernel-6.18",
        NEWEST_AL2023,
        2,
    ),
    amazon2(
        "amzn2-ami-kernel-5.10-hvm-{release}-{arch}-gp2",
        "Amazon Linux 2 Kernel 5.10 AMI {release} {arch} HVM gp2",
        X86,
    ),
    amazon2(
        "amzn2-ami-kernel-5.10-hvm-{release}-{arch}-gp2",
        "Amazon Linux 2 LTS Arm64 Kernel 5.10 AMI {release} {arch} HVM gp2",
        ARM,
    ),
    amazon2("amzn2-ami-hvm-{release}-{arch}-gp2", "Amazon Linux 2 AMI {release} {arch} HVM gp2", X86),
    amazon2(
        "amzn2-ami-hvm-{release}-{arch}-gp2",
        "Amazon Linux 2 LTS Arm64 AMI {release} {arch} HVM gp2",
        ARM,
    ),
    amazon2(
        "amzn2-ami-minimal-hvm-{release}-{arch}-ebs",
        "Amazon Linux 2 AMI {release} {arch} Minimal HVM ebs",
        X86,
    ),
    ubuntu(
        "ubuntu/images/hvm-ssd-gp3/ubuntu-resolute-26.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 26.04, {deb} resolute image",
        &["20260619"],
        "gp3",
    ),
    ubuntu(
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 24.04, {deb} noble image",
        &["20260904", "20251212"],
        "gp3",
    ),
    ubuntu(
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 22.04, {deb} jammy image",
        &["20260731", "20250305"],
        "gp2",
    ),
    ubuntu(
        "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-{deb}-server-{release}",
        "Canonical, Ubuntu, 20.04, {deb} focal image",
        &["20250603"],
        "gp2",
    ),
    ubuntu(
        "ubuntu-minimal/images/hvm-ssd-gp3/ubuntu-noble-24.04-{deb}-minimal-{release}",
        "Canonical, Ubuntu Minimal, 24.04, {deb} noble image",
        &["20260904"],
        "gp3",
    ),
    ubuntu(
        "ubuntu-minimal/images/hvm-ssd/ubuntu-jammy-22.04-{deb}-minimal-{release}",
        "Canonical, Ubuntu Minimal, 22.04, {deb} jammy image",
        &["20260731"],
        "gp2",
    ),
    debian("debian-13-{deb}-{release}", "Debian 13 ({release})", &["20260914-2601", "20251117-2299"]),
    debian("debian-12-{deb}-{release}", "Debian 12 ({release})", &["20261006-2623", "20251006-2257"]),
    debian("debian-11-{deb}-{release}", "Debian 11 ({release})", &["20250428-2096"]),
    red_hat("RHEL-10.0.0_HVM-{release}-{arch}-0-Hourly2-GP3", &["20260812", "20251030"]),
    red_hat("RHEL-9.6.0_HVM-{release}-{arch}-0-Hourly2-GP3", &["20260811"]),
    red_hat("RHEL-8.10.0_HVM-{release}-{arch}-2225-Hourly2-GP3", &["20260721"]),
    suse(
        "suse-sles-15-sp7-v{release}-hvm-ssd-{arch}",
        "SUSE Linux Enterprise Server 15 SP7 (HVM, 64-bit, SSD-Backed)",
        &["20260630"],
    ),
    suse(
        "suse-sles-15-sp6-v{release}-hvm-ssd-{arch}",
        "SUSE Linux Enterprise Server 15 SP6 (HVM, 64-bit, SSD-Backed)",
        &["20251016", "20250130"],
    ),
    windows(
        "Windows_Server-2025-English-Full-Base-{release}",
        "Microsoft Windows Server 2025 Full Locale English AMI provided by Amazon",
        Some(BootMode::Uefi),
    ),
    windows(
        "Windows_Server-2025-English-Core-Base-{release}",
        "Microsoft Windows Server 2025 Core Locale English AMI provided by Amazon",
        Some(BootMode::Uefi),
    ),
    windows(
        "Windows_Server-2022-English-Full-Base-{release}",
        "Microsoft Windows Server 2022 Full Locale English AMI provided by Amazon",
        None,
    ),
    windows(
        "Windows_Server-2022-English-Core-Base-{release}",
        "Microsoft Windows Server 2022 Core Locale English AMI provided by Amazon",
        None,
    ),
    windows(
        "Windows_Server-2019-English-Full-Base-{release}",
        "Microsoft Windows Server 2019 with Desktop Experience Locale English AMI provided by Amazon",
        None,
    ),
    windows(
        "Windows_Server-2019-English-Core-Base-{release}",
        "Microsoft Windows Server 2019 Core Locale English AMI provided by Amazon",
        None,
    ),
];
