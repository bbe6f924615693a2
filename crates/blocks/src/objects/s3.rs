//! Objects in a bucket of any S3 that heeds `If-None-Match: *` and lists what it has.
//!
//! ```text
//! s3://BUCKET/PREFIX/format           the store's version, and whose it is
//! s3://BUCKET/PREFIX/objects/KEY      the objects
//! s3://BUCKET/PREFIX/probe/RANDOM     there while the server is tried
//! ```
//! Before the first call of a process the server is tried: one that overwrites what must not be overwritten, hides what was just
//! written, or keeps what was deleted, is refused, for the store's proofs stand on that. A store has one owner, which is told by
//! `format`; others are refused. Opening needs no network, so a cloud starts while its store is out of reach.
//!
//! A request is sent again, with longer and longer pauses, for [`PATIENCE`]; then it is an error. Since one whose answer was lost is
//! sent again too, [`Put::Exists`] may speak of what the same call wrote.
//! Requests run on threads of this store's own; calls block their own thread and no other.
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>

mod http;

use super::{Head, Objects, Put, Result, check_name};
use crate::error::ObjectError;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    PutResult, RetryConfig,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a request is sent again. A machine that reads what its volume lacks waits for so long, too.
const PATIENCE: Duration = Duration::from_mins(1);
/// Requests at once, of one process.
const AT_ONCE: usize = 32;
/// Puts that one snapshot has on their way.
const LANES: usize = 12;
/// Names that are held at once: as many as S3 lists by one request.
const PAGE: usize = 1000;
/// A put that meets what is gone when it is looked for is made again so often.
const TRIES: usize = 5;
const FORMAT: &str = "nube blocks 1";

/// Where a bucket's part is, and who may use it.
#[derive(Clone)]
pub struct S3Config {
    pub bucket: String,
    /// What all names begin with, without a slash at either end; empty for none.
    pub prefix: String,
    /// The server's URL; none: AWS's of the region. Buckets are parts of its path, not of its name.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// Who has this store to himself.
    pub owner: String,
    /// How long a request is sent again; none: a minute.
    pub patience: Option<Duration>,
}

impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bucket, prefix, endpoint, region, owner, .. } = self;
        f.debug_struct("S3Config")
            .field("bucket", bucket)
            .field("prefix", prefix)
            .field("endpoint", endpoint)
            .field("region", region)
            .field("owner", owner)
            .finish_non_exhaustive()
    }
}

