//! `nube ssh i-…`, or a public DNS name: ssh with the address, the user, the key and the host identity filled in.

use crate::cli::Ssh;
use crate::cloud_files::CloudDir;
use crate::{client, config};
use anyhow::{Context as _, Result, bail};
use model::{InstanceId, Region};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The tag of an image that names the user to log in as.
pub const USER_TAG: &str = "nube:default-user";

pub fn run(arguments: &Ssh) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let (instance, region, xml) = find(&dir, &arguments.instance)?;
    let ipv6 =
        || client::text(&xml, "ipv6Address").filter(|_| client::text(&xml, "privateIpAddress").is_none());
    let Some(address) = client::text(&xml, "ipAddress").or_else(ipv6) else {
        let state =
            client::text(&xml, "instanceState").and_then(|s| client::text(s, "name")).unwrap_or("gone");
        bail!("{instance} has no public address (it is {state})");
    };
    let user = match &arguments.login {
        Some(login) => login.clone(),
        None => default_user(&dir, &region, &xml)?,
    };
    let key = arguments.identity.clone().or_else(|| client::text(&xml, "keyName").and_then(find_key));
    #[allow(
        clippy::disallowed_methods,
        reason = "this process becomes ssh; nothing is left of it to simulate"
    )]
    let mut ssh = std::process::Command::new("ssh");
    // The instance's id, not its address, which another instance may get, is what the host key is remembered by.
    ssh.arg("-o").arg(format!("HostKeyAlias={instance}"));
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", dir.known_hosts().display()));
    ssh.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]);
    if let Some(key) = key {
        ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
    }
    ssh.args(["-l", &user]).arg(address).args(&arguments.command);
    Err(ssh.exec()).context("cannot start ssh (package openssh-client)")
}

/// The region that has the instance, of those that the cloud was told to serve; the first if none has.
fn region_of(dir: &CloudDir, instance: InstanceId) -> Result<Region> {
    let regions = dir.read()?.regions;
    let id = instance.to_string();
    let filter = [("Filter.1.Name", "instance-id"), ("Filter.1.Value.1", id.as_str())];
    for region in &regions[1..] {
        let xml = client::call(dir, region, "DescribeInstances", &filter)?;
        if client::text(&xml, "instanceId").is_some() {
            return Ok(region.clone());
        }
    }
    Ok(regions[0].clone())
}

/// The instance, its region and its description: by id, or by public DNS name in the name's own region.
fn find(dir: &CloudDir, asked: &str) -> Result<(InstanceId, Region, String)> {
    let cloud = dir.read()?;
    let name = asked.trim_end_matches('.').to_ascii_lowercase();
    let is_below =
        |region: &&Region| name.strip_suffix(&region.public_domain()).is_some_and(|host| host.ends_with('.'));
    if let Some(region) = cloud.regions.iter().find(is_below) {
        let filter = [("Filter.1.Name", "dns-name"), ("Filter.1.Value.1", name.as_str())];
        let xml = client::call(dir, region, "DescribeInstances", &filter)?;
        let id = client::text(&xml, "instanceId");
        let id = id.with_context(|| format!("no instance is called {name} now"))?;
        return Ok((InstanceId::parse(id)?, region.clone(), xml));
    }
    let instance = InstanceId::parse(asked)?;
    let region = region_of(dir, instance)?;
    let xml = client::call(dir, &region, "DescribeInstances", &[("InstanceId.1", &instance.to_string())])?;
    Ok((instance, region, xml))
}

/// How many images that were made of images are looked through.
const GENERATIONS: usize = 8;

/// The user of an instance's image, or of the one that it descends from. An image may be gone while its instances run.
fn default_user(dir: &CloudDir, region: &Region, instance: &str) -> Result<String> {
    let mut region = region.clone();
    let mut image = client::text(instance, "imageId").context("the instance names no image")?.to_owned();
    for _ in 0..GENERATIONS {
        let Ok(xml) = client::call(dir, &region, "DescribeImages", &[("ImageId.1", &image)]) else { break };
        let tag = xml.split("<item>").find(|item| client::text(item, "key") == Some(USER_TAG));
        if let Some(user) = tag.and_then(|item| client::text(item, "value")) {
            return Ok(user.to_owned());
        }
        let Some(source) = client::text(&xml, "sourceImageId") else { break };
        source.clone_into(&mut image);
        if let Some(there) = client::text(&xml, "sourceImageRegion").and_then(Region::parse) {
            region = there;
        }
    }
    Ok("ec2-user".to_owned())
}

/// `NAME.pem` or `NAME`, here or in ~/.ssh.
fn find_key(name: &str) -> Option<PathBuf> {
    let folders = [Some(PathBuf::from(".")), config::home().map(|home| home.join(".ssh"))];
    let files = folders.into_iter().flatten().flat_map(|f| [f.join(format!("{name}.pem")), f.join(name)]);
    files.into_iter().find(|file| file.is_file())
}
