//! `nube`: the one program. It runs a cloud on this host, and answers questions about it.
//!
//! `up` supervises three processes of the same program, each in its own session: `server` (the control plane), `agent`
//! (the host loop) and `blockd` (what volumes lack of their snapshots). Machines outlive all of them. With `--host sim` everything is one small process.

mod account;
mod admin;
mod agent_process;
mod arrivals;
mod blockd_process;
mod blocks_place;
mod byoip;
mod capture;
mod cli;
mod client;
mod cloud_files;
mod completions;
mod config;
mod dns;
mod dns_setup;
mod doctor;
mod down;
mod emulator;
mod env;
mod fork;
mod fsck;
mod gateway_service;
mod http;
mod image;
mod inventory;
mod lock;
mod log;
mod metrics;
mod notify;
mod operation;
mod otel;
mod pool;
mod process;
mod ps;
mod registration;
mod root_key;
mod server_process;
mod ssh;
mod status;
mod supervise;
mod table;
mod template;
mod terminal;
mod tls;
mod trace;
mod transfer;
mod up;
mod watch;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            terminal::complain(&error);
            ExitCode::FAILURE
        }
    }
}
