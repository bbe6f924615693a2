//! OVA archives: a machine as a tar file of its description (OVF), the digests of its files, and its disks.
//!
//! Nothing is unpacked but the disks that the description names, one at a time, each read like any stranger's disk
//! ([`super::disk`]). What the archive says of digests is verified. Of the machine nothing else is taken over.
//! Format: DMTF DSP0243, *Open Virtualization Format Specification* 1.1 and 2.1.
//! Differs: disks that are packed or in pieces are refused (AWS takes neither).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::disk::{Plain, of_copy, unreadable};
use super::fetch;
use crate::error::{Error, Result};
use crate::packages::hex;
use crate::progress::Progress;

/// Of a description, or of the digests.
const LARGEST_TEXT: u64 = 1 << 20;
/// Of XML, so that none grows without end.
const MOST_NODES: u32 = 100_000;
/// Files in an archive.
const MOST_FILES: usize = 1000;
/// Where a tar file says that it is one.
const MAGIC_AT: u64 = 257;

/// A disk's file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Where it begins in the archive.
    offset: u64,
    pub bytes: u64,
}

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::NotAnImage { why: why.into() })
}

/// Whether a file is a tar archive.
pub fn is_archive(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 5];
    file.read_exact_at(&mut magic, MAGIC_AT).is_ok() && &magic == b"ustar"
}

/// The disks of an archive, in the order in which the machine has them.
pub fn disks(file: &File) -> Result<Vec<Member>> {
    let files = files(file)?;
    let ending = |member: &&Member, ending: &str| member.name.to_ascii_lowercase().ends_with(ending);
    let mut descriptions = files.iter().filter(|member| ending(member, ".ovf"));
    let (Some(description), None) = (descriptions.next(), descriptions.next()) else {
        return refuse("it is an archive without the one description (.ovf) of a machine that an OVA has");
    };
    let text = text(file, description)?;
    verify(file, &files, description, &text)?;
    let by_name: HashMap<&str, &Member> = files.iter().map(|member| (member.name.as_str(), member)).collect();
    let mut disks = Vec::new();
    for name in named(&text)? {
        match by_name.get(name.as_str()) {
            Some(member) if disks.contains(*member) => return refuse("two of its disks are the same file"),
            Some(member) => disks.push(Member::clone(member)),
            None => return refuse("its description names a disk that is not in the archive"),
        }
    }
    if disks.is_empty() {
        return refuse("its description names no disk with a file");
    }
    Ok(disks)
}

/// Opens one of [`disks`]. `work` is an empty folder.
pub fn open(file: &File, name: &str, work: &Path, progress: &dyn Progress) -> Result<Plain> {
    let Some(member) = disks(file)?.into_iter().find(|member| member.name == name) else {
        return refuse("the archive has changed");
    };
    let wanted = sum(file, &files(file)?, name)?;
    let copy = work.join("source");
    let mut hashing = Hashing { from: part(file, &member)?, sum: wanted.as_ref().map(Sum::begin) };
    let (_, bytes) = fetch::copy(&mut hashing, &copy, progress, unreadable)?;
    if bytes != member.bytes {
        return refuse("it is cut off");
    }
    if let (Some(wanted), Some(found)) = (wanted, hashing.sum)
        && found.finish() != wanted.digits
    {
        return refuse("a disk in it does not have the digest that it states");
    }
    of_copy(&copy, work, progress)
}

/// All regular files of the archive, by names without folders.
fn files(file: &File) -> Result<Vec<Member>> {
    let mut reader = file;
    reader.rewind().map_err(unreadable)?;
    let damaged = |error: io::Error| Error::NotAnImage { why: format!("its archive is damaged: {error}") };
    let mut archive = tar::Archive::new(reader);
    let mut files = Vec::new();
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(damaged)?;
        let Some(name) = path.to_str().map(|path| path.trim_start_matches("./").to_owned()) else { continue };
        if files.iter().any(|member: &Member| member.name == name) {
            return refuse("two of its files have the same name");
        }
        if files.len() == MOST_FILES {
            return refuse("it has more files than a machine has");
        }
        files.push(Member { name, offset: entry.raw_file_position(), bytes: entry.size() });
    }
    Ok(files)
}

