//! A user id for each machine, so that the kernel keeps machines out of each other's files and processes.
//!
//! A cloud's ids are the [`COUNT`] that follow from its tag. They are handed out in turn, the next one noted on disk, so that
//! an id comes back only after all others, and never while a machine's directory still names it.

use super::home::{Home, UID, replace};
use model::{CloudTag, InstanceId};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// How many machines of one cloud a host can know at a time.
pub const COUNT: u32 = 65_000;
const NEXT: &str = "next-uid";

/// The first user id of a cloud: one of 16,384 blocks far above what distributions hand out.
pub fn first(cloud: &CloudTag) -> u32 {
    let hash = cloud.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let block = (hash >> 40) as u32 % 16_384;
    0x4000_0000 + block * 65_536
}

/// The machine's id, a new one if it has none. `others` is a second directory of machines, which may not be there. Not to be
/// called from two threads at once.
pub(super) fn assign(cloud: &CloudTag, state_dir: &Path, others: &Path, home: &Home) -> io::Result<u32> {
    if let Some(uid) = home.uid()? {
        return Ok(uid);
    }
    let mut taken = BTreeSet::new();
    for entry in fs::read_dir(state_dir)?.chain(fs::read_dir(others).into_iter().flatten()) {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|n| InstanceId::parse(n).is_ok()) {
            let text = fs::read_to_string(entry.path().join(UID)).unwrap_or_default();
            taken.extend(text.trim().parse::<u32>().ok());
        }
    }
    let next = fs::read_to_string(state_dir.join(NEXT)).ok().and_then(|t| t.trim().parse::<u32>().ok());
    let uid = choose(first(cloud), next.unwrap_or(0), &taken)
        .ok_or_else(|| io::Error::other("every user id of this cloud is taken on this host"))?;
    replace(&state_dir.join(NEXT), (uid - first(cloud) + 1).to_string().as_bytes())?;
    home.set_uid(uid)?;
    Ok(uid)
}

fn choose(first: u32, next: u32, taken: &BTreeSet<u32>) -> Option<u32> {
    (0..COUNT).map(|step| first + (next % COUNT + step) % COUNT).find(|uid| !taken.contains(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_use_is_passed_over_and_a_freed_one_waits_its_turn() {
        let taken = BTreeSet::from([1002, 1003]);
        assert_eq!(choose(1000, 2, &taken), Some(1004));
        assert_eq!(choose(1000, COUNT - 1, &taken), Some(1000 + COUNT - 1));
        assert_eq!(choose(1000, COUNT, &taken), Some(1000));
    }

    #[test]
    fn clouds_have_blocks_of_their_own() {
        let of = |tag: &str| first(&CloudTag::parse(tag).unwrap());
        assert_ne!(of("aaaaaa"), of("aaaaab"));
        assert!(of("zzzzzz").checked_add(COUNT).is_some_and(|end| i32::try_from(end).is_ok()));
    }
}
