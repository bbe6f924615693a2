//! Rules of others that would drop what instances send: Docker's, ufw's, firewalld's.
//!
//! A packet is dropped when any one chain on the forward hook drops it, so an accept of our own rule set helps nothing:
//! it must stand at the head of each foreign chain. Every such rule carries the cloud's tag in its comment, and goes with
//! the cloud.

use super::nft::{Batch, Family, Nft};
use crate::host::linux::exec;
use model::CloudTag;
use plan::net::names::{foreign_comment, host_link};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

const FORWARD: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(10);

/// Puts our accepts in front of every foreign filter that could drop forwarded packets, in the calling thread's namespace.
pub fn admit(cloud: &CloudTag) -> io::Result<()> {
    let (link, comment) = (host_link(cloud), foreign_comment(cloud));
    let mut nft = Nft::open()?;
    for family in [Family::Ip, Family::Ip6, Family::Inet] {
        let rules = nft.rules(family)?;
        for chain in nft.base_chains(family)? {
            let ours = chain.table.starts_with("nube_");
            if ours || chain.hook != FORWARD || chain.kind != "filter" {
                continue;
            }
            let inside = |rule: &&super::nft::RuleRef| rule.table == chain.table && rule.chain == chain.name;
            // A chain that accepts by policy and holds no rule drops nothing.
            let harmless = !chain.drops && rules.iter().find(inside).is_none();
            // Several clouds share the head of the chain, in any order.
            let head = rules
                .iter()
                .filter(inside)
                .map(|rule| rule.comment.as_deref().unwrap_or_default())
                .take_while(|comment| comment.starts_with("nube "));
            let admitted = head.filter(|at_head| *at_head == comment).count() == 2;
            if harmless || admitted {
                continue;
            }
            let place = format!("{} {} {}", family.as_str(), quote(&chain.table), quote(&chain.name));
            let mut text = String::new();
            for direction in ["iifname", "oifname"] {
                let _ = writeln!(
                    text,
                    "insert rule {place} {direction} \"{link}\" counter accept comment \"{comment}\""
                );
            }
            // The chain is somebody else's: it may vanish meanwhile, or belong to a program that lets nobody in.
            let mut batch = Batch::default();
            for stale in rules.iter().filter(inside).filter(|rule| rule.comment.as_deref() == Some(&comment))
            {
                batch.delete_rule(family, stale);
            }
            if let Err(error) = nft.commit(batch).and_then(|()| super::nft::load(&text)) {
                tracing::warn!(table = chain.table, chain = chain.name, %error, "a foreign filter took no accept rule");
            }
        }
    }
    legacy(cloud, "-I")
}

/// Takes our accepts out again.
pub fn withdraw(cloud: &CloudTag) -> io::Result<()> {
    let comment = foreign_comment(cloud);
    let mut nft = Nft::open()?;
    for family in [Family::Ip, Family::Ip6, Family::Inet] {
        for rule in nft.rules(family)? {
            if rule.comment.as_deref() == Some(comment.as_str()) {
                let mut batch = Batch::default();
                batch.delete_rule(family, &rule);
                match nft.commit(batch) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
    }
    legacy(cloud, "-D")
}

/// The same for the old iptables, where it is in use beside nftables.
fn legacy(cloud: &CloudTag, action: &str) -> io::Result<()> {
    // A namespace in which the old filter table was never touched does not have it, and asking would make it.
    let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    if !tables.lines().any(|table| table == "filter") {
        return Ok(());
    }
    let (link, comment) = (host_link(cloud), foreign_comment(cloud));
    for direction in ["-i", "-o"] {
        let rule = ["FORWARD", direction, &link, "-m", "comment", "--comment", &comment, "-j", "ACCEPT"];
        let run = |verb: &str| {
            let mut args = vec!["-w", "5", verb];
            args.extend(rule);
            exec::blocking::run("iptables-legacy", &args, &[], PATIENCE)
        };
        let standing = match run("-C") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            checked => checked?.status.success(),
        };
        if standing != (action == "-I") {
            let done = run(action)?;
            if !done.status.success() {
                tracing::warn!(said = done.stderr, "iptables-legacy refused an accept rule");
            }
        }
    }
    Ok(())
}

/// A name as nft reads it back.
fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace(['"', '\n', '\\'], "")) }
}
