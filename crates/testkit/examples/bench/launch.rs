//! Launches of real machines: call → running → ssh banner, against a plain QEMU booting the same disk in the same run.

use crate::client::{Client, texts};
use crate::cloud::Cloud;
use crate::plain::{Plain, Recipe};
use crate::{process, table};
use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The host may have others beside it.
const IMAGE: &str = "nano";
const RUNS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(2);

pub fn run(nube: &std::path::Path) {
    let mut cloud = Cloud::new(nube, "linux");
    // What a boot takes; `clone` measures the rest.
    cloud.up_with(&["--templates", "off"]);
    let mut client = cloud.client();
    let image = open_ssh(&mut client);
    let recipe = boot_once(&cloud, &mut client, &image);
    let rows = alternate(&mut client, &image, &recipe, RUNS);
    table::print(
        &format!(
            "Launch of a t3.nano with the nano image ({RUNS} runs, medians; each alternating with plain QEMU)"
        ),
        &["", "median", "to plain QEMU"],
        &rows,
    );
}

/// A launch that boots, and the plain machine that is its like. It probes the accelerator and warms the page cache, too, and
/// counts for nothing.
pub fn boot_once(cloud: &Cloud, client: &mut Client, image: &str) -> Recipe {
    let folder = image_folder(cloud);
    let mut recipe = None;
    launch(client, image, |id| {
        let line = process::command_line("-name", id).expect("a running machine has a process");
        recipe = Some(Recipe::of(&line, &folder));
    });
    recipe.expect("the launch has been looked at")
}

/// Launches in turns with plain machines: the table's rows.
pub fn alternate(client: &mut Client, image: &str, recipe: &Recipe, runs: usize) -> Vec<Vec<String>> {
    let (mut calls, mut runnings, mut banners, mut plains) = (vec![], vec![], vec![], vec![]);
    for n in 1..=runs {
        let launched = launch(client, image, |_| {});
        let begun = Instant::now();
        let machine = Plain::boot(recipe);
        banner(machine.ssh);
        let plain = begun.elapsed();
        eprintln!(
            "  {n}: call {}, running {}, banner {}; plain {}",
            table::time(launched.call),
            table::time(launched.running),
            table::time(launched.banner),
            table::time(plain)
        );
        calls.push(launched.call);
        runnings.push(launched.running);
        banners.push(launched.banner);
        plains.push(plain);
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
        row("plain QEMU to ssh banner", &mut plains),
    ]
}

/// The nano image; ssh is let in from everywhere.
pub fn open_ssh(client: &mut Client) -> String {
    let wanted = format!(
        "&Filter.1.Name=name&Filter.1.Value.1=nube/{IMAGE}-*&Filter.2.Name=architecture&Filter.2.Value.1=x86_64"
    );
    let images = client.call("DescribeImages", &wanted);
    let image = texts(images, "imageId").first().expect("the nano image is built").to_string();
    let groups = client.call("DescribeSecurityGroups", "&Filter.1.Name=group-name&Filter.1.Value.1=default");
    let group = texts(groups, "groupId")[0].to_owned();
    client.call(
        "AuthorizeSecurityGroupIngress",
        &format!("&GroupId={group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"),
    );
    image
}

pub struct Launched {
    pub call: Duration,
    pub running: Duration,
    pub banner: Duration,
}

pub fn launch(client: &mut Client, image: &str, meanwhile: impl FnOnce(&str)) -> Launched {
    let begun = Instant::now();
    let made =
        client.call("RunInstances", &format!("&ImageId={image}&InstanceType=t3.nano&MinCount=1&MaxCount=1"));
    let call = begun.elapsed();
    let id = texts(made, "instanceId")[0].to_owned();
    let address = await_state(client, &id, "running", begun).expect("default subnets give public addresses");
    let running = begun.elapsed();
    banner(SocketAddr::new(address.parse().unwrap(), 22));
    let banner = begun.elapsed();
    meanwhile(&id);
    client.call("TerminateInstances", &format!("&InstanceId.1={id}"));
    await_state(client, &id, "terminated", Instant::now());
    Launched { call, running, banner }
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
pub fn banner(server: SocketAddr) {
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
        assert!(begun.elapsed() < PATIENCE, "no ssh at {server}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where the cloud keeps the files of the nano image.
fn image_folder(cloud: &Cloud) -> PathBuf {
    let folders = fs::read_dir(cloud.data().join("images")).unwrap().flatten().map(|entry| entry.path());
    let is_meant = |folder: &PathBuf| {
        let manifest = fs::read(folder.join("manifest.json")).unwrap_or_default();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
        manifest["name"] == IMAGE
    };
    folders.into_iter().find(is_meant).expect("the nano image is built")
}
