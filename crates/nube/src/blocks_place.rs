//! Where the blocks of a cloud's snapshots lie: in its directory, or in a bucket of any S3.
//!
//! ```text
//! DATA/cloud.json            bucket, prefix, endpoint, region
//! DATA/blocks-credentials    what the bucket is used with, mode 0600, as AWS's clients write it
//! ```
//! The processes that read and write blocks take both from the files, so each starts without the others. The bucket is chosen
//! before the first snapshot is taken and stays; the server's address and the credentials may change.

use crate::cloud_files::{CloudDir, CloudFile, write_whole};
use crate::config::HostKind;
use anyhow::{Context as _, Result, bail};
use blocks::{Place, S3, S3Config};
use clap::Args;
use model::CloudTag;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const REGION: &str = "us-east-1";

#[derive(Debug, Default, Args)]
pub struct BlocksFlags {
    /// A bucket for the blocks of snapshots, rather than the cloud's directory; remembered, and decided before the first snapshot.
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    blocks: Option<Bucket>,
    /// The S3 server of that bucket [default: AWS's]; remembered.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    blocks_endpoint: Option<String>,
    /// The region of that bucket [default: us-east-1]; remembered.
    #[arg(long, value_name = "REGION")]
    blocks_region: Option<String>,
    /// A file with the access key for that bucket, as ~/.aws/credentials, readable by its owner alone; it is copied.
    #[arg(long, value_name = "FILE")]
    blocks_credentials: Option<PathBuf>,
}

/// A bucket, and what the names in it begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    bucket: String,
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    #[serde(flatten)]
    at: Bucket,
    endpoint: Option<String>,
    region: String,
}

struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no s3://BUCKET/PREFIX of letters, digits, dashes and dots");
        let place = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |part: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits)
        };
        if plain(bucket) && (prefix.is_empty() || prefix.split('/').all(plain)) {
            Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        } else {
            Err(wrong())
        }
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host.map(|host| host.trim_end_matches('/')) {
        // What stands before an @ would be a password, and this is remembered for everybody to read.
        Some(host) if !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("give http://HOST:PORT or https://HOST:PORT".to_owned()),
    }
}

