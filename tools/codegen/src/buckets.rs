//! Sorting generated items into files: by the noun that they are about, split further where a file would grow too long.

use std::collections::BTreeMap;

/// A longer file is split by the next letter.
const MAX_LINES: usize = 6_000;

/// One generated shape.
pub struct Item {
    /// What it is sorted by: letters and digits, in lower case.
    pub noun: String,
    pub text: String,
}

/// Files by module name, each with its items in the order given.
pub fn split(items: Vec<Item>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    place(items, 1, &mut files);
    files
}

fn place(items: Vec<Item>, letters: usize, files: &mut BTreeMap<String, String>) {
    let mut groups: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in items {
        let prefix = item.noun.chars().take(letters).collect();
        groups.entry(prefix).or_default().push(item);
    }
    for (prefix, group) in groups {
        let lines: usize = group.iter().map(|item| item.text.lines().count() + 1).sum();
        // All nouns end within the prefix: there is no letter left to split by.
        let exhausted = group.iter().all(|item| item.noun.len() < letters);
        if lines > MAX_LINES && !exhausted {
            place(group, letters + 1, files);
        } else {
            let text = group.into_iter().map(|item| item.text).collect::<Vec<_>>().join("\n");
            files.insert(format!("shapes_{prefix}"), text);
        }
    }
}
