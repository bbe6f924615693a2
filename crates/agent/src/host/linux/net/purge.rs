//! Removes whatever a cloud has left on the host, however little of it still fits together.

use super::rtnl::Rtnl;
use super::vpn::charon;
use super::{foreign, nft};
use crate::host::linux::netns::{self, Namespace};
use model::CloudTag;
use plan::net::names;
use std::io;

/// Namespaces, links, routes, tables and foreign accept rules of this cloud. Goes on after a failure and reports the
/// first; what is not there is fine. Runs in the host's namespace; machines must have ended before.
pub fn purge(cloud: &CloudTag) -> io::Result<()> {
    let mut first_error = None;
    let mut note = |result: io::Result<()>| {
        if let Err(error) = result {
            first_error.get_or_insert(error);
        }
    };
    // The link takes its address and the route to the pool along.
    note(Rtnl::open().and_then(|mut rtnl| match rtnl.link(&names::host_link(cloud))? {
        Some(link) => rtnl.delete_link(link.index),
        None => Ok(()),
    }));
    match netns::names(&names::namespace_prefix(cloud)) {
        Ok(found) => {
            for name in found {
                // A namespace lives on while a socket or a TAP is open in it, so it is emptied first.
                match Namespace::open(&name) {
                    Ok(namespace) => {
                        if let Some(connection) = names::connection_of_namespace(cloud, &name) {
                            note(charon::end(&namespace));
                            note(charon::unbound(cloud, connection));
                        }
                        note(namespace.run(empty));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => note(Err(error)),
                }
                note(netns::remove(&name));
            }
        }
        Err(error) => note(Err(error)),
    }
    note(charon::unbound_all(cloud));
    note(foreign::withdraw(cloud));
    let table = names::root_table_name(cloud);
    note(nft::load(&format!("table inet {table} {{\n}}\ndelete table inet {table}\n")));
    first_error.map_or(Ok(()), Err)
}

/// Deletes every link but the loopback.
fn empty() -> io::Result<()> {
    let mut rtnl = Rtnl::open()?;
    for link in rtnl.links()? {
        let ours = names::is_tap(&link.name)
            || link.name == names::IGW
            || link.name == names::EDGE_UPLINK
            || link.name.starts_with('v');
        if link.index != 1 && ours {
            rtnl.delete_link(link.index)?;
        }
    }
    Ok(())
}
