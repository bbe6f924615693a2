//! Connections that came to a VPC endpoint and were handed over by the host's agent.
//!
//! They are served like those of the port, and bounded beside them: a sender, and all senders together, hold so many that
//! the host's own clients keep their places.

use model::VpcId;
use model::host::Arrival;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::net::TcpStream;

/// A connection, and how it came.
#[derive(Debug)]
pub struct Handed {
    pub stream: TcpStream,
    pub arrival: Arrival,
}

/// Connections of one sender: of an IPv4 address, or of an IPv6 prefix that an interface may have.
const PER_SENDER: usize = 32;
/// Of an IPv6 address what an interface with a prefix chooses itself: a prefix is a /80.
const HOST_BITS: u32 = 48;
/// A part of all connections: one in so many.
const SHARE: usize = 4;

#[derive(Debug, Default)]
struct Counts {
    together: usize,
    by_sender: HashMap<(VpcId, IpAddr), usize>,
}

#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Counts>,
}

/// One connection's place; dropping it gives it back.
pub(crate) struct Place {
    places: Arc<Places>,
    sender: (VpcId, IpAddr),
}

impl Places {
    pub fn of(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: connections / SHARE, taken: Mutex::default() })
    }

    /// `None`: the sender, or all of them, hold as many as they may.
    pub fn take(self: &Arc<Self>, arrival: &Arrival) -> Option<Place> {
        let sender = (arrival.vpc, counted(arrival.source));
        let mut counts = self.taken.lock();
        if counts.together >= self.most {
            return None;
        }
        let count = counts.by_sender.entry(sender).or_default();
        if *count >= PER_SENDER {
            return None;
        }
        *count += 1;
        counts.together += 1;
        Some(Place { places: Arc::clone(self), sender })
    }
}

/// Whom a sender is counted as.
fn counted(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> HOST_BITS << HOST_BITS).into(),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.taken.lock();
        counts.together -= 1;
        if let Some(count) = counts.by_sender.get_mut(&self.sender) {
            *count -= 1;
            if *count == 0 {
                counts.by_sender.remove(&self.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_hoards_places_shuts_out_only_itself() {
        let places = Places::of(4096);
        let arrives = |source| Arrival {
            region: model::Region::parse("us-east-1").unwrap(),
            vpc: VpcId::from_entropy(1),
            endpoint: model::VpcEndpointId::from_entropy(2),
            source,
        };
        let from = |last| arrives([10, 0, 0, last].into());
        let held: Vec<_> = (0..PER_SENDER).filter_map(|_| places.take(&from(1))).collect();
        assert_eq!(held.len(), PER_SENDER);
        assert!(places.take(&from(1)).is_none());
        assert!(places.take(&from(2)).is_some());
        drop(held);
        assert!(places.take(&from(1)).is_some());
        assert!(places.taken.lock().by_sender.is_empty());
        // All addresses of a prefix are one sender.
        let from = |text: String| arrives(text.parse().unwrap());
        let of_a_prefix = (0..PER_SENDER).map(|n| from(format!("2001:db8::a:0:0:{n:x}")));
        let held: Vec<_> = of_a_prefix.filter_map(|arrival| places.take(&arrival)).collect();
        assert_eq!(held.len(), PER_SENDER);
        assert!(places.take(&from("2001:db8::a:ffff:ffff:ffff".into())).is_none());
        assert!(places.take(&from("2001:db8::b:0:0:1".into())).is_some());
    }
}
