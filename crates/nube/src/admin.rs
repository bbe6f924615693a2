//! The operator's socket: questions to the running server, and what only the operator may ask of it, for whoever may read the cloud's directory.
//!
//! One line of JSON in, one line out; the socket has mode 0600.

use crate::account;
use crate::cloud_files::CloudDir;
use crate::inventory::{self, Selection};
use crate::metrics::Metrics;
use crate::{fork, template, trace};
use anyhow::{Context as _, Result};
use control::Cloud;
use model::InstanceId;
use model::host::{ObjectStatus, Reply, Request};
use model::record::instance::Instance;
use plan::instance::Host;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    Status,
    CreateAccount,
    /// What the cloud carries, for `nube ps`.
    Inventory(Selection),
    /// The metrics, as text.
    Metrics,
    /// These three are answered by the host, with a [`Reply`].
    Templates,
    BuildTemplate {
        image: String,
        instance_type: String,
    },
    RemoveTemplate {
        key: String,
    },
    /// The answer is a [`trace::Answer`].
    Trace(InstanceId),
    /// The answer is a [`fork::Answer`].
    Fork {
        instance: InstanceId,
        count: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    pub revision: u64,
    pub host_connected: bool,
    pub host: Option<String>,
    pub host_boot: Option<String>,
    /// Instances by state.
    pub instances: std::collections::BTreeMap<String, usize>,
    /// What of the host may be promised, and is.
    pub room: Option<Room>,
    /// What is not at rest, in the control plane and on the host.
    pub unsettled: Vec<ObjectStatus>,
}

/// What may be promised, overcommit included, and what is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Room {
    pub vcpus: u64,
    pub vcpus_used: u64,
    pub memory_mib: u64,
    pub memory_mib_used: u64,
}

/// What the server contributes beside the cloud: the state of its reconcilers.
pub type Reconcilers = Arc<dyn Fn() -> Vec<ObjectStatus> + Send + Sync>;

/// Answers questions until dropped.
pub async fn serve(
    dir: CloudDir,
    cloud: Arc<Cloud>,
    reconcilers: Reconcilers,
    metrics: Arc<Metrics>,
) -> Result<()> {
    let path = dir.admin_socket();
    let _ = std::fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (cloud, reconcilers) = (Arc::clone(&cloud), Arc::clone(&reconcilers));
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &cloud, &reconcilers, &metrics).await {
                tracing::debug!(%error, "a question on the admin socket went unanswered");
            }
        });
    }
}

async fn converse(
    stream: UnixStream,
    cloud: &Arc<Cloud>,
    reconcilers: &Reconcilers,
    metrics: &Metrics,
) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = match serde_json::from_str(&line)? {
            Question::Status => serde_json::to_vec(&status(cloud, reconcilers).await)?,
            Question::CreateAccount => serde_json::to_vec(&account::create(cloud).await?)?,
            Question::Inventory(selection) => {
                let unsettled = unsettled(cloud, reconcilers).await;
                let mut inventory = inventory::take(cloud, &unsettled, &selection);
                inventory.set_origins(&template::origins(cloud).await);
                serde_json::to_vec(&inventory)?
            }
            Question::Metrics => serde_json::to_vec(&metrics.render())?,
            Question::Templates => serde_json::to_vec(&ask_host(cloud, Request::Templates).await)?,
            Question::BuildTemplate { image, instance_type } => {
                serde_json::to_vec(&template::build(cloud, &image, &instance_type).await)?
            }
            Question::RemoveTemplate { key } => {
                serde_json::to_vec(&ask_host(cloud, Request::RemoveTemplate { key }).await)?
            }
            Question::Fork { instance, count } => {
                serde_json::to_vec(&fork::answer(cloud, instance, count).await)?
            }
            Question::Trace(instance) => serde_json::to_vec(&trace::answer(cloud, instance).await)?,
        };
        answer.push(b'\n');
        writer.write_all(&answer).await?;
    }
    Ok(())
}

/// What is not at rest, in the control plane and on the host.
async fn unsettled(cloud: &Cloud, reconcilers: &Reconcilers) -> Vec<ObjectStatus> {
    let mut unsettled = reconcilers();
    if let Ok(Reply::Status { objects }) = cloud.host.request(Request::Status).await {
        unsettled.extend(objects);
    }
    // What only waits for its next turn is at rest.
    unsettled.retain(|object| object.last_error.is_some());
    unsettled
}

async fn status(cloud: &Cloud, reconcilers: &Reconcilers) -> Status {
    let unsettled = unsettled(cloud, reconcilers).await;
    let hello = cloud.host.hello();
    let tables = cloud.view.read();
    let mut instances = std::collections::BTreeMap::new();
    for (_, instance) in tables.everywhere::<Instance>() {
        *instances.entry(instance.phase.name().to_owned()).or_default() += 1;
    }
    Status {
        revision: tables.revision(),
        host_connected: cloud.host.is_connected(),
        host: hello.as_ref().map(|h| h.host.clone()),
        host_boot: hello.map(|h| h.boot_id),
        instances,
        room: room(cloud, &tables),
        unsettled,
    }
}

/// What of the host may be promised and is; none before it has told, and of a host that has whatever is asked of it.
pub fn room(cloud: &Cloud, tables: &control::Tables) -> Option<Room> {
    let Host::Real(facts) = ec2::instance::host(cloud, tables) else { return None };
    let (most, used) = (facts.most(), facts.used);
    Some(Room {
        vcpus: most.vcpus,
        vcpus_used: used.vcpus,
        memory_mib: most.memory,
        memory_mib_used: used.memory,
    })
}

/// Asks the host of a running cloud, from within its server.
pub async fn ask_host(cloud: &Cloud, request: Request) -> Reply {
    cloud.host.request(request).await.unwrap_or_else(|error| Reply::Failed { reason: error.to_string() })
}

/// Asks the running server.
pub fn ask<T: DeserializeOwned>(dir: &CloudDir, question: &Question) -> Result<T> {
    ask_patiently(dir, question, Duration::from_secs(15))
}

/// The same for what may take longer.
pub fn ask_patiently<T: DeserializeOwned>(
    dir: &CloudDir,
    question: &Question,
    patience: Duration,
) -> Result<T> {
    let mut stream =
        std::os::unix::net::UnixStream::connect(dir.admin_socket()).context("the server does not answer")?;
    stream.set_read_timeout(Some(patience))?;
    let mut question = serde_json::to_vec(question)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).context("the server's answer cannot be read")
}