fn part(file: &File, member: &Member) -> Result<impl Read> {
    let mut reader = file.try_clone().map_err(unreadable)?;
    reader.seek(SeekFrom::Start(member.offset)).map_err(unreadable)?;
    Ok(reader.take(member.bytes))
}

fn text(file: &File, member: &Member) -> Result<String> {
    if member.bytes > LARGEST_TEXT {
        return refuse(format!("its file {} is too large", member.name));
    }
    let mut bytes = Vec::new();
    part(file, member)?.read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).or_else(|_| refuse(format!("its file {} is no text", member.name)))
}

/// The files of the disks that a description names, in the order of the first machine's drives; of one that lists no drives,
/// in the order of its disks.
fn named(text: &str) -> Result<Vec<String>> {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(error) => return refuse(format!("its description cannot be read: {error}")),
    };
    let all = |name: &'static str| {
        document.descendants().filter(move |node: &Node<'_, '_>| node.has_tag_name_local(name))
    };
    let mut files = HashMap::new();
    for file in all("File") {
        let (Some(id), Some(name)) = (file.local("id"), file.local("href")) else { continue };
        if file.local("compression").is_some_and(|way| way != "identity") {
            return refuse("its files are packed");
        }
        if file.local("chunkSize").is_some() {
            return refuse("its files are in pieces");
        }
        files.insert(id, name.trim_start_matches("./").to_owned());
    }
    let disks: Vec<(&str, &str)> =
        all("Disk").filter_map(|disk| Some((disk.local("diskId")?, disk.local("fileRef")?))).collect();
    let Some(machine) = all("VirtualSystem").next() else {
        return refuse("its description has no machine");
    };
    let drives = machine.descendants().filter(|node| node.has_tag_name_local("HostResource"));
    let drives: Vec<&str> =
        drives.filter_map(|node| node.text()?.trim().rsplit_once("/disk/")).map(|(_, id)| id).collect();
    let mut ordered: Vec<&str> = Vec::new();
    for id in drives {
        ordered.extend(disks.iter().find(|(disk, _)| *disk == id).map(|(_, file)| *file));
    }
    if ordered.is_empty() {
        ordered.extend(disks.iter().map(|(_, file)| *file));
    }
    let missing =
        || Error::NotAnImage { why: "its description names a file that it does not list".to_owned() };
    ordered.into_iter().map(|id| files.get(id).cloned().ok_or_else(missing)).collect()
}

/// Names without their namespaces: each writer of OVF has its own prefix.
trait Local<'a> {
    fn has_tag_name_local(&self, name: &str) -> bool;
    fn local(&self, attribute: &str) -> Option<&'a str>;
}

impl<'a> Local<'a> for Node<'a, '_> {
    fn has_tag_name_local(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }

    fn local(&self, attribute: &str) -> Option<&'a str> {
        self.attributes().find(|found| found.name() == attribute).map(|found| found.value())
    }
}

/// A digest that the archive states.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    kind: Kind,
    digits: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sha1,
    Sha256,
    Sha512,
}

enum Hash {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Sum {
    fn begin(&self) -> Hash {
        match self.kind {
            Kind::Sha1 => Hash::Sha1(Sha1::new()),
            Kind::Sha256 => Hash::Sha256(Sha256::new()),
            Kind::Sha512 => Hash::Sha512(Box::default()),
        }
    }
}

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha1(hash) => hash.update(bytes),
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hash::Sha1(hash) => hex(&hash.finalize()),
            Hash::Sha256(hash) => hex(&hash.finalize()),
            Hash::Sha512(hash) => hex(&hash.finalize()),
        }
    }
}

struct Hashing<R> {
    from: R,
    sum: Option<Hash>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        if let Some(sum) = &mut self.sum {
            sum.update(&into[..length]);
        }
        Ok(length)
    }
}

/// What the archive's list of digests (`.mf`) states for a file, if it has one.
fn sum(file: &File, files: &[Member], name: &str) -> Result<Option<Sum>> {
    let Some(list) = files.iter().find(|member| member.name.to_ascii_lowercase().ends_with(".mf")) else {
        return Ok(None);
    };
    Ok(stated(&text(file, list)?, name))
}

