//! The real other side: qemu-img, qemu-io, qemu-nbd and qemu-storage-daemon (Debian: qemu-utils).

use crate::nbd::{Running, disk, serve};
use crate::world::*;
use blocks::ingest::{self, What};
use blocks::nbd::{Client, Exports, Limits, Shelf};
use blocks::{BLOCK_SIZE, BlockStore, Directory};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BLOCK: u64 = BLOCK_SIZE as u64;

fn qemu_img(args: &[&str]) -> String {
    let output = Command::new("qemu-img").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Stand {
    directory: TempDir,
    store: BlockStore,
    shelf: Arc<Shelf>,
}

impl Stand {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store(Directory::open(&directory.path().join("store")).unwrap());
        Self { directory, store, shelf: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn show(&self, id: u64) {
        let snapshot = open(&self.store, &domain((id % 2) as u8), id).unwrap();
        self.shelf.put(snap(id).to_string(), Arc::new(snapshot));
    }

    fn serve(&self) -> Running {
        serve(&self.path("socket"), Arc::clone(&self.shelf) as Arc<dyn Exports>, Limits::default())
    }

    fn url(&self, id: u64) -> String {
        format!("nbd+unix:///{}?socket={}", snap(id), self.name("socket"))
    }
}

/// Ends with the test.
struct Daemon {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Daemon {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Self { child, stdin, stdout }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self, wanted: &str) -> String {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(self.stdout.as_mut().unwrap().read_line(&mut line).unwrap() > 0, "no {wanted}");
        }
        line
    }

    /// A command of QMP.
    fn qmp(&mut self, command: &str) {
        self.say(command);
        let mut line = String::new();
        while !line.contains("\"return\"") {
            line.clear();
            assert!(self.stdout.as_mut().unwrap().read_line(&mut line).unwrap() > 0);
            assert!(!line.contains("\"error\""), "{command}: {line}");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(socket: &Path, export: &str) {
    let begun = Instant::now();
    while let Err(error) = Client::connect(socket, export, &[]) {
        assert!(begun.elapsed() < Duration::from_mins(5), "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn qemu_img_converts_and_maps_a_snapshot() {
    let stand = Stand::new();
    for id in [1, 2] {
        write(&stand.store, &domain((id % 2) as u8), id, None, 2048, &disk());
        stand.show(id);
        let _server = stand.serve();
        let raw = stand.name("out.raw");
        qemu_img(&["convert", "-O", "raw", &stand.url(id), &raw]);
        let file = File::open(&raw).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 2048 * BLOCK);
        for index in 0..2048 {
            let mut bytes = vec![1; BLOCK_SIZE];
            file.read_exact_at(&mut bytes, index * BLOCK).unwrap();
            assert!(bytes == block(disk().get(&index).copied().unwrap_or_default()), "{index}");
        }
        let map = qemu_img(&["map", "--output=json", &stand.url(id)]);
        let map = map.replace(' ', "");
        assert_eq!(map.matches("\"data\":true").count(), 3, "{map}");
        assert!(map.contains(&format!("\"start\":{},\"length\":{}", 2 * BLOCK, 7 * BLOCK)), "{map}");
        // And what comes back by our own hand is the same.
        let exported = File::create(stand.path("exported.raw")).unwrap();
        ingest::export(&open(&stand.store, &domain((id % 2) as u8), id).unwrap(), &exported).unwrap();
        assert!(exported.metadata().unwrap().blocks() * 512 <= 4 * BLOCK);
        qemu_img(&["compare", "-f", "raw", "-F", "raw", &raw, &stand.name("exported.raw")]);
    }
}

#[test]
fn a_guest_on_a_lazy_volume_notices_nothing_of_a_server_that_dies_and_comes_back() {
    let stand = Stand::new();
    write(&stand.store, &domain(1), 1, None, 64, &Disk::from([(0, 1), (1, 2), (2, 3)]));
    stand.show(1);
    let server = stand.serve();
    let overlay = stand.name("overlay.qcow2");
    let size = (64 * BLOCK).to_string();
    qemu_img(&["create", "-q", "-f", "qcow2", &overlay, &size]);
    let backing = format!(
        "driver=qcow2,file.filename={overlay},backing.driver=raw,backing.file.driver=nbd,backing.file.export={},\
         backing.file.server.type=unix,backing.file.server.path={},backing.file.reconnect-delay=3600",
        snap(1),
        stand.name("socket")
    );
    let mut guest = Daemon::start("qemu-io", &["--image-opts", &backing]);
    guest.say("read -v 524280 8");
    let first = guest.hear("0007fff8");
    assert!(first.contains("01 00 00 00 00 00 00 00"), "{first}");
    drop(server);
    // One at a time: qemu-io forgets what has come with an earlier line.
    guest.say("write -P 7 2m 64k");
    guest.hear("wrote 65536/65536");
    guest.say("read -v 1048568 8");
    let server = stand.serve();
    let second = guest.hear("000ffff8");
    assert!(second.contains("02 00 00 00 00 00 00 00"), "{second}");
    guest.say("read -P 7 2m 64k");
    guest.hear("read 65536/65536");
    guest.say("read -v 1572856 8");
    let third = guest.hear("0017fff8");
    assert!(third.contains("03 00 00 00 00 00 00 00"), "{third}");
    guest.say("quit");
    drop(guest.stdin.take());
    let mut rest = String::new();
    guest.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert!(guest.child.wait().unwrap().success() && !rest.contains("failed"), "{rest}");
    drop(server);
}

#[test]
fn a_qcow2_file_becomes_a_snapshot() {
    let stand = Stand::new();
    let source = stand.name("source.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", &source, "1G"]);
    let io = ["write -P 1 0 512k", "write -P 2 700k 4k", "write -P 3 1000M 1M", "write -z 900M 1M"];
    let mut args: Vec<&str> = vec!["-f", "qcow2"];
    for command in io {
        args.extend(["-c", command]);
    }
    args.push(&source);
    assert!(Command::new("qemu-io").args(args).stdout(Stdio::null()).status().unwrap().success());
    let socket = stand.path("nbd");
    let _daemon = Daemon::start(
        "qemu-nbd",
        &["--persistent", "-r", "-f", "qcow2", "-x", "disk", "-k", &stand.name("nbd"), &source],
    );
    wait_for(&socket, "disk");
    let what = What::Everything;
    let mut client = Client::connect(&socket, "disk", &[&what.context()]).unwrap();
    let session = stand.store.begin(begin(1, None, 2048), domain(1)).unwrap();
    let ingested = ingest::disk(&session, &mut client, what, 4).unwrap();
    assert_eq!(ingested.read, 4, "what is not allocated is not read");
    session.complete().unwrap();
    stand.show(1);
    let _server = stand.serve();
    qemu_img(&["compare", "-f", "qcow2", "-F", "raw", &source, &stand.url(1)]);
    // A raw file does as well, and against its parent all is known.
    let raw = stand.name("source.raw");
    qemu_img(&["convert", "-O", "raw", &source, &raw]);
    let session = stand.store.begin(begin(3, Some(1), 2048), domain(1)).unwrap();
    ingest::file(&session, &File::open(&raw).unwrap(), 4).unwrap();
    session.complete().unwrap();
    assert_eq!(session.progress().written, 0);
    let (one, three) =
        (open(&stand.store, &domain(1), 1).unwrap(), open(&stand.store, &domain(1), 3).unwrap());
    assert_eq!(one.changed(&three, 0, 10).unwrap(), []);
}

#[test]
fn the_next_snapshot_reads_what_the_dirty_bitmap_names_and_no_more() {
    let stand = Stand::new();
    let source = stand.name("volume.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", &source, "1G"]);
    let mut qsd =
        Daemon::start("qemu-storage-daemon", &["--chardev", "stdio,id=m", "--monitor", "chardev=m"]);
    qsd.hear("QMP");
    qsd.qmp(r#"{"execute":"qmp_capabilities"}"#);
    let blockdev = r#"{"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"v","file":{"driver":"file","filename":"FILE"}}}"#;
    qsd.qmp(&blockdev.replace("FILE", &source));
    let listen =
        r#"{"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"PATH"}}}}"#;
    qsd.qmp(&listen.replace("PATH", &stand.name("qsd")));
    qsd.qmp(r#"{"execute":"block-export-add","arguments":{"type":"nbd","id":"w","node-name":"v","name":"w","writable":true}}"#);
    let socket = stand.path("qsd");
    wait_for(&socket, "w");
    let write = |commands: &[&str]| {
        let mut args = vec!["-f", "raw"];
        for command in commands {
            args.extend(["-c", command]);
        }
        let url = format!("nbd+unix:///w?socket={}", stand.name("qsd"));
        args.push(&url);
        assert!(Command::new("qemu-io").args(&args).stdout(Stdio::null()).status().unwrap().success());
    };
    write(&["write -P 1 0 8M", "write -P 2 512M 1M", "flush"]);
    // From here on the bitmap tells what changes; the first snapshot is all there is.
    qsd.qmp(
        r#"{"execute":"block-dirty-bitmap-add","arguments":{"node":"v","name":"b0","granularity":65536}}"#,
    );
    let session = stand.store.begin(begin(1, None, 2048), domain(1)).unwrap();
    let what = What::Everything;
    let mut client = Client::connect(&socket, "w", &[&what.context()]).unwrap();
    assert_eq!(ingest::disk(&session, &mut client, what, 4).unwrap().read, 18);
    drop(client);
    session.complete().unwrap();
    write(&["write -P 3 3M 4k", "write -z 512M 512k", "write -P 4 700M 64k", "flush"]);
    qsd.qmp(r#"{"execute":"transaction","arguments":{"actions":[{"type":"block-dirty-bitmap-disable","data":{"node":"v","name":"b0"}},{"type":"block-dirty-bitmap-add","data":{"node":"v","name":"b1","granularity":65536}}]}}"#);
    qsd.qmp(r#"{"execute":"block-export-add","arguments":{"type":"nbd","id":"s","node-name":"v","name":"s","bitmaps":["b0"]}}"#);
    let what = What::Dirty { bitmap: "b0" };
    let mut client = Client::connect(&socket, "s", &[&what.context()]).unwrap();
    assert!(client.has(&what.context()));
    let session = stand.store.begin(begin(3, Some(1), 2048), domain(1)).unwrap();
    let ingested = ingest::disk(&session, &mut client, what, 4).unwrap();
    assert_eq!((ingested.read, session.progress().put), (3, 3));
    drop(client);
    session.complete().unwrap();
    stand.show(3);
    let _server = stand.serve();
    let live = format!("nbd+unix:///w?socket={}", stand.name("qsd"));
    qemu_img(&["compare", "-f", "raw", "-F", "raw", &live, &stand.url(3)]);
}
