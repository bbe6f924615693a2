//! Building what runs: the program, the guest agent, the nano image.

use crate::run;
use anyhow::Result;
use std::path::PathBuf;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// `nube`, optimized. Returns its path.
pub fn nube() -> Result<PathBuf> {
    run::say("Building nube, optimized");
    run::cargo(&["build", "--release", "--package", "nube"])?;
    Ok(std::path::absolute(run::target().join("release/nube"))?)
}

/// `nube` as the tests use it: most of it was built for them already. Returns its path.
pub fn nube_for_tests() -> Result<PathBuf> {
    run::say("Building nube");
    run::cargo(&["build", "--package", "nube"])?;
    Ok(std::path::absolute(run::target().join("debug/nube"))?)
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
    for profile in ["debug", "release"] {
        let folder = run::target().join(profile);
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(&built, folder.join("nube-guest"))?;
    }
    Ok(built)
}

/// The nano image in the host's cache.
pub fn nano_image(nube: &std::path::Path) -> Result<()> {
    run::say("Building the nano image");
    run::program(&nube.display().to_string(), &["image", "build", "nano"])
}

/// The Debian image in the host's cache.
pub fn debian_image(nube: &std::path::Path) -> Result<()> {
    run::say("Building the Debian image");
    run::program(&nube.display().to_string(), &["image", "build", "debian-12"])
}
