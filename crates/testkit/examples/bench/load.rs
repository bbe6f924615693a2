//! Signed requests from several clients at once, and what they and the server came to.

use crate::client::Client;
use crate::cloud::Cloud;
use crate::{process, table};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One case: ends at the count or at the time, whichever comes first.
pub struct Load {
    pub clients: usize,
    pub requests: usize,
    pub time: Duration,
}

pub struct Measured {
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
    /// Of the server, all its threads.
    pub cpu: Duration,
}

impl Load {
    /// `call` makes the request of that number and gives its latency.
    pub fn run(&self, cloud: &Cloud, call: impl Fn(&mut Client, usize) -> Duration + Sync) -> Measured {
        let (next, latencies) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let (begun, before) = (Instant::now(), process::cpu(cloud.pid()));
        std::thread::scope(|scope| {
            for _ in 0..self.clients {
                scope.spawn(|| {
                    let mut client = cloud.client();
                    let mut own = Vec::new();
                    while begun.elapsed() < self.time {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.requests {
                            break;
                        }
                        own.push(call(&mut client, number));
                    }
                    latencies.lock().unwrap().extend(own);
                });
            }
        });
        let (elapsed, cpu) = (begun.elapsed(), process::cpu(cloud.pid()).saturating_sub(before));
        Measured { latencies: latencies.into_inner().unwrap(), elapsed, cpu }
    }
}

/// Calls once and gives the time that it took.
pub fn timed(client: &mut Client, action: &str, parameters: &str) -> Duration {
    let begun = Instant::now();
    client.call(action, parameters);
    begun.elapsed()
}

impl Measured {
    pub const HEADINGS: [&str; 7] =
        ["", "clients", "requests", "p50", "p99", "requests/s", "server CPU/request"];

    pub fn row(mut self, name: &str, clients: usize) -> Vec<String> {
        let count = self.latencies.len();
        vec![
            name.to_owned(),
            clients.to_string(),
            count.to_string(),
            table::time(table::median(&mut self.latencies)),
            table::time(table::percentile(&mut self.latencies, 99)),
            format!("{:.0}", count as f64 / self.elapsed.as_secs_f64()),
            table::time(self.cpu / count as u32),
        ]
    }
}
