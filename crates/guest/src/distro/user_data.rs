//! May ssh start before cloud-init has read the user data?
//!
//! At a boot, cloud-init's network stage comes before the ssh server: users, their keys, host keys, files, first commands.
//! In an instance that wakes up from a template ssh need not wait for that stage where the user data has nothing for
//! it. Who cannot be read here at a glance waits.

/// Settings that cloud-init applies after the ssh server has started, at any boot.
const LATER: [&str; 13] = [
    "apt",
    "final_message",
    "locale",
    "ntp",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "phone_home",
    "power_state",
    "runcmd",
    "timezone",
    "keyboard",
];

pub fn ssh_may_come_first(data: &[u8]) -> bool {
    if data.iter().all(u8::is_ascii_whitespace) || data.starts_with(b"#!") {
        return true;
    }
    let Ok(text) = std::str::from_utf8(data) else { return false };
    text.lines().next().is_some_and(|first| first.trim_end() == "#cloud-config")
        && text.lines().all(|line| is_of_later(line.trim_end()))
}

/// Is it a part of a setting that comes later, or nothing at all?
fn is_of_later(line: &str) -> bool {
    if line.is_empty() || line.starts_with([' ', '#', '-']) {
        return true;
    }
    line.split_once(':').is_some_and(|(key, _)| LATER.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_later_settings_do_not_hold_ssh_up() {
        for data in [
            "",
            " \n",
            "#!/bin/sh\nssh-keygen -A\n",
            "#cloud-config\n# x\nruncmd:\n  - [ls]\n- echo\npackages: [nginx]\n",
        ] {
            assert!(ssh_may_come_first(data.as_bytes()), "{data:?}");
        }
    }

    #[test]
    fn whatever_may_say_who_logs_in_is_waited_for() {
        for data in [
            &b"#cloud-config\nusers:\n  - name: me\n"[..],
            b"#cloud-config\nssh_keys:\n  ed25519_private: x\n",
            b"#cloud-config\nruncmd: [ls]\nbootcmd:\n  - ls\n",
            b"#cloud-config\n{\"users\": []}\n",
            b"#cloud-config\n\"users\": []\n",
            b"#cloud-config\n---\nx\n",
            b"#cloud-config-archive\n- x\n",
            b"#cloud-boothook\n#!/bin/sh\n",
            b"#include\nhttp://example.org\n",
            b"## template: jinja\n#cloud-config\nruncmd: []\n",
            b"Content-Type: multipart/mixed; boundary=\"//\"\n",
            b"\x1f\x8b\x08\x00",
            b"text",
        ] {
            assert!(!ssh_may_come_first(data), "{data:?}");
        }
    }
}
