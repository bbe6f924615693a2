//! The monitor's protocol: commands as lines, lines as what they mean.
//!
//! One JSON object a line. The monitor greets, takes `qmp_capabilities` first, answers commands in order with the id they
//! came with, and sends events whenever it likes.
//! Protocol: <https://www.qemu.org/docs/master/interop/qmp-spec.html>

use super::devices::FdSet;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;

const PERIPHERALS: &str = "/machine/peripheral";
const OBJECTS: &str = "/objects";

/// What the agent asks of a machine's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Ends the negotiation; first on each connection.
    Capabilities,
    QueryStatus,
    QueryUuid,
    PressPowerButton,
    /// Takes effect soon after the answer.
    Reset,
    Continue,
    Stop,
    Quit,
    /// Tells the guest of a disk's new size, in bytes.
    Resize {
        node: String,
        size: u64,
    },
    /// Keeps the descriptor that came with this message under a name, for a later command to take.
    GetFd {
        name: String,
    },
    /// Drops a descriptor that no command took.
    CloseFd {
        name: String,
    },
    /// Makes a new set of the descriptor that came with this message, or adds it to one; `note` says what it is for.
    AddFd {
        note: String,
        set: Option<FdSet>,
    },
    QueryFdSets,
    RemoveFd {
        set: FdSet,
    },
    /// The devices that have a name ([`super::devices::devices`] reads the answer).
    ListDevices,
    ListObjects,
    /// The path of the bus that a device is in.
    QueryBus {
        device: String,
    },
    ListNodes,
    AddNode(Value),
    /// Changes what a node stands on.
    ReopenNode(Value),
    RemoveNode {
        node: String,
    },
    AddObject(Value),
    /// Keeps what opens a volume's encryption.
    AddSecret {
        id: String,
        secret: Secret,
    },
    RemoveObject {
        id: String,
    },
    QueryLimits {
        object: String,
    },
    SetLimits {
        object: String,
        limits: Value,
    },
    AddNetdev(Value),
    RemoveNetdev {
        id: String,
    },
    AddDevice(Value),
    /// Asks the guest to let go; an event tells when it has.
    RemoveDevice {
        id: String,
    },
    /// Any other, by its name and arguments.
    With {
        execute: &'static str,
        arguments: Value,
    },
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Command {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capabilities => "qmp_capabilities",
            Self::QueryStatus => "query-status",
            Self::QueryUuid => "query-uuid",
            Self::PressPowerButton => "system_powerdown",
            Self::Reset => "system_reset",
            Self::Continue => "cont",
            Self::Stop => "stop",
            Self::Quit => "quit",
            Self::Resize { .. } => "block_resize",
            Self::GetFd { .. } => "getfd",
            Self::CloseFd { .. } => "closefd",
            Self::AddFd { .. } => "add-fd",
            Self::QueryFdSets => "query-fdsets",
            Self::RemoveFd { .. } => "remove-fd",
            Self::ListDevices | Self::ListObjects => "qom-list",
            Self::QueryBus { .. } | Self::QueryLimits { .. } => "qom-get",
            Self::ListNodes => "query-named-block-nodes",
            Self::AddNode(_) => "blockdev-add",
            Self::ReopenNode(_) => "blockdev-reopen",
            Self::RemoveNode { .. } => "blockdev-del",
            Self::AddObject(_) | Self::AddSecret { .. } => "object-add",
            Self::RemoveObject { .. } => "object-del",
            Self::SetLimits { .. } => "qom-set",
            Self::AddNetdev(_) => "netdev_add",
            Self::RemoveNetdev { .. } => "netdev_del",
            Self::AddDevice(_) => "device_add",
            Self::RemoveDevice { .. } => "device_del",
            Self::With { execute, .. } => execute,
        }
    }

    fn arguments(&self) -> Option<Value> {
        Some(match self {
            Self::Capabilities
            | Self::QueryStatus
            | Self::QueryUuid
            | Self::PressPowerButton
            | Self::Reset
            | Self::Continue
            | Self::Stop
            | Self::Quit
            | Self::QueryFdSets => return None,
            Self::With { arguments, .. } => arguments.clone(),
            Self::Resize { node, size } => json!({"node-name": node, "size": size}),
            Self::GetFd { name } | Self::CloseFd { name } => json!({"fdname": name}),
            Self::AddFd { note, set: None } => json!({"opaque": note}),
            Self::AddFd { note, set: Some(set) } => json!({"opaque": note, "fdset-id": set.0}),
            Self::RemoveFd { set } => json!({"fdset-id": set.0}),
            Self::ListDevices => json!({"path": PERIPHERALS}),
            Self::ListObjects => json!({"path": OBJECTS}),
            Self::QueryBus { device } => {
                json!({"path": format!("{PERIPHERALS}/{device}"), "property": "parent_bus"})
            }
            Self::ListNodes => json!({"flat": true}),
            Self::ReopenNode(node) => json!({"options": [node]}),
            Self::AddNode(value)
            | Self::AddObject(value)
            | Self::AddNetdev(value)
            | Self::AddDevice(value) => value.clone(),
            Self::AddSecret { id, secret } => json!({"qom-type": "secret", "id": id, "data": secret.0}),
            Self::RemoveNode { node } => json!({"node-name": node}),
            Self::QueryLimits { object } => {
                json!({"path": format!("{OBJECTS}/{object}"), "property": "limits"})
            }
            Self::SetLimits { object, limits } => {
                json!({"path": format!("{OBJECTS}/{object}"), "property": "limits", "value": limits})
            }
            Self::RemoveObject { id } | Self::RemoveNetdev { id } | Self::RemoveDevice { id } => {
                json!({"id": id})
            }
        })
    }

    /// The line that carries this command, newline included.
    pub fn render(&self, id: u64) -> String {
        let message = match self.arguments() {
            Some(arguments) => json!({"execute": self.name(), "arguments": arguments, "id": id}),
            None => json!({"execute": self.name(), "id": id}),
        };
        format!("{message}\n")
    }
}

