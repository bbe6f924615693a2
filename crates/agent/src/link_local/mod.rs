//! The services that every instance finds at its VPC's link-local addresses: DHCP, DNS, time and the cloud's own API.
//!
//! Each is a function of a packet and of who sent it; the driver owns the sockets, and the packet filter has tied the
//! sender's address to one interface before a packet comes up. A guest chooses every byte here: nothing panics on any
//! input, nothing waits for another guest.

pub mod api;
pub mod dhcp;
pub mod dns;
pub mod endpoint;
pub mod ipv6;
pub mod limit;
pub mod ntp;
pub mod places;
