//! The monitor's protocol: commands as lines, lines as what they mean.
//!
//! One JSON object a line. The monitor greets, takes `qmp_capabilities` first, answers commands in order with the id they
//! came with, and sends events whenever it likes.
//! Protocol: <https://www.qemu.org/docs/master/interop/qmp-spec.html>

use serde_json::{Value, json};

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
    /// Any other, by its name and arguments.
    With {
        execute: &'static str,
        arguments: Value,
    },
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
            Self::With { execute, .. } => execute,
        }
    }

    /// The line that carries this command, newline included.
    pub fn render(&self, id: u64) -> String {
        let message = match self {
            Self::Resize { node, size } => {
                json!({"execute": self.name(), "arguments": {"node-name": node, "size": size}, "id": id})
            }
            Self::GetFd { name } => {
                json!({"execute": self.name(), "arguments": {"fdname": name}, "id": id})
            }
            Self::With { execute, arguments } => {
                json!({"execute": execute, "arguments": arguments, "id": id})
            }
            _ => json!({"execute": self.name(), "id": id}),
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

#[cfg(test)]
mod tests {
    use super::*;

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