/// A line from the monitor.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    Greeting,
    Return { id: u64, value: Value },
    Error { id: Option<u64>, description: String },
    Event { name: String, data: Value },
}

/// What a line means; `None` when it is no message of the protocol.
pub fn parse(line: &str) -> Option<Incoming> {
    let mut message: Value = serde_json::from_str(line).ok()?;
    let id = message.get("id").and_then(Value::as_u64);
    if message.get("QMP").is_some() {
        return Some(Incoming::Greeting);
    }
    if let Some(name) = message.get("event").and_then(Value::as_str) {
        let name = name.to_owned();
        return Some(Incoming::Event { name, data: message["data"].take() });
    }
    if let Some(error) = message.get("error") {
        let description = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        return Some(Incoming::Error { id, description });
    }
    let value = message.get_mut("return")?.take();
    Some(Incoming::Return { id: id?, value })
}

/// A machine's state as `query-status` names it, in the agent's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    On,
    /// The guest stands still because its process was told so, or waits for its first instruction.
    Paused,
    /// A disk had no room; the guest goes on when told to.
    OutOfSpace,
    /// The guest is over until it is reset.
    Off,
}

/// Reads the answer to [`Command::QueryStatus`]. `internal-error` is an accelerator that gave up on the guest; nothing but a
/// reset brings it back, so it counts as off.
pub fn status(answer: &Value) -> Option<Status> {
    match answer.get("status")?.as_str()? {
        "shutdown" | "guest-panicked" | "internal-error" => Some(Status::Off),
        "io-error" => Some(Status::OutOfSpace),
        "paused" | "inmigrate" | "prelaunch" | "postmigrate" | "finish-migrate" => Some(Status::Paused),
        _ => Some(Status::On),
    }
}

/// Puts nodes that stand on nothing yet over others, all at one instant: pairs of what is covered and what covers it.
pub fn overlay(pairs: &[(String, String)]) -> Command {
    let action = |(node, overlay): &(String, String)| json!({"type": "blockdev-snapshot", "data": {"node": node, "overlay": overlay}});
    let actions: Vec<Value> = pairs.iter().map(action).collect();
    Command::With { execute: "transaction", arguments: json!({"actions": actions}) }
}

/// Asks which node stands on which ([`Graph`] reads the answer).
pub fn query_graph() -> Command {
    Command::With { execute: "x-debug-query-block-graph", arguments: json!({}) }
}

/// Which node stands on which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph(HashMap<(String, String), String>);

impl Graph {
    pub fn parse(answer: &Value) -> Self {
        let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
        let named = |node: &Value| Some((node.get("id")?.as_u64()?, node.get("name")?.as_str()?.to_owned()));
        let names: HashMap<u64, String> = list("nodes").filter_map(named).collect();
        let edge = |edge: &Value| {
            let end = |at: &str| names.get(&edge.get(at)?.as_u64()?).cloned();
            Some(((end("parent")?, edge.get("name")?.as_str()?.to_owned()), end("child")?))
        };
        Self(list("edges").filter_map(edge).collect())
    }

    /// What a node stands on by this name, such as `file`, `backing`.
    pub fn child(&self, parent: &str, edge: &str) -> Option<&str> {
        self.0.get(&(parent.to_owned(), edge.to_owned())).map(String::as_str)
    }

    /// The nodes below one by `backing`, from the nearest down.
    pub fn below(&self, node: &str) -> Vec<&str> {
        let first = self.child(node, "backing");
        // A graph has no circles, whatever its process says.
        std::iter::successors(first, |node| self.child(node, "backing")).take(self.0.len()).collect()
    }
}

/// The number in the answer to [`Command::AddFd`].
pub fn added_fd_set(answer: &Value) -> Option<FdSet> {
    answer.get("fdset-id")?.as_u64().map(FdSet)
}