/// Of lines like `SHA256(disk.vmdk)= 0123…`.
fn stated(list: &str, name: &str) -> Option<Sum> {
    list.lines().find_map(|line| {
        let (kind, rest) = line.trim().split_once('(')?;
        let (of, digits) = rest.rsplit_once(")=").or_else(|| rest.rsplit_once(") ="))?;
        let kind = match kind.trim().to_ascii_uppercase().as_str() {
            "SHA1" => Kind::Sha1,
            "SHA256" => Kind::Sha256,
            "SHA512" => Kind::Sha512,
            _ => return None,
        };
        (of == name).then(|| Sum { kind, digits: digits.trim().to_ascii_lowercase() })
    })
}

fn verify(file: &File, files: &[Member], member: &Member, text: &str) -> Result<()> {
    let Some(wanted) = sum(file, files, &member.name)? else { return Ok(()) };
    let mut found = wanted.begin();
    found.update(text.as_bytes());
    if found.finish() == wanted.digits {
        return Ok(());
    }
    refuse("its description does not have the digest that the archive states")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVF: &str = r#"<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References>
    <File ovf:id="file1" ovf:href="data.vmdk" ovf:size="2"/>
    <File ovf:id="file2" ovf:href="./root.vmdk" ovf:size="1"/>
    <File ovf:id="file3" ovf:href="notes.iso"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="vmdisk2" ovf:fileRef="file1" ovf:capacity="1"/>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file2" ovf:capacity="1"/>
    <Disk ovf:diskId="empty" ovf:capacity="1"/>
  </DiskSection>
  <VirtualSystem ovf:id="machine">
    <VirtualHardwareSection>
      <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource></Item>
      <Item><rasd:HostResource>ovf:/file/file3</rasd:HostResource></Item>
      <Item><rasd:HostResource>/disk/vmdisk2</rasd:HostResource></Item>
      <Item><rasd:HostResource>ovf:/disk/empty</rasd:HostResource></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>"#;

    #[test]
    fn disks_come_in_the_order_of_the_machines_drives() {
        assert_eq!(named(OVF).unwrap(), ["root.vmdk", "data.vmdk"]);
        let without = OVF.replace("HostResource", "Other");
        assert_eq!(named(&without).unwrap(), ["data.vmdk", "root.vmdk"], "by the list of disks");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let packed = OVF.replacen("ovf:size", "ovf:compression=\"gzip\" ovf:size", 1);
        let pieces = OVF.replacen("ovf:size", "ovf:chunkSize=\"1\" ovf:size", 1);
        let lost = OVF.replace("ovf:fileRef=\"file2\"", "ovf:fileRef=\"file9\"");
        let bomb = format!(
            "<!DOCTYPE x [<!ENTITY a \"{}\"><!ENTITY b \"{}\"><!ENTITY c \"{}\">]><x>&c;</x>",
            "y".repeat(1000),
            "&a;".repeat(1000),
            "&b;".repeat(1000)
        );
        for (text, why) in [
            (packed.as_str(), "packed"),
            (&pieces, "in pieces"),
            (&lost, "does not list"),
            ("<Envelope/>", "no machine"),
            ("<Envelope", "cannot be read"),
            (&bomb, "cannot be read"),
        ] {
            let error = named(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn digests_are_read_as_writers_write_them() {
        let list = "SHA1(a.ovf)= 0A\r\nSHA256(a (1).vmdk)= 0b\nSHA512(c) = 0c\nMD5(d)= 0d\n";
        let sum = |kind, digits: &str| Some(Sum { kind, digits: digits.to_owned() });
        assert_eq!(stated(list, "a.ovf"), sum(Kind::Sha1, "0a"));
        assert_eq!(stated(list, "a (1).vmdk"), sum(Kind::Sha256, "0b"));
        assert_eq!(stated(list, "c"), sum(Kind::Sha512, "0c"));
        assert_eq!((stated(list, "d"), stated(list, "e")), (None, None));
    }
}
