//! The command line: what can be asked of `nube`.

use crate::config::{self, HostKind};
use crate::{account, agent_process, down, env, image, server_process, ssh, status, up};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// An EC2-compatible cloud on this machine.
#[derive(Debug, Parser)]
#[command(name = "nube", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cloud until interrupted. Instances keep running when it ends.
    Up(Up),
    /// Stop a cloud and every machine, namespace, link and rule of it.
    Down(Down),
    /// Print the shell lines that point AWS clients at a cloud: eval "$(nube env)".
    Env(Env),
    /// Log in to an instance with ssh.
    Ssh(Ssh),
    /// Show how a cloud and its host are.
    Status(Status),
    /// List the machine images of this host, or build one.
    Image(Image),
    /// Make an account of a running cloud.
    Account(Account),
    /// The control plane of a cloud; started by `up`.
    #[command(hide = true)]
    Server(Data),
    /// The host loop of a cloud; started by `up`.
    #[command(hide = true)]
    Agent(Data),
    /// Becomes a machine's process inside its sandbox; started by the agent.
    #[command(hide = true)]
    #[command(name = "vm-exec")]
    VmExec,
}

#[derive(Debug, Args)]
pub struct Data {
    /// Where the cloud keeps its state.
    #[arg(long, default_value_os_t = config::default_data_dir(), value_name = "DIR")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub data: Data,
    /// Real machines, or simulated ones that need no privileges.
    #[arg(long, value_enum)]
    pub host: Option<HostKind>,
    /// Where the API listens.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// The regions to serve, the first being the default [default: us-east-1]
    #[arg(long, value_delimiter = ',', value_name = "REGION")]
    pub regions: Vec<String>,
    /// Where public addresses come from [default: a free /22 inside 198.18.0.0/15]
    #[arg(long, value_name = "CIDR")]
    pub public_pool: Option<Ipv4Net>,
    /// Print one JSON object instead of prose.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Down {
    #[command(flatten)]
    pub data: Data,
    /// Delete the cloud's state too: volumes, records, credentials.
    #[arg(long)]
    pub purge: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Env {
    #[command(flatten)]
    pub data: Data,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Ssh {
    #[command(flatten)]
    pub data: Data,
    /// The instance's id.
    pub instance: String,
    /// The private key [default: KEYNAME.pem here or in ~/.ssh, else what ssh finds itself]
    #[arg(short = 'i', long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The user to log in as [default: the image's]
    #[arg(short = 'l', long)]
    pub login: Option<String>,
    /// A command to run there.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub data: Data,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Account {
    #[command(subcommand)]
    pub command: AccountCommand,
}

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account and print its root access key; the secret is not shown again.
    Create {
        #[command(flatten)]
        data: Data,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Image {
    /// Where this host keeps images for all its clouds.
    #[arg(long, default_value_os_t = config::default_image_cache(), value_name = "DIR")]
    pub cache: PathBuf,
    #[command(subcommand)]
    pub command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images of this host.
    List {
        #[arg(long)]
        json: bool,
    },
    /// Import a cloud image: a qcow2, raw or vmdk disk that boots by firmware.
    Import(Import),
    /// Build an image.
    Build {
        /// `nano`: a kernel, busybox and ssh; boots in seconds. `nano-arm64`: the same for Arm. `debian-12`: the distribution with cloud-init.
        name: String,
        /// The guest agent's program [default: beside nube]
        #[arg(long, value_name = "FILE")]
        guest: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Import {
    /// A file, or an address that begins with http:// or https://. May be packed by xz, gzip or zstd.
    #[arg(value_name = "FILE|URL")]
    pub source: String,
    /// The SHA-256 of the file as it is published; another file is refused.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// The image's name on this host [default: the file's name]
    #[arg(long)]
    pub name: Option<String>,
    /// `x86_64` or `arm64` [default: what the disk boots on]
    #[arg(long)]
    pub arch: Option<String>,
    /// Whom to log in as [default: by the name, else ec2-user]
    #[arg(long)]
    pub user: Option<String>,
    #[arg(long)]
    pub json: bool,
}

pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Up(up) => up::run(&up),
        Command::Down(down) => down::run(&down),
        Command::Env(env) => env::run(&env),
        Command::Ssh(ssh) => ssh::run(&ssh),
        Command::Status(status) => status::run(&status),
        Command::Image(image) => image::run(&image),
        Command::Account(account) => account::run(&account),
        Command::Server(data) => server_process::run(&data.data),
        Command::Agent(data) => agent_process::run(&data.data),
        Command::VmExec => Ok(agent_process::launch()),
    }
}
