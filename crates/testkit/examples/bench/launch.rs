//! Launches of real machines: call → running → ssh banner, against a plain QEMU booting the same disk in the same run.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::plain::{Plain, Recipe};
use crate::subject::{NANO, Prepared};
use crate::{process, table};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const RUNS: usize = 5;
/// For a state.
const PATIENCE: Duration = Duration::from_mins(2);

pub fn run(nube: &Path) {
    let mut cloud = Cloud::new(nube, "linux");
    // What a boot takes; `clone` measures the rest.
    cloud.up_with(&["--templates", "off"]);
    let mut client = cloud.client();
    let prepared = NANO.prepare(&mut client);
    let recipe = boot_once(&cloud, &mut client, &prepared);
    let rows = alternate(&mut client, &prepared, &recipe, Rounds { launches: RUNS, plain: RUNS });
    table::print(
        &format!("Launch of a {} ({RUNS} runs, medians; each alternating with plain QEMU)", NANO.title()),
        &["", "median", "to plain QEMU"],
        &rows,
    );
}

/// A launch that boots, and the plain machine that is its like. It probes the accelerator and warms the page cache, too, and
/// counts for nothing.
pub fn boot_once(cloud: &Cloud, client: &mut Client, prepared: &Prepared) -> Recipe {
    let mut recipe = None;
    launch(client, prepared, |id| {
        let line = process::command_line("-name", id).expect("a running machine has a process");
        recipe = Some(Recipe::of(&line, prepared, &cloud.data()));
    });
    recipe.expect("the launch has been looked at")
}

/// How often each is measured.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub launches: usize,
    /// At most as often as launches.
    pub plain: usize,
}

/// Launches in turns with plain machines: the table's rows.
pub fn alternate(
    client: &mut Client,
    prepared: &Prepared,
    recipe: &Recipe,
    rounds: Rounds,
) -> Vec<Vec<String>> {
    let (mut calls, mut runnings, mut banners, mut logins) = (vec![], vec![], vec![], vec![]);
    let mut plains = vec![];
    for n in 1..=rounds.launches {
        let launched = launch(client, prepared, |_| {});
        let mut line = format!(
            "  {n}: call {}, running {}, banner {}, login {}",
            table::time(launched.call),
            table::time(launched.running),
            table::time(launched.banner),
            table::time(launched.login)
        );
        if n <= rounds.plain {
            let begun = Instant::now();
            let machine = Plain::boot(recipe);
            banner(machine.ssh, prepared.subject.patience);
            let plain = begun.elapsed();
            let _ = write!(line, "; plain {}", table::time(plain));
            plains.push(plain);
        }
        eprintln!("{line}");
        calls.push(launched.call);
        runnings.push(launched.running);
        banners.push(launched.banner);
        logins.push(launched.login);
    }
    let plain = table::median(&mut plains);
    let row = |name: &str, values: &mut Vec<Duration>| {
        let median = table::median(values);
        vec![name.to_owned(), table::time(median), table::ratio(median, plain)]
    };
    vec![
        row("RunInstances answered", &mut calls),
        row("RunInstances to running", &mut runnings),
        row("RunInstances to ssh banner", &mut banners),
        row("RunInstances to the end of a login with the caller's key", &mut logins),
        row("plain QEMU to ssh banner", &mut plains),
    ]
}

pub struct Launched {
    pub call: Duration,
    pub running: Duration,
    pub banner: Duration,
    /// The caller's key has opened a session, and that is closed again.
    pub login: Duration,
}

fn launch(client: &mut Client, prepared: &Prepared, meanwhile: impl FnOnce(&str)) -> Launched {
    let begun = Instant::now();
    let made = client.call("RunInstances", &prepared.request(1));
    let call = begun.elapsed();
    let id = texts(made, "instanceId")[0].to_owned();
    let address = await_state(client, &id, "running", begun).expect("default subnets give public addresses");
    let running = begun.elapsed();
    let address = address.parse().unwrap();
    banner(SocketAddr::new(address, 22), prepared.subject.patience);
    let banner = begun.elapsed();
    prepared.log_in(address);
    let login = begun.elapsed();
    meanwhile(&id);
    client.call("TerminateInstances", &format!("&InstanceId.1={id}"));
    await_state(client, &id, "terminated", Instant::now());
    Launched { call, running, banner, login }
}

/// Waits until the instance is in this state; its public address.
pub fn await_state(client: &mut Client, id: &str, wanted: &str, begun: Instant) -> Option<String> {
    let query = format!("&InstanceId.1={id}");
    loop {
        let body = client.call("DescribeInstances", &query);
        // The instance's own state comes first; those of its parts have other elements.
        if body.contains(&format!("<name>{wanted}</name>")) {
            return texts(body, "ipAddress").first().map(ToString::to_string);
        }
        assert!(begun.elapsed() < PATIENCE, "{id} is not {wanted}: {body}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until an ssh server says its name.
pub fn banner(server: SocketAddr, patience: Duration) {
    let begun = Instant::now();
    loop {
        let said = TcpStream::connect_timeout(&server, Duration::from_millis(200)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut start = [0; 4];
            stream.read_exact(&mut start)?;
            Ok(start)
        });
        if said.is_ok_and(|start| start == *b"SSH-") {
            return;
        }
        assert!(begun.elapsed() < patience, "no ssh at {server}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
