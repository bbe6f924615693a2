//! `nube`: the one program. It runs a cloud on this host, and answers questions about it.
//!
//! `up` supervises two processes of the same program, each in its own session: `server` (the control plane) and `agent`
//! (the host loop). Machines outlive all of them. With `--host sim` everything is one small process.

mod account;
mod admin;
mod agent_process;
mod cli;
mod client;
mod cloud_files;
mod config;
mod dns;
mod dns_setup;
mod down;
mod emulator;
mod env;
mod http;
mod image;
mod lock;
mod pool;
mod registration;
mod server_process;
mod ssh;
mod status;
mod supervise;
mod terminal;
mod tls;
mod up;

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
