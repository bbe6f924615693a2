//! Connections that came to a VPC endpoint and were handed over by the host's agent.
//!
//! They are served like those of the port, and bounded beside them: a sender, and all senders together, hold so many that
//! the host's own clients keep their places.

use model::VpcId;
use model::host::Arrival;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A connection, and how it came.
#[derive(Debug)]
pub struct Handed {
    pub stream: TcpStream,
    pub arrival: Arrival,
}

/// Connections of one sender.
const PER_SENDER: usize = 32;
/// A part of all connections: one in so many.
const SHARE: usize = 4;

#[derive(Debug, Default)]
struct Counts {
    together: usize,
    by_sender: HashMap<(VpcId, Ipv4Addr), usize>,
}

#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Counts>,
}

/// One connection's place; dropping it gives it back.
pub(crate) struct Place {
    places: Arc<Places>,
    sender: (VpcId, Ipv4Addr),
}

impl Places {
    pub fn of(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: connections / SHARE, taken: Mutex::default() })
    }

    /// `None`: the sender, or all of them, hold as many as they may.
    pub fn take(self: &Arc<Self>, arrival: &Arrival) -> Option<Place> {
        let sender = (arrival.vpc, arrival.source);
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
        let from = |last| Arrival {
            region: model::Region::parse("us-east-1").unwrap(),
            vpc: VpcId::from_entropy(1),
            endpoint: model::VpcEndpointId::from_entropy(2),
            source: Ipv4Addr::new(10, 0, 0, last),
        };
        let held: Vec<_> = (0..PER_SENDER).filter_map(|_| places.take(&from(1))).collect();
        assert_eq!(held.len(), PER_SENDER);
        assert!(places.take(&from(1)).is_none());
        assert!(places.take(&from(2)).is_some());
        drop(held);
        assert!(places.take(&from(1)).is_some());
        assert!(places.taken.lock().by_sender.is_empty());
    }
}
