//! A tree as an ext4 filesystem, by `mke2fs` and `debugfs` alone: no mount, no loop device, no root.
//!
//! `mke2fs -d` would take owners, times and order from files of the host. `debugfs` is told each of them, so the same
//! tree gives the same bytes, whoever builds. The options are spelled out because the defaults differ by release.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;

use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::tree::{Kind, TIME, Tree};

/// The filesystem can grow to this size by its reserved descriptors; beyond, the kernel changes their layout by itself.
const GROWS_TO_BLOCKS: u64 = (1 << 40) / BLOCK;
/// The guest agent counts in this size, too.
const BLOCK: u64 = 4096;
const JOURNAL_MIB: u64 = 16;
const UUID: &str = "6e756265-6e61-6e6f-8000-000000000001";
const HASH_SEED: &str = "6e756265-6e61-6e6f-8000-000000000002";

const CONFIG: &str = "[defaults]
\tbase_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
\tenable_periodic_fsck = 0
[fs_types]
\text4 = {
\t\tfeatures = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
\t}
";

/// Writes the tree into the new file `disk` of so many bytes; `scratch` is a folder for files on the way.
pub fn write(tree: &Tree, disk: &Path, bytes: u64, scratch: &Path) -> Result<()> {
    let config = scratch.join("mke2fs.conf");
    fs::write(&config, CONFIG).at(&config)?;
    File::create(disk).and_then(|file| file.set_len(bytes)).at(disk)?;
    let extended = format!(
        "lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,hash_seed={HASH_SEED},resize={GROWS_TO_BLOCKS}"
    );
    program("mke2fs")
        .env("MKE2FS_CONFIG", &config)
        .env("E2FSPROGS_FAKE_TIME", TIME.to_string())
        .args(["-q", "-F", "-t", "ext4", "-m", "1", "-I", "256", "-i", "16384", "-L", "nube", "-U", UUID])
        .args(["-b", &BLOCK.to_string(), "-J", &format!("size={JOURNAL_MIB}"), "-E", &extended])
        .arg(disk)
        .run()?;

    let script = stage(tree, scratch)?;
    let commands = scratch.join("commands");
    fs::write(&commands, script).at(&commands)?;
    let output = program("debugfs")
        .env("E2FSPROGS_FAKE_TIME", TIME.to_string())
        .args(["-w", "-f", "commands"])
        .arg(disk)
        .folder(scratch)
        .run()?;
    // debugfs ends well whatever happened; its first line is its name, any other a complaint.
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said.lines().filter(|line| !line.starts_with("debugfs ")).take(5).collect();
    if !complaints.is_empty() {
        return Err(Error::Failed {
            program: "debugfs".to_owned(),
            status: "complaints".to_owned(),
            said: complaints.join("\n"),
        });
    }
    program("e2fsck")
        .env("E2FSPROGS_FAKE_TIME", TIME.to_string())
        .args(["-f", "-n"])
        .arg(disk)
        .run()
        .map(drop)
}

/// Where in a disk a filesystem is made of a folder, and its names.
pub struct Place<'a> {
    /// First byte on the disk.
    pub offset: u64,
    pub bytes: u64,
    pub label: &'a str,
    pub uuid: &'a str,
}

/// Makes a filesystem of a folder of the host, owners and times included, within the file `disk`.
pub fn write_folder(folder: &Path, disk: &Path, place: &Place<'_>, scratch: &Path) -> Result<()> {
    let config = scratch.join("mke2fs.conf");
    fs::write(&config, CONFIG).at(&config)?;
    let extended = format!(
        "offset={},lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0,hash_seed={HASH_SEED}",
        place.offset
    );
    program("mke2fs")
        .env("MKE2FS_CONFIG", &config)
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-m",
            "1",
            "-I",
            "256",
            "-i",
            "16384",
            "-L",
            place.label,
            "-U",
            place.uuid,
        ])
        .args(["-b", &BLOCK.to_string(), "-E", &extended, "-d"])
        .arg(folder)
        .arg(disk)
        .arg((place.bytes / BLOCK).to_string())
        .run()
        .map(drop)
}

/// Puts the files' contents into `scratch` under plain names and gives the commands that make the tree of them.
fn stage(tree: &Tree, scratch: &Path) -> Result<String> {
    let mut script = String::new();
    // Writing to a string cannot fail, hence the results that are dropped.
    let set_times = |script: &mut String, path: &str| {
        for time in ["atime", "ctime", "mtime", "crtime"] {
            let _ = writeln!(script, "set_inode_field /{path} {time} @{TIME}");
        }
    };
    for (number, (path, node)) in tree.iter().enumerate() {
        // `write` knows no paths, and `/name` means a name in the current folder to `mkdir` and `symlink`.
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let _ = writeln!(script, "cd /{folder}");
        let kind = match &node.kind {
            Kind::Folder => {
                let _ = writeln!(script, "mkdir {name}");
                0o040_000
            }
            Kind::File(content) => {
                let source = scratch.join(number.to_string());
                fs::write(&source, content).at(&source)?;
                let _ = writeln!(script, "write {number} {name}");
                0o100_000
            }
            Kind::Link(target) => {
                let _ = writeln!(script, "symlink {name} {target}");
                0o120_000
            }
        };
        let (mode, owner) = (kind | node.mode, node.owner);
        let _ = writeln!(script, "set_inode_field /{path} mode 0{mode:o}");
        let _ = writeln!(script, "set_inode_field /{path} uid {owner}\nset_inode_field /{path} gid {owner}");
    }
    // At the end, because folders change their times while they are filled.
    for path in ["", "lost+found"].into_iter().chain(tree.iter().map(|(path, _)| path)) {
        set_times(&mut script, path);
    }
    Ok(script)
}
