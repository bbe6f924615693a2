//! `cargo xtask check`: what must hold before anything lands.

use crate::{bpf, coverage, deps, docs, run};
use anyhow::{Result, bail};

/// Files longer than this want splitting; longer than the second they fail.
const LONG: usize = 600;
const TOO_LONG: usize = 900;

pub fn run() -> Result<()> {
    run::say("Formatting");
    run::cargo(&["fmt", "--all", "--check"])?;
    run::say("Dependencies between rooms");
    deps::run()?;
    run::say("Generated code");
    run::cargo(&["run", "--quiet", "--package", "codegen", "--", "--check"])?;
    bpf::check()?;
    run::say("Documentation");
    docs::run()?;
    run::say("File lengths");
    lengths()?;
    run::say("Lints");
    run::cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    run::say("Coverage");
    coverage::check()
}

fn lengths() -> Result<()> {
    let mut too_long = Vec::new();
    for file in run::output("git", &["ls-files", "*.rs"])?.lines() {
        if file.contains("/generated/") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let lines = text.lines().count();
        if lines > TOO_LONG {
            too_long.push(format!("{file} has {lines} lines"));
        } else if lines > LONG {
            eprintln!("long: {file} has {lines} lines");
        }
    }
    if !too_long.is_empty() {
        bail!("split these files: {}", too_long.join(", "));
    }
    Ok(())
}
