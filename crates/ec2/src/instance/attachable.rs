//! Whether a volume or an interface may be attached to an instance now.

use crate::errors::client;
use control::Result;
use model::record::instance::{AttachmentState, Instance, Phase};

/// The state that an attachment to this instance begins in.
pub fn attachable(instance: &Instance) -> Result<AttachmentState> {
    match instance.phase {
        Phase::Running { .. } => Ok(AttachmentState::Attaching),
        // Nothing has to happen before it may be detached again.
        Phase::Stopped => Ok(AttachmentState::Attached),
        Phase::Pending | Phase::Stopping { .. } | Phase::ShuttingDown { .. } | Phase::Terminated { .. } => {
            Err(client(
                "IncorrectState",
                format!(
                    "Instance '{}' is '{}', not 'running' or 'stopped'.",
                    instance.instance,
                    instance.phase.name()
                ),
            ))
        }
    }
}
