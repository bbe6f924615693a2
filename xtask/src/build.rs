//! Building what runs: the program, the guest agent, the nano image.

use crate::run;
use anyhow::Result;
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `nube`, optimized. Returns its path.
pub fn nube() -> Result<PathBuf> {
    run::say("Building nube");
    run::cargo(&["build", "--release", "--package", "nube"])?;
    Ok(std::path::absolute(run::target().join("release/nube"))?)
}

/// The guest agent: static, so that it runs in any image.
pub fn guest() -> Result<PathBuf> {
    run::say("Building the guest agent");
    let rustflags = format!("target.{TARGET}.rustflags=['-C','target-feature=+crt-static']");
    run::cargo(&[
        "build",
        "--profile",
        "guest",
        "--package",
        "guest",
        "--target",
        TARGET,
        "--config",
        &rustflags,
    ])?;
    let built = std::path::absolute(run::target().join(TARGET).join("guest/nube-guest"))?;
    // Beside nube, where `nube image build` looks for it.
    let beside = run::target().join("release/nube-guest");
    std::fs::create_dir_all(run::target().join("release"))?;
    std::fs::copy(&built, &beside)?;
    Ok(built)
}

/// The nano image in the host's cache.
pub fn nano_image(nube: &std::path::Path) -> Result<()> {
    run::say("Building the nano image");
    run::program(&nube.display().to_string(), &["image", "build", "nano"])
}
