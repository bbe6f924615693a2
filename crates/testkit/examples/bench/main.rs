//! What a cloud costs, measured from outside: start-up, the API on simulated machines, launches of real ones.
//!
//! `cargo xtask bench` runs this; by hand: `cargo run --release -p testkit --example bench -- --nube PATH [start] [api]
//! [many] [launch] [clone] [snapshot] [disk] [debian]`. It prints medians and ratios and asserts nothing about time: machines are shared and noisy.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time, starts real programs and ends its own children; nothing here is simulated"
)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on says where")]

mod api;
mod client;
mod clone;
mod cloud;
mod disk;
mod launch;
mod load;
mod many;
mod metadata;
mod plain;
mod process;
mod snapshot;
mod start;
mod subject;
mod table;

use std::path::PathBuf;

const ALL: [&str; 8] = ["start", "api", "many", "launch", "clone", "snapshot", "disk", DEBIAN];
/// Takes an image that is not built by default, and a quarter of an hour: only when it is named.
const DEBIAN: &str = "debian";

fn main() {
    let mut nube = PathBuf::from("target/release/nube");
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--nube" => nube = PathBuf::from(arguments.next().expect("--nube PATH")),
            // What a plain machine's user-mode network runs for each connection to the metadata service.
            "metadata" => {
                let key = arguments.next().map(PathBuf::from).expect("metadata KEY");
                return metadata::answer(&key);
            }
            name if ALL.contains(&name) => wanted.push(name.to_owned()),
            other => panic!("there is no measurement {other:?}; there are: {}", ALL.join(", ")),
        }
    }
    for name in ALL.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == name)) {
        if name == DEBIAN && wanted.is_empty() {
            continue;
        }
        match name {
            "start" => start::run(&nube),
            "api" => api::run(&nube),
            "many" => many::run(&nube),
            "clone" => clone::run(&nube),
            "snapshot" => snapshot::run(&nube),
            "disk" => disk::run(&nube),
            "debian" => clone::run_debian(&nube),
            _ => launch::run(&nube),
        }
    }
}
