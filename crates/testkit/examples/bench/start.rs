//! Start-up of an emulator: from the start of the program to its first answer, and what it then takes while idle.

use crate::cloud::Cloud;
use crate::{process, table};
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 11;
/// For what start-up set going to end.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(10);

pub fn run(nube: &Path) {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut cloud = Cloud::new(nube, "sim");
        fresh.push(cloud.up());
        cloud.interrupt();
        again.push(cloud.up());
    }
    let mut cloud = Cloud::new(nube, "sim");
    cloud.up();
    std::thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), process::cpu(cloud.pid()));
    std::thread::sleep(IDLE);
    let busy = process::cpu(cloud.pid()).saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let (pss, anonymous) = (process::pss_kib(cloud.pid()), process::anonymous_kib(cloud.pid()));
    let size = std::fs::metadata(nube).unwrap().len();
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    table::print(
        &format!("nube up --host sim ({RUNS} runs, medians)"),
        &["", ""],
        &[
            row(
                "exec to first answered signed request, new directory",
                table::time(table::median(&mut fresh)),
            ),
            row("  the same, on an existing directory", table::time(table::median(&mut again))),
            row("idle memory (PSS)", mib(pss)),
            row("  of it anonymous", mib(anonymous)),
            row("idle CPU", format!("{:.2} % of one", busy * 100.0)),
            row("size of the program", mib(size / 1024)),
        ],
    );
}