/// The sets whose notes begin so, with their notes, in the answer to [`Command::QueryFdSets`].
pub fn fd_sets<'a>(answer: &'a Value, prefix: &str) -> Vec<(FdSet, &'a str)> {
    let noted = |set: &'a Value| {
        let notes = set.get("fds").and_then(Value::as_array).into_iter().flatten();
        let note = notes.filter_map(|fd| fd.get("opaque")?.as_str()).find(|note| note.starts_with(prefix))?;
        Some((added_fd_set(set)?, note))
    };
    answer.as_array().into_iter().flatten().filter_map(noted).collect()
}

/// The names in the answer to [`Command::ListNodes`].
pub fn nodes(answer: &Value) -> impl Iterator<Item = &str> {
    answer.as_array().into_iter().flatten().filter_map(|node| node.get("node-name")?.as_str())
}

/// The driver of a node, in the answer to [`Command::ListNodes`].
pub fn node_driver<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let mut nodes = answer.as_array()?.iter();
    nodes.find(|node| node.get("node-name").and_then(Value::as_str) == Some(name))?.get("drv")?.as_str()
}

/// The size of a node as the guest sees it, in the answer to [`Command::ListNodes`].
pub fn node_size(answer: &Value, name: &str) -> Option<u64> {
    let node =
        answer.as_array()?.iter().find(|n| n.get("node-name").and_then(Value::as_str) == Some(name))?;
    node.get("image")?.get("virtual-size")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_a_volume_are_found_by_their_notes() {
        let answer = json!([
            {"fdset-id": 1, "fds": [{"fd": 12, "opaque": "vol-1-file"}]},
            {"fdset-id": 2, "fds": [{"fd": 13, "opaque": "vol-2-file"}]},
            {"fdset-id": 3, "fds": [{"fd": 14, "opaque": "vol-1-base0-file"}]},
        ]);
        let found = [(FdSet(1), "vol-1-file"), (FdSet(3), "vol-1-base0-file")];
        assert_eq!(fd_sets(&answer, "vol-1-"), found);
        assert_eq!(added_fd_set(&json!({"fdset-id": 7, "fd": 3})), Some(FdSet(7)));
    }

    #[test]
    fn the_graph_tells_what_stands_on_what() {
        let answer = json!({
            "nodes": [
                {"id": 1, "type": "block-backend", "name": ""},
                {"id": 2, "type": "block-driver", "name": "t"},
                {"id": 3, "type": "block-driver", "name": "l"},
                {"id": 4, "type": "block-driver", "name": "i"},
            ],
            "edges": [
                {"name": "root", "parent": 1, "child": 2},
                {"name": "file", "parent": 2, "child": 3},
                {"name": "backing", "parent": 3, "child": 4},
            ],
        });
        let graph = Graph::parse(&answer);
        assert_eq!(graph.child("t", "file"), Some("l"));
        assert_eq!(graph.below("l"), ["i"]);
        assert_eq!(graph.below("i"), Vec::<&str>::new());
    }

    #[test]
    fn the_size_of_a_node_is_what_the_guest_sees() {
        let answer = json!([{"node-name": "a", "image": {"virtual-size": 4096, "actual-size": 1}}]);
        assert_eq!(node_size(&answer, "a"), Some(4096));
        assert_eq!(node_size(&answer, "b"), None);
    }

    #[test]
    fn commands_are_one_line_each() {
        assert_eq!(Command::QueryStatus.render(7), "{\"execute\":\"query-status\",\"id\":7}\n");
        assert_eq!(
            Command::Resize { node: "n".into(), size: 1 << 30 }.render(8),
            "{\"arguments\":{\"node-name\":\"n\",\"size\":1073741824},\"execute\":\"block_resize\",\"id\":8}\n"
        );
    }

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(parse(r#"{"QMP": {"version": {}, "capabilities": []}}"#), Some(Incoming::Greeting));
        assert_eq!(parse(r#"{"return": {}, "id": 3}"#), Some(Incoming::Return { id: 3, value: json!({}) }));
        assert_eq!(
            parse(r#"{"id": 4, "error": {"class": "GenericError", "desc": "no such node"}}"#),
            Some(Incoming::Error { id: Some(4), description: "no such node".into() })
        );
        assert_eq!(
            parse(r#"{"timestamp": {}, "event": "SHUTDOWN", "data": {"guest": true}}"#),
            Some(Incoming::Event { name: "SHUTDOWN".into(), data: json!({"guest": true}) })
        );
        for bad in ["", "{", "[]", "{\"return\": {}}"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_paused_guest_is_told_from_a_running_and_a_powered_off_one() {
        for (word, want) in [
            ("running", Status::On),
            ("paused", Status::Paused),
            ("inmigrate", Status::Paused),
            ("io-error", Status::OutOfSpace),
            ("shutdown", Status::Off),
            ("internal-error", Status::Off),
        ] {
            assert_eq!(status(&json!({"status": word, "running": false})), Some(want), "{word}");
        }
    }
}