pub struct S3 {
    store: Arc<AmazonS3>,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    /// What is in front of all names, empty or with a slash behind.
    root: String,
    /// As people write it.
    shown: String,
    owner: String,
    /// It was tried, and is this owner's.
    fit: AtomicBool,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("at", &self.shown).finish_non_exhaustive()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl S3 {
    /// Makes ready to use the bucket; nothing is asked of it yet.
    pub fn open(config: &S3Config) -> Result<Self> {
        let S3Config { bucket, prefix, region, .. } = config;
        let root = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let shown = format!("s3://{bucket}/{prefix}");
        let unfit = |e: object_store::Error| ObjectError::Unfit { store: shown.clone(), why: e.to_string() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key)
            .with_http_connector(http::Connector { kept: AT_ONCE })
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(5),
                    base: 2.0,
                },
                max_retries: usize::MAX,
                retry_timeout: config.patience.unwrap_or(PATIENCE),
            });
        if let Some(endpoint) = &config.endpoint {
            let endpoint = endpoint.trim_end_matches('/');
            builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
        }
        if let Some(token) = &config.session_token {
            builder = builder.with_token(token);
        }
        let store = Arc::new(builder.build().map_err(unfit)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(AT_ONCE)
            .thread_name("s3")
            .enable_time()
            .build()
            .map_err(|e| ObjectError::of("open", &shown, e))?;
        let (runtime, owner, fit) = (Some(runtime), config.owner.clone(), AtomicBool::new(false));
        Ok(Self { store, runtime, root, shown, owner, fit })
    }

    /// Tries whether the server keeps the promises that it must, and claims the store for its owner.
    pub fn check(&self) -> Result<()> {
        if self.fit.load(Ordering::Acquire) {
            return Ok(());
        }
        self.probe()?;
        self.claim()?;
        self.fit.store(true, Ordering::Release);
        Ok(())
    }

    fn unfit(&self, why: impl Into<String>) -> ObjectError {
        ObjectError::Unfit { store: self.shown.clone(), why: why.into() }
    }

    fn probe(&self) -> Result<()> {
        let mut dice = [0; 16];
        let rolled = SystemRandom::new().fill(&mut dice);
        rolled.map_err(|_| ObjectError::of("try", &self.shown, io::Error::other("no random numbers")))?;
        let mut name = String::from("probe/");
        for byte in dice {
            let _ = write!(name, "{byte:02x}");
        }
        let (path, folder) = (self.at(&name), self.at("probe"));
        let failed = |e| failed("try", &self.shown, e);
        match self.put(&path, b"first", PutMode::Create) {
            Ok(PutResult { version: Some(version), .. }) if version != "null" => {
                let _ = self.remove(vec![path]);
                return Err(self.unfit("the bucket keeps versions, so nothing that is deleted would be gone"));
            }
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
        let second = self.put(&path, b"second", PutMode::Create);
        let read = self.read(&path).map_err(failed)?;
        let listed = self.names(&folder, None).map_err(failed)?.contains(&path.to_string());
        self.remove(vec![path.clone()]).map_err(failed)?;
        let left = self.read(&path).map_err(failed)?;
        match second {
            Err(object_store::Error::AlreadyExists { .. }) if read.as_deref() == Some(b"first") => {}
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {
                return Err(
                    self.unfit("the server does not heed If-None-Match: *, and overwrites what is there")
                );
            }
            Err(e) => return Err(failed(e)),
        }
        if !listed {
            return Err(self.unfit("the server's lists lack what was just written"));
        }
        if left.is_some() {
            return Err(self.unfit("the server still has what was just deleted"));
        }
        Ok(())
    }

    fn claim(&self) -> Result<()> {
        let path = self.at("format");
        let own = format!("{FORMAT}\n{}\n", self.owner);
        let failed = |e| failed("open", &self.shown, e);
        match self.put(&path, own.as_bytes(), PutMode::Create) {
            Ok(_) => return Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
        let found = self.read(&path).map_err(failed)?.unwrap_or_default();
        if found == own.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&found);
        match found.trim_end().split_once('\n') {
            Some((FORMAT, owner)) => Err(self.unfit(format!("it belongs to the cloud {owner}"))),
            _ => Err(ObjectError::Format(self.shown.clone())),
        }
    }

    /// Deletes everything, and the claim last. Only its owner may.
    pub fn erase(&self) -> Result<()> {
        self.claim()?;
        let failed = |e| failed("erase", &self.shown, e);
        for folder in ["objects", "probe"] {
            loop {
                let names = self.names(&self.at(folder), None).map_err(failed)?;
                if names.is_empty() {
                    break;
                }
                self.remove(names.into_iter().map(Path::from).collect()).map_err(failed)?;
            }
        }
        self.fit.store(false, Ordering::Release);
        self.remove(vec![self.at("format")]).map_err(failed)
    }

    fn at(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.root))
    }

    fn path(&self, key: &str) -> Result<Path> {
        check_name(key)?;
        Ok(self.at(&format!("objects/{key}")))
    }

    /// Has it done by a thread of this store, and waits: on tokio's threads too, which must not drive another runtime.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> object_store::Result<T> {
        let ended = || object_store::Error::Generic { store: "S3", source: "the store was closed".into() };
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let (answer, answered) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = answer.send(work.await);
        });
        answered.recv().map_err(|_| ended())?
    }

    fn put(&self, path: &Path, bytes: &[u8], mode: PutMode) -> object_store::Result<PutResult> {
        let (store, path) = (Arc::clone(&self.store), path.clone());
        let payload = PutPayload::from(bytes.to_vec());
        self.run(async move { store.put_opts(&path, payload, PutOptions::from(mode)).await })
    }

    fn read(&self, path: &Path) -> object_store::Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), path.clone());
        found(self.run(async move { Ok(store.get(&path).await?.bytes().await?.to_vec()) }))
    }

    /// Full names below a folder, the first [`PAGE`] behind one.
    fn names(&self, folder: &Path, after: Option<&str>) -> object_store::Result<Vec<String>> {
        let (store, folder, after) = (Arc::clone(&self.store), folder.clone(), after.map(Path::from));
        self.run(async move {
            let objects = match &after {
                Some(after) => store.list_with_offset(Some(&folder), after),
                None => store.list(Some(&folder)),
            };
            objects.take(PAGE).map_ok(|object| object.location.to_string()).try_collect().await
        })
    }

    fn remove(&self, paths: Vec<Path>) -> object_store::Result<()> {
        let store = Arc::clone(&self.store);
        self.run(async move {
            let mut gone = store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
            while let Some(deleted) = gone.next().await {
                found(deleted)?;
            }
            Ok(())
        })
    }
}

