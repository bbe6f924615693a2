//! Whether a running instance may be forked, and what its children are called.
//!
//! A fork is ours; AWS has none. A child is an instance as a launch makes it, with ids, addresses and volumes of its own, whose
//! first run goes on from its parent's instant.

use model::record::Tags;
use model::record::instance::{Instance, Phase};
use model::record::volume::Volume;
use model::{InstanceId, VolumeId};

/// The tag that tells a child's parent.
pub const PARENT_TAG: &str = "nube:forked-from";
/// The most children of one fork.
pub const MOST: u32 = 100;

/// Why an instance is not forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is in this state.
    NotRunning(&'static str),
    Count(u32),
    Interfaces(usize),
    Encrypted(VolumeId),
    /// It may be written to by others at the same instant.
    MultiAttach(VolumeId),
    /// A volume is being attached or detached.
    Unsettled(VolumeId),
    /// It has disks that are nobody else's.
    InstanceStore,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotRunning(state) => write!(f, "it is {state}, and must be running"),
            Self::Count(count) => write!(f, "{count} children were asked for, and there may be 1 to {MOST}"),
            Self::Interfaces(count) => {
                write!(f, "it has {count} network interfaces, and must have exactly one")
            }
            Self::Encrypted(volume) => write!(f, "its volume {volume} is encrypted"),
            Self::MultiAttach(volume) => {
                write!(f, "its volume {volume} may be attached to several instances")
            }
            Self::InstanceStore => f.write_str("it has an instance store"),
            Self::Unsettled(volume) => write!(f, "its volume {volume} is being attached or detached"),
        }
    }
}

impl std::error::Error for Refusal {}

/// `volumes` are all that are attached to it.
pub fn check<'a>(
    parent: &Instance,
    volumes: impl IntoIterator<Item = &'a Volume>,
    count: u32,
) -> Result<(), Refusal> {
    if !(1..=MOST).contains(&count) {
        return Err(Refusal::Count(count));
    }
    match parent.phase {
        Phase::Running { .. } => {}
        Phase::Pending
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::ShuttingDown { .. }
        | Phase::Terminated { .. } => return Err(Refusal::NotRunning(parent.phase.name())),
    }
    if parent.interfaces.len() != 1 {
        return Err(Refusal::Interfaces(parent.interfaces.len()));
    }
    if !parent.store.is_empty() {
        return Err(Refusal::InstanceStore);
    }
    if let Some(device) = parent.volumes.iter().find(|device| !device.state.is_attached()) {
        return Err(Refusal::Unsettled(device.volume));
    }
    for volume in volumes {
        if volume.encryption.is_some() {
            return Err(Refusal::Encrypted(volume.volume));
        }
        if volume.provision.multi_attach {
            return Err(Refusal::MultiAttach(volume.volume));
        }
    }
    Ok(())
}

/// The parent's own tags, and who that was. What AWS's services put on an instance is about that one.
pub fn tags(parent: &Tags, id: InstanceId) -> Tags {
    let own = parent.iter().filter(|(key, _)| !key.starts_with("aws:"));
    let mut tags: Tags = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    tags.insert(PARENT_TAG.into(), id.to_string());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::observe::tests::instance;
    use model::NetworkInterfaceId;
    use model::Timestamp;
    use model::record::instance::{AttachmentState, BlockDevice};

    fn running() -> Instance {
        let at = Timestamp::from_millis(1);
        let device = BlockDevice {
            device: "/dev/xvda".into(),
            volume: VolumeId::from_entropy(1),
            delete_on_termination: true,
            attached_at: at,
            state: AttachmentState::Attached,
        };
        Instance {
            interfaces: vec![NetworkInterfaceId::from_entropy(1)],
            volumes: vec![device],
            ..instance(Phase::Running { since: at }, 1)
        }
    }

    #[test]
    fn only_a_running_instance_is_forked() {
        assert_eq!(check(&running(), [], 1), Ok(()));
        for phase in [Phase::Pending, Phase::Stopped, Phase::Terminated { at: Timestamp::from_millis(1) }] {
            let parent = Instance { phase, ..running() };
            assert_eq!(check(&parent, [], 1), Err(Refusal::NotRunning(phase.name())));
        }
        assert_eq!(check(&running(), [], 0), Err(Refusal::Count(0)));
        assert_eq!(check(&running(), [], MOST + 1), Err(Refusal::Count(MOST + 1)));
    }

    #[test]
    fn what_does_not_fit_in_is_refused_by_name() {
        let mut parent = running();
        parent.interfaces.push(NetworkInterfaceId::from_entropy(2));
        assert_eq!(check(&parent, [], 1), Err(Refusal::Interfaces(2)));
        let mut parent = running();
        parent.volumes[0].state = AttachmentState::Attaching;
        let refusal = check(&parent, [], 1).unwrap_err();
        assert!(refusal.to_string().contains("vol-00000000000000001"), "{refusal}");
    }

    #[test]
    fn a_child_tells_whose_it_is_and_keeps_the_tags_of_its_parents_owner() {
        let parent: Tags = [("Name", "web"), ("aws:autoscaling:groupName", "g"), (PARENT_TAG, "i-0")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let tags = tags(&parent, InstanceId::from_entropy(7));
        let mut keys: Vec<_> = tags.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["Name", PARENT_TAG]);
        assert_eq!(tags[PARENT_TAG], "i-00000000000000007");
    }
}
