//! A directory with machines of plain QEMU in it: what the tests of the driver share.

use crate::guest;
use agent::host::linux::block::{Filling, LinuxBlock, LinuxBlockConfig};
use agent::host::linux::vmm::{
    AccelPolicy, Launcher, LinuxVmm, LinuxVmmConfig, TemplateConfig, TemplateMode, default_qemu,
};
use agent::host::{Block as _, DiskSpec, Life, MachineSpec, MachineState, Tap, Vmm as _};
use model::host::{Architecture, Machine, VolumeDesired};
use model::{AccountId, CloudTag, GiB, InstanceId, Mac, MiB, NetworkInterfaceId, VolumeId};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Emulated guests on a busy host are slow.
pub const BOOT: Duration = Duration::from_mins(2);

pub fn volume(number: u32) -> VolumeId {
    VolumeId::from_entropy(u128::from(number))
}

pub fn instance(number: u32) -> InstanceId {
    InstanceId::from_entropy(u128::from(number))
}

/// A directory and a cloud's tag that no other test has; whatever runs of it ends with the test.
pub struct Scratch {
    pub path: PathBuf,
    pub cloud: CloudTag,
}

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cloud = CloudTag::from_entropy(u128::from(std::process::id()) << 8 | u128::from(number));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host-{cloud}"));
        std::fs::create_dir_all(&path).unwrap();
        Self { path, cloud }
    }

    pub fn config(&self) -> LinuxVmmConfig {
        LinuxVmmConfig {
            cloud: self.cloud.clone(),
            state_dir: self.path.join("vms"),
            images_dir: guest::images().to_owned(),
            accel: AccelPolicy::Tcg,
            probe_cache: self.path.join("accel"),
            qemu: default_qemu(),
            launcher: Launcher { program: env!("CARGO_BIN_EXE_vm-exec").into(), arguments: vec![] },
            templates: TemplateConfig {
                volumes_dir: self.path.join("volumes"),
                most_bytes: 4 << 30,
                mode: TemplateMode::Off,
            },
        }
    }

    pub async fn vmm(&self) -> LinuxVmm {
        LinuxVmm::open(self.config()).await.unwrap()
    }

    pub fn block(&self) -> LinuxBlock {
        self.block_filling(Filling::First)
    }

    pub fn block_filling(&self, filling: Filling) -> LinuxBlock {
        LinuxBlock::open(LinuxBlockConfig {
            cloud: self.cloud.clone(),
            state_dir: self.path.join("volumes"),
            images_dir: guest::images().to_owned(),
            snapshots_dir: self.path.join("snapshots"),
            blocks: blocks::Place::Directory,
            filling,
        })
        .unwrap()
    }

    /// A file system in memory of this size, until the value goes.
    pub fn memory(at: &Path, bytes: u64) -> Mounted {
        std::fs::create_dir_all(at).unwrap();
        guest::run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={bytes}"), "nube-test", at.to_str().unwrap()],
            at,
        );
        Mounted(at.to_owned())
    }
}

pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        guest::run("umount", &["-l", self.0.to_str().unwrap()], Path::new("/"));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let config = self.config();
        let purge = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { LinuxVmm::open(config).await?.purge().await })
        });
        let purged = purge.join().unwrap();
        if !std::thread::panicking() {
            purged.unwrap();
            std::fs::remove_dir_all(&self.path).unwrap();
        }
    }
}

pub fn spec(number: u32, order: &str) -> MachineSpec {
    MachineSpec {
        fork: None,
        instance: instance(number),
        account: AccountId::from_number(1),
        machine: Machine {
            instance_type: "t3.nano".into(),
            architecture: Architecture::X86_64,
            vcpus: 1,
            memory: MiB(192),
            direct_kernel: Some(order.into()),
            firmware: model::host::Firmware::LegacyBios,
        },
        disks: vec![],
        identity: None,
        life: Life::First,
    }
}

pub async fn with_disk(block: &LinuxBlock, number: u32, order: &str, size: u32) -> MachineSpec {
    let desired = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(number),
        size: GiB(size),
        image: Some(order.into()),
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&desired, None).await.unwrap();
    let disks = vec![DiskSpec {
        volume: volume(number),
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/xvda".into(),
        limits: None,
        data_key: None,
        forked: None,
    }];
    MachineSpec { disks, ..spec(number, order) }
}

pub async fn text(vmm: &LinuxVmm, instance: InstanceId) -> String {
    let (bytes, _) = vmm.console(instance, 1 << 20).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until this holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + BOOT;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn until_says(vmm: &LinuxVmm, instance: InstanceId, word: &str) -> String {
    let end = Instant::now() + BOOT;
    loop {
        let text = text(vmm, instance).await;
        if text.contains(word) {
            return text;
        }
        assert!(Instant::now() < end, "the console never said {word}: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn until_state(vmm: &LinuxVmm, instance: InstanceId, state: MachineState) {
    until(&format!("{state:?}"), || async { vmm.state(instance).await.unwrap() == state }).await;
}

/// The processes of a machine: those that hold something open in its directory's control group.
pub fn processes(vmm: &Scratch, instance: InstanceId) -> Vec<i32> {
    use agent::host::linux::vmm::cgroup::{Cgroups, Hierarchy};
    Cgroups::of(&vmm.cloud, Hierarchy::detect().unwrap()).processes(instance)
}

pub fn qemu_of(scratch: &Scratch, instance: InstanceId) -> i32 {
    let is_qemu = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.contains("-nodefaults"))
    };
    processes(scratch, instance).into_iter().find(is_qemu).expect("a QEMU process")
}

pub fn status(pid: i32, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find_map(|l| l.strip_prefix(field)).unwrap().trim_start_matches(':').trim().to_owned()
}

/// An interface of the host that no other test has; it goes with its descriptor. The first has the process's number in its
/// name.
pub fn tap(number: u32) -> Tap {
    let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0_u8; 40];
    let name = if number == 0 { format!("nt{}", std::process::id()) } else { "nt%d".to_owned() };
    request[..name.len()].copy_from_slice(name.as_bytes());
    // TAP, no packet information, virtio headers.
    request[16..18].copy_from_slice(&(0x0002_u16 | 0x1000 | 0x4000).to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes an `ifreq` of 40 bytes.
    #[allow(unsafe_code)]
    let made = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54ca, request.as_mut_ptr()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    Tap {
        interface: NetworkInterfaceId::from_entropy(u128::from(number)),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        fd: Some(OwnedFd::from(file)),
        mtu: 1450,
    }
}
