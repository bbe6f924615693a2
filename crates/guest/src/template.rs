//! Being made a memory template, and waking up from one: a launch without a boot.
//!
//! A host boots an image once, up to the point before the guest knows who it is, and keeps memory, device state and disk of
//! that instant. A launch then maps that memory copy-on-write and resumes. The guest's part is this protocol, which every
//! guest that wants to start this way follows, whatever its init (an image says so by `resumable` in its manifest):
//!
//! 1. **Asked.** The firmware's tables hold an OEM string (SMBIOS type 11) `nube.template=NONCE`, 32 hex digits, to be
//!    found in `/sys/firmware/dmi/tables/DMI`. Only the machine that is to become a template has it. No kernel
//!    command line and no disk carries it, so a clone that reboots, which reads its own tables, boots as any machine.
//! 2. **Settled.** The machine has no network interface. The guest does all of its boot that needs neither network nor
//!    identity, reads what it will need next into the page cache, flushes its disks, and sees to it that no process is
//!    left that keeps random numbers of its own (an ssh server, say) or will write anything later.
//!    A guest that can read the machine's configuration asks for its interface first, by a line
//!    `nube.template: plug NONCE`; the host plugs in one that is connected to nothing, and the guest brings it up and answers
//!    `nube.template: parked NONCE` ([`crate::parked`]). This saves a clone the time that a kernel takes to find a new device.
//! 3. **Ready.** It prints one line `nube.template: ready NONCE` on the first serial port and does nothing from then on. A
//!    guest that cannot become a template prints `nube.template: unfit NONCE` and a reason instead. What a guest says
//!    here speaks for its own image only, so an image that lies harms its owner.
//! 4. **Woken.** The first network interface appears: it is plugged in before the clone's first instruction. Where it was
//!    parked, the address changes that `opt/nube/mac` of the machine's configuration names: it is the clone's, to be given to
//!    the interface. `opt/nube/identity` says who the clone is: address, name, login key ([`crate::told`]). A guest may as well
//!    ask DHCP and the metadata service, which say the same.
//! 5. **Identity first.** Before the first packet: fresh entropy of the host's (at least 256 bytes of `/dev/hwrng`, as drivers
//!    hold bytes from before, which all clones share), a reseeded generator, the clock, a boot id. Before anything
//!    answers: machine id, host keys, the firmware's ids as sysfs shows them, host name and login keys, as the metadata
//!    service gives them for this instance. Then everything else.
//!
//! What a clone still shares with its siblings, on purpose: kernel text and its layout, the page cache, and the stack canaries
//! of process 1 and of this agent, which take every random number from the kernel and face no network but their host's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::console::{raw, report, say};
use crate::files::{self, Access};
use crate::nic::{self, Nic};
use crate::parked::{self, Parked};
use crate::{clock, exec, random, sys, timeline};

const TABLES: &str = "/sys/firmware/dmi/tables/DMI";
const MARK: &[u8] = b"nube.template=";
const FIRMWARE_IDS: &str = "/sys/class/dmi/id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where the files lie that cover the template's.
const COVERS: &str = "/run/nube/identity";

static WOKEN: AtomicBool = AtomicBool::new(false);
/// What is done meanwhile, and must be before anybody logs in.
static BESIDE: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// The nonce, if this machine is to become a template.
pub fn asked() -> Option<String> {
    nonce(&fs::read(TABLES).ok()?)
}

fn nonce(tables: &[u8]) -> Option<String> {
    let at = tables.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let text = tables[at..].iter().take_while(|byte| byte.is_ascii_hexdigit());
    let text: String = text.map(|byte| char::from(*byte)).collect();
    (text.len() == 32).then_some(text)
}

/// A guest at rest.
#[derive(Debug, Default)]
pub struct Asleep {
    parked: Option<Parked>,
}

/// When a guest gets its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// It keeps one while it sleeps.
    Parked,
    /// One appears when it wakes.
    Appears,
}

/// Brings the guest to rest and says so. What comes after this happens in a clone.
pub fn settle(nonce: &str, interface: Interface, warm: impl FnOnce()) -> io::Result<Asleep> {
    let parked = match interface {
        Interface::Appears => None,
        Interface::Parked => parked::park(nonce).inspect_err(|error| {
            raw(&format!("\r\nnube.template: unfit {nonce} its interface: {error}\r\n"));
        })?,
    };
    sys::sync();
    // What the boot read once needs no place in each clone's memory; what comes next does.
    report("page cache", fs::write("/proc/sys/vm/drop_caches", "3"));
    warm();
    sys::sync();
    // Whatever stands on the console's last line, ours begins a new one.
    raw(&format!("\r\nnube.template: ready {nonce}\r\n"));
    Ok(Asleep { parked })
}

