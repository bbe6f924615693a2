//! What a resumed machine is told of itself by its own configuration, so that it need not ask the network first.
//!
//! A guest that wakes from a template can read who it is before its first packet: DHCP and the metadata service would say the same,
//! after exchanges that a login would wait for. It is text, a line each: a name, a blank, a
//! value; unknown names are for later guests. The text always has [`BYTES`] bytes, blanks at its end, because a guest's
//! kernel keeps the size that it saw in the template. A guest still asks for its lease and its metadata afterwards.
//!
//! `instance`, `address` (with the prefix of its subnet), `router`, `mtu`, `resolver` (if there is one), `domain`, `host` (the
//! whole name), `key` (of the launch, as `authorized_keys` has it, if there is one), `user-data none` (if there are none).
//!
//! All of it can be seen in the process's arguments by users of the host; none of it is a secret.

use model::InstanceId;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Room for a long RSA key.
pub const BYTES: usize = 2048;

/// An instance as its first interface and its metadata show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub instance: InstanceId,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub router: Ipv4Addr,
    pub mtu: u16,
    pub resolver: Option<Ipv4Addr>,
    pub domain: String,
    pub host_name: String,
    pub login_key: Option<String>,
    pub user_data: UserData,
}

/// Whether the launch gave any; it may be too long, or secret, to be told here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserData {
    Absent,
    Present,
}

impl Identity {
    /// [`BYTES`] bytes; none if it does not fit, or would say something else than it should: then the guest asks the network.
    pub fn render(&self) -> Option<String> {
        let mut text = String::with_capacity(BYTES);
        let mut line = |name: &str, value: &dyn std::fmt::Display| writeln!(text, "{name} {value}").ok();
        line("instance", &self.instance)?;
        line("address", &format_args!("{}/{}", self.address, self.prefix))?;
        line("router", &self.router)?;
        line("mtu", &self.mtu)?;
        if let Some(resolver) = self.resolver {
            line("resolver", &resolver)?;
        }
        let texts = [
            ("domain", Some(&self.domain)),
            ("host", Some(&self.host_name)),
            ("key", self.login_key.as_ref()),
        ];
        for (name, value) in texts {
            let Some(value) = value.map(|value| value.trim()).filter(|value| !value.is_empty()) else {
                continue;
            };
            if value.contains(char::is_control) {
                return None;
            }
            line(name, &value)?;
        }
        if self.user_data == UserData::Absent {
            line("user-data", &"none")?;
        }
        (text.len() <= BYTES).then(|| format!("{text:BYTES$}"))
    }
}

/// What a template has in its place.
pub fn nobody() -> String {
    " ".repeat(BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            instance: InstanceId::from_entropy(5),
            address: Ipv4Addr::new(10, 0, 0, 16),
            prefix: 20,
            router: Ipv4Addr::new(10, 0, 0, 1),
            mtu: 1500,
            resolver: Some(Ipv4Addr::new(10, 0, 0, 2)),
            domain: "ec2.internal".into(),
            host_name: "ip-10-0-0-16.ec2.internal".into(),
            login_key: Some("ssh-ed25519 AAAA me, at home\n".into()),
            user_data: UserData::Absent,
        }
    }

    #[test]
    fn it_is_a_line_for_each_fact_and_always_of_the_same_size() {
        let text = identity().render().unwrap();
        assert_eq!(text.len(), BYTES);
        assert_eq!(nobody().len(), BYTES);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        assert_eq!(
            lines,
            [
                "instance i-00000000000000005",
                "address 10.0.0.16/20",
                "router 10.0.0.1",
                "mtu 1500",
                "resolver 10.0.0.2",
                "domain ec2.internal",
                "host ip-10-0-0-16.ec2.internal",
                "key ssh-ed25519 AAAA me, at home",
                "user-data none",
            ]
        );
    }

    #[test]
    fn what_there_is_not_is_left_out() {
        let text = Identity {
            resolver: None,
            domain: String::new(),
            login_key: None,
            user_data: UserData::Present,
            ..identity()
        };
        let text = text.render().unwrap();
        assert!(["resolver", "domain", "key", "user-data"].iter().all(|name| !text.contains(name)), "{text}");
    }

    #[test]
    fn nothing_is_cut_and_no_value_makes_a_line_of_its_own() {
        let with = |key: String| Identity { login_key: Some(key), ..identity() }.render();
        assert_eq!(with("ssh-rsa AAAA\nrouter 10.0.0.9".into()), None);
        assert_eq!(with("k".repeat(BYTES)), None);
        assert!(with("k".repeat(1500)).is_some());
    }
}
