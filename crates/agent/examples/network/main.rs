//! What a VPC costs on this kernel: packets on their way between two interfaces beside bare routing, and one more interface among
//! many. Medians; nothing is asserted about time.
//!
//! `cargo xtask bench network` runs it, as root; by hand `cargo run --release -p agent --example network [path] [ports]`. It works
//! in network namespaces of its own and leaves nothing behind.

#![allow(unsafe_code, reason = "a network namespace of its own")]
#![allow(clippy::unwrap_used, reason = "a measurement may fail loudly")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

mod cloud;
mod path;
mod ports;
#[allow(dead_code, reason = "another benchmark's too")]
#[path = "../../../testkit/examples/bench/table.rs"]
mod table;

use rustix::process::{Resource, Rlimit};

fn main() {
    // SAFETY: the process has one thread, which sees another network from here on.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("this needs root");
    // A port is a descriptor.
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = ["path", "ports"];
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(&name.as_str())) {
        panic!("there is no measurement {unknown:?}; there are: {}", all.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for name in all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == name)) {
            match name {
                "path" => path::measure().await,
                _ => ports::measure().await,
            }
        }
    });
}
