//! A guest that does as its image says: Debian's kernel, busybox, and a script that reads its orders from the kernel's
//! command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Printed once user space runs.
pub const READY: &str = "GUEST-READY";

const SCRIPT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net button evdev; do insmod /m/$m.ko; done
echo "GUEST-READY"
for word in $(cat /proc/cmdline); do case $word in order=*) order=${word#order=};; esac; done
case $order in
  poweroff) poweroff -f;;
  panic) echo c > /proc/sysrq-trigger;;
  spew) while :; do echo "spew spew spew spew spew spew spew spew spew spew spew spew spew spew spew spew spew"; done;;
  button) grep Name= /proc/bus/input/devices
    for event in /dev/input/event*; do (dd if=$event bs=24 count=1 of=/dev/null 2>/dev/null && echo GUEST-BUTTON && poweroff -f) & done;;
  disk) echo "DISK-HELD=$(head -c 16 /dev/vda | tr -d '\0')"; echo "DISK-SIZE=$(cat /sys/block/vda/size)"
    echo "DISK-SERIAL=$(cat /sys/block/vda/serial)"
    printf 'written-earlier!' | dd of=/dev/vda conv=fsync 2>/dev/null; echo DISK-DONE;;
  fill) dd if=/dev/urandom of=/dev/vda bs=64k count=160 conv=fsync 2>/dev/null && echo FILL-DONE || echo FILL-FAILED;;
  devices) mkdir -p /seen
    measure() { read a x < /proc/uptime; dd if=$1 of=/dev/null bs=4096 count=$2 iflag=direct 2>/dev/null || echo "RATE-FAILED"; read b x < /proc/uptime
      awk -v a=$a -v b=$b -v n=$2 -v s=$3 'BEGIN { printf "RATE %s %d\n", s, n / (b - a) }'; }
    while :; do
      for block in /sys/block/vd*; do
        [ -e $block/size ] || continue
        disk=/dev/${block##*/}; serial=$(cat $block/serial); size=$(cat $block/size)
        [ "$(cat /seen/$serial 2>/dev/null)" = $size ] || { [ -e /seen/$serial ] || {
          echo "CAME $serial HELD=$(head -c 16 $disk | tr -d '\0')"; printf 'written-earlier!' | dd of=$disk conv=fsync 2>/dev/null; echo "WROTE $serial"; }
          echo "SIZE $serial $size"; echo $size > /seen/$serial; }
        [ "$(dd if=$disk bs=512 skip=8 count=1 iflag=direct 2>/dev/null | head -c 4)" = 'rate' ] && measure $disk 600 $serial
        dd if=$disk bs=512 count=1 iflag=direct of=/dev/null 2>/dev/null || echo "FAILS $serial"
      done
      for net in /sys/class/net/eth*; do
        [ -e $net/address ] || continue
        [ -e /seen/${net##*/} ] || { echo "NIC $(cat $net/address)"; cp $net/address /seen/${net##*/}; }
      done
      for known in /seen/vol*; do
        [ -e $known ] || continue
        grep -qs ${known##*/} /sys/block/vd*/serial || { rm $known; echo "LEFT ${known##*/}"; }
      done
      for known in /seen/eth*; do
        [ -e $known ] || continue
        [ -e /sys/class/net/${known##*/} ] || { rm $known; echo "NIC-LEFT"; }
      done
      usleep 100000
    done;;
  counter|counterb) n=0; at=0; mark=; [ $order = counterb ] && { at=8; mark=written-earlier!; }
    while :; do n=$((n+1)); printf '%-512s' "$n $mark" > /number
      for disk in /dev/vda /dev/vdb; do [ -e $disk ] && dd if=/number of=$disk bs=512 count=1 seek=$at oflag=direct conv=notrunc 2>/dev/null; done
      echo "COUNT $n"; usleep 20000; done;;
  reader) n=0; while :; do
      if dd if=/dev/vda of=/piece bs=512k skip=$n count=1 iflag=direct 2>/dev/null; then echo "READ $n=$(head -c 16 /piece)"; else echo "FAILED $n"; fi
      [ $n = 7 ] && { printf '%-512s' written > /note; dd if=/note of=/dev/vda bs=512 count=1 seek=7176 oflag=direct conv=notrunc 2>/dev/null && echo WROTE; }
      n=$(((n+1)%40)); [ $n = 0 ] && echo "ROUND"; usleep 50000; done;;
  identity) cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_uuid /sys/class/dmi/id/board_asset_tag; nproc; echo IDENTITY-DONE;;
esac
while :; do sleep 1000; done
"#;

/// What the guest does once it runs.
pub const ORDERS: [&str; 12] = [
    "counter", "counterb", "idle", "poweroff", "panic", "spew", "button", "disk", "fill", "identity",
    "devices", "reader",
];

/// An image cache with an image per order, made once.
pub fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
        std::fs::create_dir_all(&cache).unwrap();
        // Test processes share the cache.
        let lock = std::fs::File::create(cache.join("lock")).unwrap();
        lock.lock().unwrap();
        let images = cache.join("images");
        let unpacked = unpacked(&cache);
        let kernel = found(&unpacked.join("boot"), "vmlinuz-");
        let initrd = initrd(&unpacked);
        for order in ORDERS {
            let image = images.join(order);
            std::fs::create_dir_all(&image).unwrap();
            if !image.join("kernel").exists() {
                std::fs::copy(&kernel, image.join("kernel.tmp")).unwrap();
                std::fs::rename(image.join("kernel.tmp"), image.join("kernel")).unwrap();
                run("qemu-img", &["create", "-q", "-f", "qcow2", "disk.qcow2", "64M"], &image);
            }
            if std::fs::read(image.join("initrd")).ok().as_ref() != Some(&initrd) {
                std::fs::write(image.join("initrd"), &initrd).unwrap();
            }
            let manifest = serde_json::json!({
                "name": order,
                "digest": "sha256:0123456789abcdef",
                "boot": {
                    "mode": "direct-kernel",
                    "command_line": format!("console=ttyS0 quiet panic=-1 rdinit=/init order={order}"),
                    "command_line_emulated": "mitigations=off nokaslr tsc=reliable no_timer_check",
                },
            });
            std::fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
        }
        images
    })
}

