//! The process that serves one volume to several machines (Multi-Attach): QEMU with no machine in it.
//!
//! ```text
//! machine ─► vol-…-throttle ─► NBD ─┐
//!                                   ├─► vol-…-throttle (no limits) ─► vol-…-image ─► … as a machine has an ordinary volume
//! machine ─► vol-…-throttle ─► NBD ─┘
//! ```
//! So its nodes have the names that [`devices`] gives them, and a snapshot is taken of them as of any machine's.
//! A write is answered once it is on the disk, with all that leads to it (`writethrough`): should the process be killed, the guests
//! live on, and must find everything that they were told is written. Requests without an answer are sent again to the next process.
//! QEMU: <https://www.qemu.org/docs/master/interop/qemu-storage-daemon-qmp-ref.html> (`block-export-add`)

use super::qmp::Command;
use super::{Line, MONITOR_FD, SANDBOX, devices, smbios};
use model::{InstanceId, VolumeId};
use serde_json::{Value, json};

/// The name of the descriptor at which it listens.
pub const DOOR: &str = "door";

/// The arguments after the program's name. `server` is who it says that it is.
pub fn arguments(server: InstanceId, volume: VolumeId) -> Vec<String> {
    let mut line = Line::default();
    line.option("-name", format!("{volume},debug-threads=on"));
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.option("-display", "none");
    line.option("-sandbox", SANDBOX);
    line.option("-machine", "none");
    // Nothing is executed.
    line.option("-accel", "tcg,tb-size=1");
    line.option("-uuid", smbios::uuid(server));
    line.option("-chardev", format!("socket,id=monitor,fd={MONITOR_FD},server=on,wait=off"));
    line.option("-mon", "chardev=monitor,mode=control");
    line.0
}

/// Has it listen at the descriptor that it was given as [`DOOR`].
pub fn listen() -> Command {
    let arguments = json!({"addr": {"type": "fd", "data": {"str": DOOR}}});
    Command::With { execute: "nbd-server-start", arguments }
}

/// Serves a volume whose nodes are there.
pub fn serve(volume: VolumeId) -> Command {
    let arguments = json!({
        "type": "nbd",
        "id": volume.to_string(),
        "name": volume.to_string(),
        "node-name": devices::throttle_node(volume),
        "writable": true,
        "writethrough": true,
    });
    Command::With { execute: "block-export-add", arguments }
}

/// Stops serving a volume: machines are cut off, and come back once it is served again.
pub fn withdraw(volume: VolumeId) -> Command {
    let arguments = json!({"id": volume.to_string(), "mode": "hard"});
    Command::With { execute: "block-export-del", arguments }
}

/// Asks what it serves ([`serves`] reads the answer).
pub fn query() -> Command {
    Command::With { execute: "query-block-exports", arguments: json!({}) }
}

pub fn serves(answer: &Value, volume: VolumeId) -> bool {
    let exports = answer.as_array().into_iter().flatten();
    let ids = exports.filter_map(|export| export.get("id")?.as_str());
    ids.into_iter().any(|id| id == volume.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_found_while_it_is_there() {
        let volume = VolumeId::from_entropy(1);
        let answer = json!([{"node-name": "t", "shutting-down": false, "type": "nbd", "id": volume}]);
        assert!(serves(&answer, volume) && !serves(&answer, VolumeId::from_entropy(2)));
        assert!(!serves(&json!([]), volume));
    }

    #[test]
    fn a_write_is_answered_when_it_is_on_the_disk() {
        let line = serve(VolumeId::from_entropy(1)).render(1);
        assert!(line.contains("\"writethrough\":true") && line.contains("\"writable\":true"), "{line}");
    }
}