impl Objects for S3 {
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let path = self.path(key)?;
        self.check()?;
        for _ in 0..TRIES {
            match self.put(&path, bytes, PutMode::Create) {
                Ok(_) => return Ok(Put::Written),
                // So says S3 also of two that put at once, of which none may have won, and of what is being deleted.
                Err(object_store::Error::AlreadyExists { .. }) if self.head(key, 0)?.is_some() => {
                    return Ok(Put::Exists);
                }
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(e) => return Err(failed("write", key, e)),
            }
        }
        Err(ObjectError::of("write", key, io::Error::other("it comes and goes")))
    }

    fn replace(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(key)?;
        self.check()?;
        self.put(&path, bytes, PutMode::Overwrite).map(drop).map_err(|e| failed("write", key, e))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        self.check()?;
        self.read(&path).map_err(|e| failed("read", key, e))
    }

    fn head(&self, key: &str, length: usize) -> Result<Option<Head>> {
        let path = self.path(key)?;
        self.check()?;
        let (store, at) = (Arc::clone(&self.store), path.clone());
        // Not HEAD: its answer has no body, which tells a bucket that is gone from an object that is.
        let range = GetRange::Bounded(0..length.max(1) as u64);
        let beginning = self.run(async move {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let got = store.get_opts(&at, options).await?;
            let size = got.meta.size;
            let mut bytes = got.bytes().await?.to_vec();
            bytes.truncate(length);
            Ok(Head { bytes, size })
        });
        match found(beginning) {
            Ok(head) => Ok(head),
            // An empty object has no first byte.
            Err(error) => match self.read(&path) {
                Ok(Some(bytes)) if bytes.is_empty() => Ok(Some(Head { bytes, size: 0 })),
                _ => Err(failed("read", key, error)),
            },
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        let folder = match prefix.strip_suffix('/') {
            Some(prefix) => self.path(prefix)?,
            None if prefix.is_empty() => self.at("objects"),
            None => return Err(ObjectError::Name(prefix.to_owned())),
        };
        self.check()?;
        let above = format!("{}objects/", self.root);
        let mut after: Option<String> = None;
        loop {
            let names = self.names(&folder, after.as_deref()).map_err(|e| failed("list", prefix, e))?;
            names.iter().filter_map(|name| name.strip_prefix(&above)).for_each(&mut *each);
            if names.len() < PAGE {
                return Ok(());
            }
            after = names.into_iter().next_back();
        }
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        let paths: Vec<Path> = keys.iter().map(|key| self.path(key)).collect::<Result<_>>()?;
        if paths.is_empty() {
            return Ok(());
        }
        self.check()?;
        self.remove(paths).map_err(|e| failed("delete", &keys[0], e))
    }

    fn lanes(&self) -> usize {
        LANES
    }
}

/// What is not there is no error, unless the bucket is not.
fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ object_store::Error::NotFound { .. }) if !error.to_string().contains("NoSuchBucket") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn failed(doing: &'static str, object: &str, error: object_store::Error) -> ObjectError {
    ObjectError::of(doing, object, io::Error::other(error))
}
