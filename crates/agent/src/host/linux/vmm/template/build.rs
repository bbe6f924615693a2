//! Making a template: boot the image as nobody, wait for its guest's word, stop, keep everything.

use super::super::Inner;
use super::super::home::{Home, private_directory};
use super::super::launcher::Priority;
use super::super::monitor::{Monitor, MonitorError};
use super::super::processes;
use super::super::start::{Plan, ground, launch};
use super::resume::{loaded, pass};
use super::{CONSOLE, DISK, MANIFEST, MEMORY, Manifest, Order, STATE, Template};
use crate::host::linux::net::tap;
use crate::host::linux::{block, netns};
use crate::host::{DiskSpec, HostError, Life, MachineSpec, Result};
use model::host::Medium;
use model::{AccountId, InstanceId, VolumeId};
use plan::machine::Stage;
use plan::machine::qmp::Command;
use plan::machine::template::{self, Nic, Word, console_of_clone, leave_memory_in_place, save, word};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How long a guest may take to boot: distributions take minutes on an emulated processor that others want more.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long a guest is left alone after its word, for what its kernel still has to do.
const SETTLE: Duration = Duration::from_millis(500);
/// What must be left of the host's memory beside the template's.
const SPARE: u64 = 512 << 20;
/// What the interface is called by its process and in its network.
const PARKED: &str = "parked";
/// How often it is looked whether the time has come.
const LOOK: Duration = Duration::from_secs(1);

/// Builds what is wanted, one after the other, until the driver is gone.
pub async fn work(inner: Weak<Inner>) {
    loop {
        let Some(held) = inner.upgrade() else { return };
        let templates = Arc::clone(&held.templates);
        if let Some(order) = templates.next() {
            let built = build(&held, &order).await;
            let mut shelf = templates.shelf.lock();
            shelf.building = None;
            if let Err(error) = built {
                tracing::warn!(template = order.key, image = order.ingredients.image, %error, "no template");
                shelf.failed.insert(order.key, (order.ingredients, error.to_string()));
            }
            continue;
        }
        drop(held);
        if templates.has_wishes() {
            tokio::time::sleep(LOOK).await;
        } else {
            templates.nudge.notified().await;
        }
    }
}

async fn build(inner: &Arc<Inner>, order: &Order) -> Result<()> {
    let templates = &inner.templates;
    let failed = |e: io::Error| HostError::transient("making a template").caused_by(e);
    let wanted = order.machine.memory.bytes() + SPARE;
    if available().is_some_and(|available| available < wanted) {
        return Err(HostError::transient("the host has no memory to spare for it"));
    }
    let nonce = nonce().map_err(failed)?;
    let entropy = u128::from_str_radix(&nonce, 16)
        .map_err(|e| HostError::permanent("a nonce is a number").caused_by(e))?;
    let instance = InstanceId::from_entropy(entropy);
    private_directory(&templates.nurseries()).map_err(failed)?;
    let home = Home::at(templates.nurseries().join(instance.to_string()));
    let begun = Instant::now();
    let made = make(inner, order, instance, &home, &nonce).await;
    let swept = inner.sweep_home(instance, &home).await;
    let finished = match (made, swept) {
        (Ok(nic), Ok(())) => publish(order, &home, &templates.directory, &nonce, nic).map_err(failed),
        (Err(e), _) | (Ok(_), Err(e)) => Err(e),
    };
    let _ = home.remove();
    let template = finished?;
    let (key, seconds) = (template.key.clone(), begun.elapsed().as_secs_f32());
    let bytes = template.manifest.bytes;
    templates.keep(template).map_err(failed)?;
    tracing::info!(template = key, image = order.ingredients.image, seconds, bytes, "a template is there");
    Ok(())
}

async fn make(
    inner: &Arc<Inner>,
    order: &Order,
    instance: InstanceId,
    home: &Home,
    nonce: &str,
) -> Result<Nic> {
    let failed = |e: io::Error| HostError::transient("making a template's files").caused_by(e);
    home.make().map_err(failed)?;
    let (memory, disk) = (home.path().join(MEMORY), home.path().join(DISK));
    let below = order.below.last().ok_or_else(|| HostError::permanent("a template stands on an image"))?;
    let files = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&memory)?;
        file.set_len(order.machine.memory.bytes())?;
        block::stand_on(&disk, block::header(below)?.size, below)
    };
    files().map_err(failed)?;
    let spec = MachineSpec {
        identity: None,
        fork: None,
        instance,
        account: AccountId::from_number(0),
        machine: order.machine.clone(),
        disks: vec![DiskSpec {
            volume: VolumeId::from_entropy(0),
            medium: Medium::Volume,
            path: disk,
            device: String::new(),
            limits: None,
            data_key: None,
            forked: None,
        }],
        life: Life::First,
    };
    let ground = ground(inner, &order.machine, order.below.clone()).await?;
    launch(
        inner,
        Plan {
            home,
            spec: &spec,
            chains: std::slice::from_ref(&order.below),
            ground: &ground,
            stage: Stage::Template { nonce },
            interfaces: Vec::new(),
            descriptors: &[],
            memory: Some(&memory),
            console: None,
            priority: Priority::Background,
        },
    )
    .await?;
    let monitor = greeted(home).await?;
    let nic = listen(home, &monitor, nonce).await?;
    tokio::time::sleep(SETTLE).await;
    let judge = |e: MonitorError| HostError::transient("keeping the machine's state").caused_by(e);
    monitor.execute(Command::Stop).await.map_err(judge)?;
    monitor.execute(leave_memory_in_place()).await.map_err(judge)?;
    let state = OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.path().join(STATE));
    pass(&monitor, "state", state.map_err(failed)?.into()).await.map_err(judge)?;
    monitor.execute(save("state")).await.map_err(judge)?;
    loaded(&monitor).await.map_err(judge)?;
    let process = processes::hold(monitor.pid).map_err(failed)?;
    match monitor.execute(Command::Quit).await {
        Ok(_) | Err(MonitorError::Gone) => {}
        Err(e) => return Err(judge(e)),
    }
    if let Some(process) = process
        && !processes::wait(&process, Duration::from_secs(30)).await
    {
        return Err(HostError::transient("its process does not end"));
    }
    Ok(nic)
}

