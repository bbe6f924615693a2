//! A cloud's directory: what was decided when it was made, its root credentials, and where everything else lies.
//!
//! ```text
//! DATA/cloud.json      tag, host kind, listen address, regions, public pool, TLS, resolver
//! DATA/ca.key ca.pem   the certificate authority of a cloud with TLS, see the module tls
//! DATA/credentials     the root access key, mode 0600
//! DATA/blocks-credentials  what the bucket of the snapshots' blocks is used with, mode 0600
//! DATA/root.key         what the secrets in the store are sealed with, mode 0600
//! DATA/downs           how often the cloud was taken down
//! DATA/store.redb      the control plane's records
//! DATA/store.redb.journal  its newest commits
//! DATA/images/         the images that the cloud's AMIs stand for, by digest
//! DATA/agent/ vms/ volumes/ net/   the host's state
//! DATA/transfers/      disks that are being imported or exported
//! DATA/run/            locks and sockets of the running processes
//! DATA/logs/
//! ```

use crate::blocks_place;
use crate::config::HostKind;
use crate::emulator::Emulator;
use crate::operation::Operation;
use crate::template;
use anyhow::{Context as _, Result, bail};
use control::{Buckets, PublicImages, RegionSettings, Settings};
use ipnet::{Ipv4Net, Ipv6Net};
use model::{AccessKeyId, AccountId, ByoipGrant, CloudTag, Overcommit, Region, ServiceRanges, region};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The account of the operator, unless another is made.
pub const ROOT_ACCOUNT: AccountId = AccountId::from_number(0);

/// How long the status checks of real machines take.
const STATUS_CHECKS: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudFile {
    pub tag: CloudTag,
    pub host: HostKind,
    pub listen: SocketAddr,
    pub regions: Vec<Region>,
    pub public_pool: Ipv4Net,
    /// Who may bring which further public addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byoip: Vec<ByoipGrant>,
    /// Where the services beside the cloud are that gateway endpoints lead to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_services: Vec<ServiceRanges>,
    /// Where IPv6 blocks come from; none: see [`CloudFile::ipv6_pool`].
    #[serde(default)]
    pub ipv6_pool: Option<Ipv6Net>,
    /// How often the host's processors and memory are promised.
    #[serde(default)]
    pub overcommit: Overcommit,
    /// Whether the API speaks TLS too.
    #[serde(default)]
    pub tls: bool,
    /// Where public DNS names are answered on this host.
    #[serde(default)]
    pub dns: Option<SocketAddr>,
    /// Whether and how launches are resumed from memory templates.
    #[serde(default)]
    pub templates: template::Settings,
    /// Whether instances are held to the network bandwidth of their types.
    #[serde(default = "yes")]
    pub bandwidth: bool,
    /// What lies in here are the buckets that disks are imported from and exported to.
    #[serde(default)]
    pub buckets: Option<PathBuf>,
    /// Where the blocks of its snapshots lie; none: in its directory.
    #[serde(default)]
    pub blocks: Option<blocks_place::Remote>,
    /// How it is watched.
    #[serde(default)]
    pub operation: Operation,
}

const fn yes() -> bool {
    true
}

/// An account's root access key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub access_key_id: AccessKeyId,
    pub secret_access_key: String,
    pub account: AccountId,
}

/// Paths below a cloud's directory.
#[derive(Debug, Clone)]
pub struct CloudDir(PathBuf);

impl CloudDir {
    /// Makes the directory (mode 0711) if it is not there.
    pub fn create(path: &Path) -> Result<Self> {
        // Machines run as users of their own and must reach their disks: they may pass through, not look around.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        Self::at(path)
    }

    /// The directory of a cloud that was made before.
    pub fn existing(path: &Path) -> Result<Self> {
        if !path.join("cloud.json").exists() {
            bail!(
                "there is no cloud in {}; start one with: nube up --data {}",
                path.display(),
                path.display()
            );
        }
        Self::at(path)
    }

