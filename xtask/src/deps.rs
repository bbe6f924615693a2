//! Who may import whom: `cargo metadata` held against the architecture page.

use crate::run;
use anyhow::{Context as _, Result, bail};

/// A room and the rooms that it may import. `docs/architecture.md` says why.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("api-ebs", &["wire"]),
    ("api-ec2", &["wire"]),
    ("api-kms", &["wire"]),
    ("api-rbin", &["wire"]),
    ("api-sts", &["wire"]),
    ("model", &[]),
    ("plan", &["model"]),
    ("store", &["model"]),
    ("images", &["model"]),
    ("blocks", &["model"]),
    ("control", &["wire", "model", "plan", "store"]),
    ("gateway", &["control", "wire", "model"]),
    ("ebs", &["control", "wire", "model", "api-ebs", "api-rbin"]),
    ("ec2", &["control", "wire", "model", "plan", "store", "api-ec2"]),
    ("identity", &["control", "wire", "model", "plan", "store", "api-sts"]),
    ("kms", &["control", "wire", "model", "api-kms"]),
    ("agent", &["blocks", "model", "plan"]),
    ("guest", &[]),
    ("nube", &["*"]),
    ("testkit", &["*"]),
    ("codegen", &[]),
    ("roundtrip", &["wire", "api-ebs", "api-ec2", "api-kms", "api-rbin", "api-sts"]),
    ("xtask", &[]),
];

pub fn run() -> Result<()> {
    let metadata = run::output("cargo", &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(room, _)| *room == name) else {
            wrong.push(format!("{name} is a room that the table does not know"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            // Tests may use the kit, which stands on everything.
            let for_tests = dependency["kind"] == "dev";
            if names.contains(&on) && !allowed.contains(&on) && !allowed.contains(&"*") && !for_tests {
                wrong.push(format!("{name} must not import {on}"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}
