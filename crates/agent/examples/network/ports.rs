//! One more interface where there are many, and one that joins another group: wall time and processor time.

use crate::cloud::{Cloud, RULES};
use crate::table;
use agent::host::Net as _;
use model::net::Traffic;
use std::time::{Duration, Instant};

const STEPS: [u32; 3] = [10, 1000, 5000];
const TIMES: usize = 51;
const LOADS: usize = 5;

/// What one kind of step took: each time, and all of them together on a processor, of it in the kernel.
struct Took {
    each: Vec<Duration>,
    cpu: Duration,
    kernel: Duration,
}

impl Took {
    const fn new() -> Self {
        Self { each: Vec::new(), cpu: Duration::ZERO, kernel: Duration::ZERO }
    }

    async fn note<T>(&mut self, step: impl Future<Output = T>) -> T {
        let (before, start) = (processor(), Instant::now());
        let done = step.await;
        self.each.push(start.elapsed());
        let after = processor();
        let kernel = after.1.saturating_sub(before.1);
        self.cpu += after.0.saturating_sub(before.0) + kernel;
        self.kernel += kernel;
        done
    }

    fn row(mut self, what: &str, present: u32) -> Vec<String> {
        let times = self.each.len() as u32;
        vec![
            what.to_owned(),
            present.to_string(),
            table::time(table::median(&mut self.each)),
            table::time(self.cpu / times),
            table::time(self.kernel / times),
        ]
    }
}

/// Time on a processor, of all threads: outside the kernel, and in it.
fn processor() -> (Duration, Duration) {
    // SAFETY: an all-zero `rusage` is a valid one, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    (time(usage.ru_utime), time(usage.ru_stime))
}

pub async fn measure() {
    let mut cloud = Cloud::new().await;
    cloud.net().ensure_vpc(&cloud.vpc).await.unwrap();
    let (mut group, other) = (cloud.group(1), cloud.group(2));
    cloud.ensure_group(&group).await;
    cloud.ensure_group(&other).await;

    let (mut taps, mut rows) = (Vec::new(), Vec::new());
    for present in STEPS {
        while taps.len() < present as usize {
            taps.push(cloud.net().open_port(&cloud.interface(taps.len() as u32, group.group)).await.unwrap());
        }
        let [mut opened, mut ensured, mut joined, mut removed, mut loaded] = [const { Took::new() }; 5];
        let mut one = cloud.interface(present, group.group);
        for _ in 0..TIMES {
            one.security_groups = vec![group.group];
            let tap = opened.note(cloud.net().open_port(&one)).await.unwrap();
            ensured.note(cloud.net().ensure_port(&one)).await.unwrap();
            one.security_groups = vec![other.group];
            joined.note(cloud.net().ensure_port(&one)).await.unwrap();
            removed.note(cloud.net().remove_port(one.interface)).await.unwrap();
            drop(tap);
        }
        for load in 0..LOADS {
            let port = present as u16 + load as u16;
            group.ingress[0].traffic = Traffic::Tcp { from: port, to: port };
            loaded.note(cloud.net().ensure_security_group(&group)).await.unwrap();
        }
        rows.push(opened.row("an interface comes", present));
        rows.push(ensured.row("it is told the same again", present));
        rows.push(joined.row("it changes its group", present));
        rows.push(removed.row("it goes", present));
        rows.push(loaded.row("a group changes its rules (runs nft)", present));
    }
    let mut reopened = Took::new();
    reopened.note(cloud.reopen()).await;
    rows.push(reopened.row("another driver opens", taps.len() as u32));
    assert_eq!(cloud.net().standing().await.unwrap().ports.len(), taps.len());
    let title = format!(
        "ports: in one VPC, groups of {RULES} rules; medians of {TIMES}, and means of processor time"
    );
    table::print(&title, &["", "present", "time", "processor", "of it kernel"], &rows);
}
