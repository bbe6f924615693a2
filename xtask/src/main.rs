//! `cargo xtask …`: everything that is done with this repository, by name.

#![allow(
    clippy::disallowed_methods,
    reason = "a build tool starts programs and reads the environment; nothing here is simulated"
)]

mod bench;
mod bpf;
mod build;
mod check;
mod coverage;
mod deb;
mod deps;
mod docs;
mod packages;
mod run;
mod test;
mod up;

use anyhow::Result;
use clap::{Parser, Subcommand};
use test::Extent;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, runs, tests and checks Nube")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what a cloud needs on this machine, build everything, and run a cloud.
    Up {
        /// What `nube up` is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install what the tests need and run them all.
    Test {
        /// Only this part: unit, clients or host.
        #[arg(long)]
        only: Option<test::Part>,
        /// Also what takes long: whole distributions as guests.
        #[arg(long)]
        full: bool,
    },
    /// Formatting, lints, dependencies between rooms, generated code, documentation.
    Check,
    /// Make the API crates anew from the models.
    Codegen,
    /// Compile the programs that the kernel runs at ports.
    Bpf,
    /// Print which operations are built, and write docs/coverage.md.
    Coverage,
    /// Hold the dependencies between rooms against the architecture.
    Deps,
    /// Measure, and print medians and ratios.
    Bench {
        /// Only these, such as api, network, start.
        only: Vec<String>,
    },
    /// Build a Debian package of the release.
    Deb {
        /// Pack the development build, at once and large: to try the package.
        #[arg(long)]
        dev: bool,
    },
    /// What continuous integration runs: check, then test.
    Ci,
}

fn main() -> Result<()> {
    std::env::set_current_dir(run::root()?)?;
    match Cli::parse().task {
        Task::Up { arguments } => up::run(&arguments),
        Task::Test { only, full } => test::run(only, if full { Extent::Full } else { Extent::Usual }),
        Task::Check => check::run(),
        Task::Codegen => run::cargo(&["run", "--quiet", "--package", "codegen"]),
        Task::Bpf => bpf::run(),
        Task::Coverage => coverage::run(),
        Task::Deps => deps::run(),
        Task::Deb { dev } => deb::run(dev).map(drop),
        Task::Bench { only } => bench::run(&only),
        Task::Ci => check::run().and_then(|()| test::run(None, Extent::Usual)),
    }
}