fn unpacked(cache: &Path) -> PathBuf {
    let unpacked = cache.join("unpacked");
    if unpacked.exists() {
        return unpacked;
    }
    let depends = run("apt-cache", &["depends", "linux-image-cloud-amd64"], cache);
    let kernel = depends
        .lines()
        .find_map(|l| l.trim().strip_prefix("Depends: "))
        .expect("a kernel package")
        .to_owned();
    run("apt-get", &["-o", "Acquire::Retries=5", "download", &kernel, "busybox-static"], cache);
    let half = cache.join("half");
    for package in std::fs::read_dir(cache).unwrap().map(|e| e.unwrap().path()) {
        if package.extension().is_some_and(|e| e == "deb") {
            run("dpkg-deb", &["-x", package.to_str().unwrap(), half.to_str().unwrap()], cache);
        }
    }
    std::fs::rename(half, &unpacked).unwrap();
    unpacked
}

fn initrd(unpacked: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    for directory in ["bin", "m", "dev"] {
        entry(&mut archive, directory, 0o040_755, (0, 0), &[]);
    }
    entry(&mut archive, "dev/console", 0o020_600, (5, 1), &[]);
    entry(
        &mut archive,
        "bin/busybox",
        0o100_755,
        (0, 0),
        &std::fs::read(unpacked.join("bin/busybox")).unwrap(),
    );
    entry(&mut archive, "init", 0o100_755, (0, 0), SCRIPT.as_bytes());
    let modules = found(&unpacked.join("lib/modules"), "").join("kernel");
    for module in [
        "drivers/virtio/virtio_ring.ko",
        "drivers/virtio/virtio.ko",
        "drivers/virtio/virtio_pci_legacy_dev.ko",
        "drivers/virtio/virtio_pci_modern_dev.ko",
        "drivers/virtio/virtio_pci.ko",
        "drivers/block/virtio_blk.ko",
        "net/core/failover.ko",
        "drivers/net/net_failover.ko",
        "drivers/net/virtio_net.ko",
        "drivers/acpi/button.ko",
        "drivers/input/evdev.ko",
    ] {
        let name = module.rsplit('/').next().unwrap();
        let content = std::fs::read(modules.join(module)).unwrap();
        entry(&mut archive, &format!("m/{name}"), 0o100_644, (0, 0), &content);
    }
    entry(&mut archive, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
    let fields = [
        archive.len() as u32,
        mode,
        0,
        0,
        1,
        0,
        data.len() as u32,
        0,
        0,
        device.0,
        device.1,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

fn found(directory: &Path, prefix: &str) -> PathBuf {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .unwrap()
}

/// Runs a program that must succeed.
pub fn run(program: &str, args: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(directory).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {out}{err}");
    out.into_owned()
}