    fn at(path: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }

    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// The block store of its host.
    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// What all files of flow logs lie below, by bucket.
    pub fn flow_logs(&self) -> PathBuf {
        self.0.join("flow-logs")
    }

    /// What disks that are imported or exported are converted in.
    pub fn transfers(&self) -> PathBuf {
        self.0.join("transfers")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub fn agent_socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// Where the agent hands over what came to VPC endpoints.
    pub fn endpoint_socket(&self) -> PathBuf {
        self.run().join("endpoints.sock")
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.run().join("admin.sock")
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    pub fn read(&self) -> Result<CloudFile> {
        read_json(&self.0.join("cloud.json"))
    }

    pub fn read_if_there(&self) -> Result<Option<CloudFile>> {
        if self.0.join("cloud.json").exists() { self.read().map(Some) } else { Ok(None) }
    }

    pub fn write(&self, cloud: &CloudFile) -> Result<()> {
        write_json(&self.0.join("cloud.json"), cloud, 0o644)
    }

    /// How often this cloud was taken down.
    pub fn downs(&self) -> u64 {
        read_json(&self.0.join("downs")).unwrap_or(0)
    }

    pub fn count_down(&self) -> Result<()> {
        write_json(&self.0.join("downs"), &(self.downs() + 1), 0o644)
    }

    pub fn credentials(&self) -> Result<Credentials> {
        read_json(&self.0.join("credentials"))
    }

    /// The root credentials, made if there are none.
    pub fn ensure_credentials(&self) -> Result<Credentials> {
        let path = self.0.join("credentials");
        if path.exists() {
            return self.credentials();
        }
        let credentials = Credentials {
            access_key_id: AccessKeyId::from_entropy("AKIA", random_bits()?),
            secret_access_key: random_secret()?,
            account: ROOT_ACCOUNT,
        };
        write_json(&path, &credentials, 0o600)?;
        Ok(credentials)
    }
}

impl CloudFile {
    /// A real host has the regions of its file, with up to three zones each. A simulated one has every commercial region
    /// beside them, with the zones that AWS has there.
    pub fn settings(&self, emulator: Emulator) -> Settings {
        let mut regions = self.regions.clone();
        let (zones, public_images, status_checks) = match self.host {
            HostKind::Linux => (3, PublicImages::Listed, STATUS_CHECKS),
            HostKind::Sim => {
                let others = region::COMMERCIAL.iter().filter_map(|facts| Region::parse(facts.name));
                regions.extend(others.filter(|other| !self.regions.contains(other)));
                (usize::MAX, PublicImages::Launchable, emulator.status_checks())
            }
        };
        let regions = regions.into_iter().map(|region| RegionSettings {
            zones: region::zones(&region).into_iter().take(zones).collect(),
            region,
        });
        Settings {
            tag: self.tag.clone(),
            regions: regions.collect(),
            public_pool: self.public_pool,
            byoip: self.byoip.clone(),
            gateway_services: self.gateway_services.clone(),
            ipv6_pool: self.ipv6_pool(),
            overcommit: self.overcommit,
            public_images,
            status_checks,
            buckets: self.buckets.clone().map(Buckets::new),
        }
    }

    /// What the operator gave, else unique local addresses that follow from the tag.
    pub fn ipv6_pool(&self) -> Ipv6Net {
        self.ipv6_pool.unwrap_or_else(|| plan::net::ipv6::default_pool(&self.tag))
    }

    /// Where clients of this host find the API.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme(), self.listen)
    }

    /// Where instances find the API.
    pub fn endpoint_inside(&self) -> String {
        format!("{}://{}", self.scheme(), plan::net::API_NAME)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

pub fn random_bits() -> Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(u128::from_le_bytes(bytes))
}

/// 40 characters, as AWS's secret keys have.
pub fn random_secret() -> Result<String> {
    use base64::Engine as _;
    let mut bytes = [0; 30];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize, mode: u32) -> Result<()> {
    write_whole(path, &serde_json::to_vec_pretty(value)?, mode)
}

/// Replaces a file as a whole: whoever reads it sees the old or the new one.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
