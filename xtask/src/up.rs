//! `cargo xtask up`: from a fresh machine to a running cloud.

use crate::{build, packages, run};
use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;

pub fn run(arguments: &[String]) -> Result<()> {
    let simulated = arguments.windows(2).any(|pair| pair == ["--host", "sim"])
        || arguments.iter().any(|a| a == "--host=sim");
    if !simulated {
        packages::ensure(packages::CLOUD)?;
    }
    let nube = build::nube()?;
    if !simulated {
        build::guest()?;
        build::nano_image(&nube)?;
    }
    run::say(format_args!("Starting the cloud ({} up {})", nube.display(), arguments.join(" ")));
    Err(std::process::Command::new(&nube).arg("up").args(arguments).exec()).context("cannot start nube")
}
