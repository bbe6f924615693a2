//! `nube-guest`: what of ours runs inside an instance, in one static binary: all of nano's, a little in other images.
//!
//! The name it is called by picks the role:
//! - `/init` in the initial RAM disk: insert modules, mount the root filesystem, hand over ([`initramfs`]);
//! - `init`, process 1 of the instance: reap, keep the agent alive, shut down cleanly ([`init`]);
//! - `agent`, started by process 1: network, identity, user data ([`agent`]);
//! - `nube-template` and `nube-distro` in an image with systemd: what makes it a memory template ([`distro`]);
//! - `poweroff`, `reboot`, `halt`, `shutdown` ([`power`]) and a setuid copy named `sudo` ([`sudo`]).
//!
//! Built static, so that the same file works in the initial RAM disk and on any root filesystem:
//!
//! ```text
//! cargo build -p guest --profile guest --target x86_64-unknown-linux-gnu \
//!     --config 'target.x86_64-unknown-linux-gnu.rustflags=["-Ctarget-feature=+crt-static"]'
//! ```
//!
//! Invariants: a kill at any instant leaves a state from which the next boot goes on ([`files`]); what belongs to
//! an instance (host keys, machine id, user data) is done once for each instance id, the rest at each boot.
//! How a guest is made a memory template and wakes up as an instance: [`template`], the protocol for any guest.
//! How a running one goes on as another instance: [`forked`].

mod agent;
mod clock;
mod console;
mod dhcp;
mod disk;
mod distro;
mod endpoint;
mod exec;
mod files;
mod forked;
mod host_key;
mod http;
mod identity;
mod imds;
mod init;
mod initramfs;
mod ipv6;
mod lease;
mod netlink;
mod nic;
mod parked;
mod power;
mod random;
mod secondary;
mod sshd;
mod sudo;
mod sys;
mod template;
mod timeline;
mod told;
mod user_data;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a caller chooses argv[0], so a setuid run may never be talked into another role.
    if sys::is_setuid() {
        return sudo::main();
    }
    let name = std::env::args().next().unwrap_or_default();
    let role = name.rsplit('/').next().unwrap_or_default();
    match role {
        "init" if initramfs::is_here() => initramfs::main(),
        "init" => init::main(),
        "nube-agent" => agent::main(),
        "nube-distro" => distro::main(),
        "nube-template" => distro::generator::main(),
        "sudo" => sudo::main(),
        "poweroff" | "reboot" | "halt" | "shutdown" => power::main(role),
        _ => {
            eprintln!(
                "nube-guest: called as {name:?}; known names: init, nube-agent, nube-distro, nube-template, poweroff, reboot, halt, shutdown, sudo"
            );
            ExitCode::from(2)
        }
    }
}