/// Runs what a start runs, so that it is in memory. Its results are thrown away.
pub fn warm() {
    let _ = exec::output("dropbear", &["-V"]);
}

/// Waits until this is a clone, and does the first things that a clone does; `also` goes on beside them, until the firmware's
/// ids are shown. Gives the clone's interface, which nothing has been sent through.
pub fn wake(asleep: &Asleep, also: impl FnOnce() + Send + 'static) -> io::Result<Nic> {
    let nic = match &asleep.parked {
        None => {
            let nic = nic::wait()?;
            timeline::mark("awake");
            nic
        }
        Some(parked) => {
            let mac = parked.wait();
            timeline::mark("awake");
            parked.take(mac)?
        }
    };
    WOKEN.store(true, Ordering::Relaxed);
    report("random generator", freshen());
    let beside = thread::spawn(|| {
        report("clock", clock::from_hardware());
        also();
    });
    *BESIDE.lock().unwrap_or_else(PoisonError::into_inner) = Some(beside);
    report("boot id", take_boot_id());
    files::flush_later();
    timeline::mark("woken");
    Ok(nic)
}

/// Shows another boot id than the kernel drew, which others have as well.
pub fn take_boot_id() -> io::Result<()> {
    cover(BOOT_ID, &uuid(sys::random()), 0o444)
}

/// The firmware's tables in memory are another machine's from here on.
pub fn was_woken() {
    WOKEN.store(true, Ordering::Relaxed);
}

/// 512 bytes of the host's: more than the drivers have in hand.
pub fn freshen() -> io::Result<()> {
    let mut bytes = [0; 512];
    File::open(random::HOST)?.read_exact(&mut bytes)?;
    random::mix(&bytes)
}

/// What of the firmware's tables names the instance, once that is known. Nothing to do for a machine that has booted.
pub fn name_firmware(instance: &str) {
    if !WOKEN.load(Ordering::Relaxed) {
        return;
    }
    if let Some(beside) = BESIDE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = beside.join();
    }
    let Some(uuid) = firmware_uuid(instance) else {
        say(&format!("{instance} makes no firmware id"));
        return;
    };
    for (name, value, mode) in [
        ("product_uuid", &*uuid, 0o400),
        ("product_serial", &*uuid, 0o400),
        ("board_asset_tag", instance, 0o444),
    ] {
        report(name, cover(&format!("{FIRMWARE_IDS}/{name}"), value, mode));
    }
}

/// Shows a value in place of a file of the kernel's.
fn cover(path: &str, value: &str, mode: u32) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cover = format!("{COVERS}/{name}");
    files::write(&cover, format!("{value}\n").as_bytes(), Access { mode, owner: 0 })?;
    sys::mount(&cover, &path.to_string_lossy(), "", libc::MS_BIND)
}

/// A version-4 UUID.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// The system id that the host's firmware tables give this instance when it boots.
fn firmware_uuid(instance: &str) -> Option<String> {
    let digits = instance.strip_prefix("i-").filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let old = match digits.len() {
        8 => 1,
        17 => 0,
        _ => return None,
    };
    let digits = format!("{digits:0>17}");
    Some(format!(
        "ec2{}-{}-4{}-8{}-{old}000000000{}",
        &digits[..5],
        &digits[5..9],
        &digits[9..12],
        &digits[12..15],
        &digits[15..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_nonce_asks_for_a_template() {
        let nonce_of = |text: &str| nonce(format!("\x0bx\0{text}\0\0").as_bytes());
        let whole = "0123456789abcdef0123456789abcdef";
        assert_eq!(nonce_of(&format!("nube.template={whole}")).as_deref(), Some(whole));
        assert_eq!(nonce_of("nube.template=0123"), None);
        assert_eq!(nonce_of("Amazon EC2"), None);
    }

    #[test]
    fn the_firmwares_id_is_the_one_that_a_boot_would_show() {
        // The same examples as the host's own test has.
        assert_eq!(
            firmware_uuid("i-0123456789abcdef0").as_deref(),
            Some("ec201234-5678-49ab-8cde-0000000000f0")
        );
        assert_eq!(firmware_uuid("i-1234abcd").as_deref(), Some("ec200000-0000-4123-84ab-1000000000cd"));
        assert_eq!(firmware_uuid("i-../x"), None);
    }

    #[test]
    fn a_boot_id_looks_like_the_kernels() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
