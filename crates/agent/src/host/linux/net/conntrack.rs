//! Tracked connections: they outlive the rules and mappings that let them in, so some must be ended by hand.

use super::netlink::{Message, Socket, attr};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const AF_INET: u8 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// Ends every connection of the socket's namespace that has one of these addresses at an end, before or behind
/// translation. Returns how many.
pub fn forget(socket: &mut Socket, addresses: &BTreeSet<Ipv4Addr>) -> io::Result<usize> {
    if addresses.is_empty() {
        return Ok(0);
    }
    let mut ended = 0;
    for entry in socket.dump(Message::new(GET, 0, &[AF_INET, 0, 0, 0]))? {
        let Some(attributes) = entry.get(4..) else { continue };
        let concerned = [ORIGINAL, REPLY].into_iter().any(|direction| {
            let Some(ip) = attr(attributes, direction).and_then(|tuple| attr(tuple, 1)) else { return false };
            [1, 2].into_iter().any(|end| {
                attr(ip, end)
                    .and_then(|a| <[u8; 4]>::try_from(a).ok())
                    .is_some_and(|a| addresses.contains(&Ipv4Addr::from(a)))
            })
        });
        let Some(tuple) = attr(attributes, ORIGINAL).filter(|_| concerned) else { continue };
        let mut message = Message::new(DELETE, 0, &[AF_INET, 0, 0, 0]);
        message.nest(ORIGINAL, |m| {
            m.raw(tuple);
        });
        match socket.request(message) {
            // It has ended by itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            done => {
                done?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}