/// The machine's monitor, which its process may not answer at once.
async fn greeted(home: &Home) -> Result<Monitor> {
    let failed = |e: MonitorError| HostError::transient("greeting the machine").caused_by(e);
    let end = Instant::now() + LOOK * 30;
    loop {
        if let Some(monitor) = Monitor::connect(home.path(), |_| {}).await.map_err(failed)? {
            return Ok(monitor);
        }
        if !home.alive().unwrap_or(false) || Instant::now() > end {
            return Err(HostError::transient(format!("its process has ended: {}", home.log())));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the guest's word, and gives it an interface if it asks for one.
async fn listen(home: &Home, monitor: &Monitor, nonce: &str) -> Result<Nic> {
    let end = Instant::now() + PATIENCE;
    let mut given = Nic::Absent;
    loop {
        let console = home.console(1 << 20).map(|(text, _)| text).unwrap_or_default();
        match word(&String::from_utf8_lossy(&console), nonce) {
            Word::Ready(nic) if nic == given => return Ok(nic),
            // It had stopped waiting for it. What it takes itself for now, nobody knows.
            Word::Ready(_) => return Err(HostError::transient("its guest got its interface too late")),
            Word::Plug if given == Nic::Absent => {
                given = Nic::Parked;
                plug_parked(monitor).await?;
            }
            Word::Unfit(reason) => {
                return Err(HostError::permanent(format!("its guest says that it is unfit: {reason}")));
            }
            Word::Nothing | Word::Plug => {}
        }
        if !home.alive().unwrap_or(false) {
            return Err(HostError::transient(format!("its machine ended: {}", home.log())));
        }
        if Instant::now() > end {
            return Err(HostError::permanent("its guest did not say that it is ready"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Gives the machine an interface whose other end is in a network of its own, where nothing is. A TAP it must be, as
/// the guest's driver uses what the clones' TAPs can do as well.
async fn plug_parked(monitor: &Monitor) -> Result<()> {
    let failed = |e: MonitorError| HostError::transient("plugging in its interface").caused_by(e);
    let tap = netns::apart(|| tap::create(PARKED, None))
        .map_err(|e| HostError::transient("making its interface").caused_by(e))?;
    pass(monitor, PARKED, tap).await.map_err(failed)?;
    for command in template::plug_parked(PARKED) {
        monitor.execute(command).await.map_err(failed)?;
    }
    Ok(())
}

/// Puts the files together under the template's name, so that a crash at any instant leaves a whole template or none.
fn publish(order: &Order, home: &Home, into: &Path, nonce: &str, nic: Nic) -> io::Result<Template> {
    let (console, _) = home.console(1 << 20)?;
    let tmp = into.join(format!("{}.tmp", order.key));
    match fs::remove_dir_all(&tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    private_directory(&tmp)?;
    let mut bytes = 0;
    for (name, mode) in [(MEMORY, 0o400), (STATE, 0o400), (DISK, 0o444)] {
        let (from, to) = (home.path().join(name), tmp.join(name));
        fs::rename(from, &to)?;
        chown(&to, Some(0), Some(0))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        let file = File::open(&to)?;
        file.sync_all()?;
        bytes += file.metadata()?.blocks() * 512;
    }
    fs::write(tmp.join(CONSOLE), console_of_clone(&console))?;
    let manifest =
        Manifest { ingredients: order.ingredients.clone(), build: nonce[..8].to_owned(), bytes, nic };
    fs::write(tmp.join(MANIFEST), serde_json::to_vec_pretty(&manifest)?)?;
    for name in [CONSOLE, MANIFEST] {
        File::open(tmp.join(name))?.sync_all()?;
    }
    File::open(&tmp)?.sync_all()?;
    let directory = into.join(&order.key);
    match fs::remove_dir_all(&directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::rename(&tmp, &directory)?;
    File::open(into)?.sync_all()?;
    Template::read(directory)
}

/// What the host could give to processes now, in bytes.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// 32 random hex digits.
fn nonce() -> io::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    if digits.len() == 32 { Ok(digits) } else { Err(io::Error::other("the kernel's uuid is none")) }
}
