//! The command line: what can be asked of `nube`.

use crate::config::{self, HostKind};
use crate::emulator::{Auth, Pace};
use crate::{
    account, agent_process, blockd_process, blocks_place, byoip, capture, completions, dns_setup, doctor,
    down, env, fork, fsck, gateway_service, image, metrics, operation, ps, server_process, ssh, status,
    template, trace, up,
};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::{Ipv4Net, Ipv6Net};
use model::Ratio;
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
    Up(Box<Up>),
    /// Stop a cloud and every machine, namespace, link and rule of it.
    Down(Down),
    /// Print the shell lines that point AWS clients at a cloud: eval "$(nube env)".
    Env(Env),
    /// Log in to an instance with ssh.
    Ssh(Ssh),
    /// Say how this host's resolver learns the public DNS names of instances, or teach it.
    Dns(Dns),
    /// Show how a cloud and its host are.
    Status(Status),
    /// List instances, volumes or public addresses, across accounts and regions.
    Ps(ps::Ps),
    /// Say what on this host will not work, and what to do.
    Doctor(doctor::Doctor),
    /// Examine everything that a cloud's snapshots are made of.
    Fsck(fsck::Fsck),
    /// Print the metrics of a running cloud, in Prometheus' format.
    Metrics(Data),
    /// List the machine images of this host, or build one.
    Image(Image),
    /// List, make or remove the memory templates that launches are resumed from.
    Template(template::Template),
    /// Make copies of a running instance, memory and disks, each with an identity of its own.
    Fork(fork::Fork),
    /// Show when each step of an instance's latest start was done.
    Trace(trace::Trace),
    /// Write what an interface sends and receives to a pcap file, while its machine runs.
    Capture(capture::Capture),
    /// Make an account of a running cloud.
    Account(Account),
    /// Print a shell's completions: source <(nube completions bash)
    Completions(completions::Completions),
    /// Print the manual's page, or write all of them into a folder.
    Man(completions::Man),
    /// The control plane of a cloud; started by `up`.
    #[command(hide = true)]
    Server(Data),
    /// The host loop of a cloud; started by `up`.
    #[command(hide = true)]
    Agent(Data),
    /// Serves what volumes lack of their snapshots; started by `up`.
    #[command(hide = true)]
    Blockd(Data),
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
    /// A range that an account may bring as public addresses of its own, and repeatedly; `off`: none; remembered
    #[arg(long, value_name = "CIDR[=ACCOUNT]", value_parser = byoip::parse)]
    pub byoip: Vec<byoip::Choice>,
    /// Where s3 or dynamodb is that gateway endpoints lead to, as this host reaches it; `off`: nowhere; remembered
    #[arg(long, value_name = "SERVICE=CIDR[,CIDR…]", value_parser = gateway_service::parse)]
    pub gateway_service: Vec<gateway_service::Choice>,
    /// Where IPv6 blocks of VPCs come from [default: a /40 of unique local addresses]
    #[arg(long, value_name = "CIDR")]
    pub ipv6_pool: Option<Ipv6Net>,
    /// How many virtual CPUs are promised for each CPU of the host [default: 8]
    #[arg(long, value_name = "FACTOR")]
    pub cpu_overcommit: Option<Ratio>,
    /// How often the host's memory is promised [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub memory_overcommit: Option<Ratio>,
    /// Whether requests must be signed; off is for --host sim.
    #[arg(long, value_enum, default_value_t)]
    pub auth: Auth,
    /// How long simulated machines take to change state.
    #[arg(long, value_enum, default_value_t)]
    pub pace: Pace,
    /// Serve HTTPS beside HTTP, on the same port, with a certificate authority of the cloud's own; `off` ends it
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, default_missing_value = "on")]
    pub tls: Option<Switch>,
    /// Where to answer public DNS names, or `off` [default: a free port from 127.0.0.1:5354 on; off with --host sim]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = dns_setup::parse)]
    pub dns: Option<dns_setup::Resolver>,
    /// Whether instances are held to the network bandwidth of their types [default: on]
    #[arg(long, value_enum, value_name = "on|off")]
    pub bandwidth: Option<Switch>,
    /// A folder whose folders are the buckets that disks are imported from and exported to; remembered
    #[arg(long, value_name = "DIR")]
    pub buckets: Option<PathBuf>,
    #[command(flatten)]
    pub blocks: blocks_place::BlocksFlags,
    #[command(flatten)]
    pub operation: operation::Flags,
    #[command(flatten)]
    pub templates: template::TemplateFlags,
    /// Print one JSON object instead of prose.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub struct Dns {
    #[command(flatten)]
    pub data: Data,
    /// Write the drop-in for systemd-resolved and have it read.
    #[arg(long, conflicts_with = "remove")]
    pub install: bool,
    /// Remove the drop-in again; `nube down` does so too.
    #[arg(long)]
    pub remove: bool,
    /// Where systemd-resolved's drop-ins are.
    #[arg(long, default_value = dns_setup::DROP_INS, value_name = "DIR", hide = true)]
    pub drop_ins: PathBuf,
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
    /// The instance's id, or its public DNS name.
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
    #[command(flatten)]
    pub watch: ps::Watch,
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
        /// Where `debian-12` gets its packages [default: the mirror of Debian that this host's apt uses]
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
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

#[cfg(test)]
impl Cli {
    /// The arguments of `up`, if it is that.
    pub fn up(&self) -> Option<&Up> {
        match &self.command {
            Command::Up(up) => Some(up),
            _ => None,
        }
    }
}

pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Up(up) => up::run(&up),
        Command::Down(down) => down::run(&down),
        Command::Env(env) => env::run(&env),
        Command::Ssh(ssh) => ssh::run(&ssh),
        Command::Dns(dns) => dns_setup::run(&dns),
        Command::Status(status) => status::run(&status),
        Command::Ps(ps) => ps::run(&ps),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Fsck(fsck) => fsck::run(&fsck),
        Command::Metrics(data) => metrics::run(&data),
        Command::Image(image) => image::run(&image),
        Command::Template(template) => template::run(&template),
        Command::Fork(fork) => fork::run(&fork),
        Command::Trace(trace) => trace::run(&trace),
        Command::Capture(capture) => capture::run(&capture),
        Command::Account(account) => account::run(&account),
        Command::Completions(shell) => Ok(completions::run(&shell)),
        Command::Man(man) => completions::man(&man),
        Command::Server(data) => server_process::run(&data.data),
        Command::Agent(data) => agent_process::run(&data.data),
        Command::Blockd(data) => blockd_process::run(&data.data),
        Command::VmExec => Ok(agent_process::launch()),
    }
}
