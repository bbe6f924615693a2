//! `cargo xtask test`: all tests, with what they need.

use crate::{build, deb, packages, run};
use anyhow::Result;
use clap::ValueEnum;
use std::path::Path;
use std::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Rust's tests: rules, codecs, stores, the simulator, and this host's drivers.
    Unit,
    /// The clients' own serializers and real clients against the simulator.
    Clients,
    /// Real clients, real machines.
    Host,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is run all the time.
    Usual,
    /// Also what takes long or needs more: whole distributions as guests.
    Full,
}

/// Two files of tests at a time, each with clouds of its own: most of the time a test waits.
const TWO: [&str; 4] = ["-n", "2", "--dist", "loadfile"];

pub fn run(only: Option<Part>, extent: Extent) -> Result<()> {
    packages::ensure(packages::CLOUD)?;
    packages::ensure(packages::TESTS)?;
    if extent == Extent::Full {
        packages::ensure(packages::FULL)?;
    }
    let wanted = |part| only.is_none_or(|only| only == part);
    if wanted(Part::Unit) {
        build::guest()?;
        run::say("Rust tests");
        let mut tests = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        tests.args(["test", "--quiet", "--workspace"]);
        if extent == Extent::Full {
            tests.env("NUBE_TOPOLOGIES", "3000");
        }
        run::finish(&mut tests)?;
    }
    if wanted(Part::Clients) {
        run::say("The clients' serializers");
        run::cargo(&["build", "--quiet", "--package", "roundtrip"])?;
        pytest("tests/clients/roundtrip.py", &[])?;
    }
    if wanted(Part::Clients) || wanted(Part::Host) {
        let nube = build::nube_for_tests()?;
        let nube_path = nube.display().to_string();
        if wanted(Part::Clients) {
            clients(&nube, extent)?;
            run::say("Real clients against the simulator");
            let mut arguments = vec!["--host", "sim", "--nube", &nube_path];
            arguments.extend(TWO);
            pytest("tests/system", &arguments)?;
        }
        if wanted(Part::Host) {
            let guest = build::guest()?;
            deb::pack(&nube, &guest, deb::Size::Quick)?;
            build::nano_image(&nube)?;
            let mut arguments = vec!["--host", "linux", "--nube", &nube_path];
            arguments.extend(TWO);
            if extent == Extent::Full {
                build::guest_arm64()?;
                build::debian_image(&nube)?;
                arguments.push("--full");
            }
            run::say("Real clients, real machines");
            pytest("tests/system", &arguments)?;
        }
    }
    Ok(())
}

/// The programs of `tests/clients`, each as its client's users write it.
fn clients(nube: &Path, extent: Extent) -> Result<()> {
    packages::ensure(packages::CLIENTS)?;
    packages::javascript()?;
    run::say("The walks of the clients");
    let nube = nube.display().to_string();
    let mut arguments = vec!["--host", "sim", "--nube", &nube];
    if extent == Extent::Full {
        arguments.push("--full");
    }
    pytest("tests/clients", &arguments)
}

fn pytest(folder: &str, arguments: &[&str]) -> Result<()> {
    let bin = packages::python()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut pytest = Command::new(bin.join("pytest"));
    pytest.args(["-q", "-p", "no:cacheprovider", folder]).args(arguments);
    pytest.env("PATH", format!("{}:{path}", bin.display())).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.env("CARGO_TARGET_DIR", std::path::absolute(run::target())?);
    // Nothing of the person's own AWS settings may reach a test.
    pytest.env("AWS_CONFIG_FILE", Path::new("/dev/null")).env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    pytest.env("AWS_EC2_METADATA_DISABLED", "true");
    run::finish(&mut pytest)
}
