//! An initial RAM disk: a cpio archive in the "newc" format. Not packed, because unpacking costs an emulated processor
//! more than reading does.

use crate::tree::{Kind, TIME, Tree};

/// Renders the tree as an archive that the kernel unpacks at boot.
pub fn render(tree: &Tree) -> Vec<u8> {
    const FOLDER: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const LINK: u32 = 0o120_000;
    let mut archive = Vec::new();
    for (number, (path, node)) in tree.iter().enumerate() {
        let (kind, content) = match &node.kind {
            Kind::Folder => (FOLDER, &[][..]),
            Kind::File(content) => (FILE, &content[..]),
            Kind::Link(target) => (LINK, target.as_bytes()),
        };
        entry(&mut archive, number as u32 + 1, path, kind | node.mode, content);
    }
    entry(&mut archive, 0, "TRAILER!!!", 0, &[]);
    archive
}

fn entry(archive: &mut Vec<u8>, number: u32, path: &str, mode: u32, content: &[u8]) {
    let time = if number == 0 { 0 } else { TIME as u32 };
    let fields = [number, mode, 0, 0, 1, time, content.len() as u32, 0, 0, 0, 0, path.len() as u32 + 1, 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08X}").bytes());
    }
    archive.extend(path.bytes());
    archive.push(0);
    pad(archive);
    archive.extend(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_contents_are_aligned_and_the_archive_is_closed() {
        let mut tree = Tree::default();
        tree.file("init", 0o755, "hello");
        let archive = render(&tree);
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[..14], b"07070100000001");
        let header = 6 + 13 * 8;
        assert_eq!(&archive[header..header + 5], b"init\0");
        assert_eq!(&archive[(header + 5usize).next_multiple_of(4)..][..5], b"hello");
        assert!(archive.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
