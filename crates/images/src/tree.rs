//! A tree of files in memory, of which filesystems are made. Its order and its access modes are its own: nothing of
//! the host's users, clock or folder order gets into an image.

use std::collections::BTreeMap;

/// Time of all files, in seconds since 1970: 2026-01-01.
pub const TIME: u64 = 1_767_225_600;

/// Paths without a leading slash, so that parents come before what they hold.
#[derive(Default)]
pub struct Tree(BTreeMap<String, Node>);

pub struct Node {
    pub kind: Kind,
    /// Permission bits, setuid and sticky included.
    pub mode: u32,
    pub owner: u32,
}

pub enum Kind {
    Folder,
    File(Vec<u8>),
    Link(String),
}

impl Tree {
    pub fn folder(&mut self, path: &str, mode: u32, owner: u32) {
        self.parents_of(path);
        self.0.insert(path.to_owned(), Node { kind: Kind::Folder, mode, owner });
    }

    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.parents_of(path);
        self.0.insert(path.to_owned(), Node { kind: Kind::File(content.into()), mode, owner: 0 });
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.parents_of(path);
        self.0.insert(path.to_owned(), Node { kind: Kind::Link(target.to_owned()), mode: 0o777, owner: 0 });
    }

    pub fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    fn parents_of(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert(Node { kind: Kind::Folder, mode: 0o755, owner: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_what_they_hold_and_keep_their_own_modes() {
        let mut tree = Tree::default();
        tree.folder("tmp", 0o1777, 0);
        tree.file("tmp/a/b", 0o644, "x");
        let listed: Vec<(&str, u32)> = tree.iter().map(|(path, node)| (path, node.mode)).collect();
        assert_eq!(listed, [("tmp", 0o1777), ("tmp/a", 0o755), ("tmp/a/b", 0o644)]);
    }
}
