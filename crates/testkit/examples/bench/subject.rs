//! What is launched: an image, on which type, and how one logs in to it.

use crate::client::{Client, texts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Subject {
    /// Its name in the host's cache.
    pub image: &'static str,
    /// As a filter for its AMI's name.
    ami: &'static str,
    pub instance_type: &'static str,
    user: &'static str,
    /// The root disk of a plain machine of it, as `qemu-img` takes sizes.
    pub disk: &'static str,
    /// For ssh after a boot.
    pub patience: Duration,
}

pub const NANO: Subject = Subject {
    image: "nano",
    ami: "nube/nano-*",
    instance_type: "t3.nano",
    user: "ec2-user",
    disk: "1G",
    patience: Duration::from_mins(2),
};

/// Needs `nube image build debian-12`.
pub const DEBIAN: Subject = Subject {
    image: "debian-12",
    ami: "debian-12-amd64-*",
    instance_type: "t3.micro",
    user: "admin",
    disk: "8G",
    patience: Duration::from_mins(10),
};

/// What a launch takes, in one cloud.
pub struct Prepared {
    pub subject: &'static Subject,
    /// The image's id.
    pub image: String,
    keys: TempDir,
}

impl Subject {
    pub fn title(&self) -> String {
        format!("{} with the image {}", self.instance_type, self.image)
    }

    /// Finds the image, brings a key along, and lets ssh in from everywhere.
    pub fn prepare(&'static self, client: &mut Client) -> Prepared {
        let wanted = format!(
            "&Filter.1.Name=name&Filter.1.Value.1={}&Filter.2.Name=architecture&Filter.2.Value.1=x86_64",
            self.ami
        );
        let images = client.call("DescribeImages", &wanted);
        let image =
            texts(images, "imageId").first().unwrap_or_else(|| panic!("{} is built", self.image)).to_string();
        let groups =
            client.call("DescribeSecurityGroups", "&Filter.1.Name=group-name&Filter.1.Value.1=default");
        let group = texts(groups, "groupId")[0].to_owned();
        client.call(
            "AuthorizeSecurityGroupIngress",
            &format!("&GroupId={group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0"),
        );
        let keys = TempDir::new().unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"])
            .arg(keys.path().join("key"))
            .status();
        assert!(made.unwrap().success(), "no key");
        let prepared = Prepared { subject: self, image, keys };
        // Base64, whose digits beyond letters and figures a form must quote.
        let material = STANDARD.encode(prepared.public_key());
        let material = material.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        client.call("ImportKeyPair", &format!("&KeyName=bench&PublicKeyMaterial={material}"));
        prepared
    }
}

impl Prepared {
    /// The parameters of a launch of so many.
    pub fn request(&self, count: usize) -> String {
        let Subject { instance_type, .. } = self.subject;
        format!(
            "&ImageId={}&InstanceType={instance_type}&KeyName=bench&MinCount={count}&MaxCount={count}",
            self.image
        )
    }

    /// One line, as an `authorized_keys` file has it.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.keys.path().join("key.pub")).unwrap().trim().to_owned()
    }

    /// Waits until the key opens a session.
    pub fn log_in(&self, address: IpAddr) {
        let begun = Instant::now();
        while !self.opens(address) {
            assert!(begun.elapsed() < self.subject.patience, "no login at {address}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn opens(&self, address: IpAddr) -> bool {
        self.ssh(SocketAddr::new(address, 22), "true").is_ok()
    }

    /// Runs a command in a machine; what it printed, or how it failed.
    pub fn ssh(&self, server: SocketAddr, command: &str) -> Result<String, String> {
        let options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "ConnectTimeout=10",
            "LogLevel=ERROR",
        ];
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg("/dev/null").arg("-i").arg(self.keys.path().join("key"));
        ssh.args(options.iter().flat_map(|option| ["-o", option]));
        ssh.args([
            "-p",
            &server.port().to_string(),
            &format!("{}@{}", self.subject.user, server.ip()),
            command,
        ]);
        let done = ssh.stdin(Stdio::null()).output().unwrap();
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// Where the cloud in this directory keeps the image's files.
    pub fn folder(&self, data: &Path) -> PathBuf {
        let folders = fs::read_dir(data.join("images")).unwrap().flatten().map(|entry| entry.path());
        let is_meant = |folder: &PathBuf| {
            let manifest = fs::read(folder.join("manifest.json")).unwrap_or_default();
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
            manifest["name"] == self.subject.image
        };
        folders.into_iter().find(is_meant).unwrap_or_else(|| panic!("{} is built", self.subject.image))
    }
}