impl Credentials {
    /// Reads the first profile of a file.
    fn read(path: &Path) -> Result<Self> {
        let about = || format!("the credentials in {}", path.display());
        let mode = fs::metadata(path).with_context(about)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("others may read {}; first: chmod 600 {}", path.display(), path.display());
        }
        let text = fs::read_to_string(path).with_context(about)?;
        Self::parse(&text).with_context(|| format!("{} lacks an access key or its secret", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let lines = || text.lines().map(str::trim);
        let first = lines().position(|line| line.starts_with('[')).map_or(0, |at| at + 1);
        let profile = || lines().skip(first).take_while(|line| !line.starts_with('['));
        let value = |name: &str| {
            let mut pairs = profile().filter_map(|line| line.split_once('='));
            let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        Some(Self {
            access_key_id: value("aws_access_key_id")?,
            secret_access_key: value("aws_secret_access_key")?,
            session_token: value("aws_session_token"),
        })
    }

    fn render(&self) -> String {
        let Self { access_key_id, secret_access_key, session_token } = self;
        let token = session_token.as_ref().map_or_else(String::new, |t| format!("aws_session_token = {t}\n"));
        format!(
            "[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n{token}"
        )
    }
}

impl Remote {
    fn config(&self, credentials: Credentials, owner: &CloudTag) -> S3Config {
        S3Config {
            bucket: self.at.bucket.clone(),
            prefix: self.at.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
            owner: owner.to_string(),
            patience: None,
        }
    }
}

fn credentials_file(dir: &CloudDir) -> PathBuf {
    dir.path().join("blocks-credentials")
}

impl BlocksFlags {
    /// What was known, with what this start changes. A bucket that is named is tried before it is remembered.
    pub fn settle(&self, dir: &CloudDir, cloud: &CloudFile, host: HostKind) -> Result<Option<Remote>> {
        let Self { blocks, blocks_endpoint, blocks_region, blocks_credentials } = self;
        let known = cloud.blocks.as_ref();
        let is_given = blocks.is_some()
            || blocks_endpoint.is_some()
            || blocks_region.is_some()
            || blocks_credentials.is_some();
        if !is_given {
            return Ok(known.cloned());
        }
        if host == HostKind::Sim {
            bail!("simulated machines have no blocks that --blocks could keep");
        }
        let at = match (blocks, known) {
            (Some(at), Some(known)) if *at != known.at => {
                bail!("this cloud's snapshots are in {}; that cannot change", known.at);
            }
            (Some(_), None) if has_snapshots(dir)? => {
                bail!("this cloud's snapshots are in {}; that cannot change", dir.snapshots().display());
            }
            (Some(at), _) => at.clone(),
            (None, Some(known)) => known.at.clone(),
            (None, None) => bail!("name the bucket too: --blocks s3://BUCKET/PREFIX"),
        };
        let region = blocks_region.clone().or_else(|| known.map(|known| known.region.clone()));
        let remote = Remote {
            endpoint: blocks_endpoint.clone().or_else(|| known.and_then(|known| known.endpoint.clone())),
            region: region.unwrap_or_else(|| REGION.to_owned()),
            at,
        };
        let own = credentials_file(dir);
        let source = blocks_credentials.as_ref().unwrap_or(&own);
        if blocks_credentials.is_none() && !own.exists() {
            bail!("name the file with the bucket's access key too: --blocks-credentials FILE");
        }
        let credentials = Credentials::read(source)?;
        let rendered = credentials.render();
        let cannot = || format!("snapshots cannot be kept in {}", remote.at);
        S3::open(&remote.config(credentials, &cloud.tag)).and_then(|s3| s3.check()).with_context(cannot)?;
        write_whole(&own, rendered.as_bytes(), 0o600)?;
        Ok(Some(remote))
    }
}

/// Whether some snapshot is, or is about to be, in the cloud's directory.
fn has_snapshots(dir: &CloudDir) -> Result<bool> {
    for below in ["objects/snapshots", "objects/sessions", "captures", "archive"] {
        let path = dir.snapshots().join(below);
        if path.exists() && fs::read_dir(&path).with_context(|| path.display().to_string())?.next().is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How the cloud's block store is opened.
pub fn place(dir: &CloudDir, cloud: &CloudFile) -> Result<Place> {
    let Some(remote) = &cloud.blocks else { return Ok(Place::Directory) };
    let credentials = Credentials::read(&credentials_file(dir))?;
    Ok(Place::S3(Box::new(remote.config(credentials, &cloud.tag))))
}

/// Deletes what a cloud that ends for good has in its bucket.
pub fn erase(dir: &CloudDir, cloud: &CloudFile) -> Result<()> {
    let (Place::S3(config), Some(remote)) = (place(dir, cloud)?, &cloud.blocks) else { return Ok(()) };
    let erased = S3::open(&config).and_then(|s3| s3.erase());
    erased.with_context(|| format!("the snapshots in {} cannot be deleted", remote.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_with_what_its_names_begin_with() {
        let bucket: Bucket = "s3://lab/nube/one/".parse().unwrap();
        assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_str()), ("lab", "nube/one"));
        assert_eq!("s3://lab".parse::<Bucket>().unwrap().prefix, "");
        for wrong in ["lab", "s3://", "s3:///a", "s3://a//b", "s3://a/../b", "s3://a/b c", "http://a/b"] {
            assert!(wrong.parse::<Bucket>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_holds_no_password() {
        assert_eq!(endpoint("http://127.0.0.1:9000/").unwrap(), "http://127.0.0.1:9000");
        for wrong in ["127.0.0.1:9000", "http://", "https://me:secret@host", "http://host/path", "ftp://host"]
        {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_read_as_awss_clients_write_them_and_from_a_private_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials");
        let text = "# mine\n[default]\naws_access_key_id=AK\naws_secret_access_key = s=/+\n[other]\naws_session_token = no\n";
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Credentials::read(&file).is_err_and(|e| e.to_string().contains("chmod 600")));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let read = Credentials::read(&file).unwrap();
        let again = Credentials::parse(&read.render()).unwrap();
        for one in [read, again] {
            assert_eq!((one.access_key_id.as_str(), one.secret_access_key.as_str()), ("AK", "s=/+"));
            assert_eq!(one.session_token, None);
        }
        assert!(Credentials::parse("[default]\naws_access_key_id = AK\n").is_none());
    }
}
