//! `cargo xtask bench`: measurements, compared within one run.

use crate::{build, packages, run};
use anyhow::{Result, bail};

/// The measurements, in the order in which they run.
const ALL: &[&str] =
    &["store", "network", "start", "api", "many", "launch", "clone", "snapshot", "disk", DEBIAN];
/// Builds Debian's image and takes a quarter of an hour: only when it is named.
const DEBIAN: &str = "debian";

pub fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !ALL.contains(&name.as_str())) {
        bail!("there is no benchmark \"{unknown}\"; there are: {}", ALL.join(", "));
    }
    let wanted = |name: &str| {
        let is_named = only.iter().any(|o| o == name);
        is_named || (only.is_empty() && name != DEBIAN)
    };
    if wanted("store") {
        run::say("Store: durable commits");
        run::cargo(&["run", "--quiet", "--release", "--package", "store", "--example", "bench"])?;
    }
    if wanted("network") {
        packages::ensure(packages::CLOUD)?;
        run::say("Network: a VPC beside bare routing, and one interface among many");
        run::cargo(&["run", "--quiet", "--release", "--package", "agent", "--example", "network"])?;
    }
    let apart = ["store", "network"];
    let rest: Vec<&str> = ALL.iter().copied().filter(|name| !apart.contains(name) && wanted(name)).collect();
    if rest.is_empty() {
        return Ok(());
    }
    let nube = build::nube()?;
    if rest.iter().any(|name| ["launch", "clone", "snapshot", "disk", DEBIAN].contains(name)) {
        packages::ensure(packages::CLOUD)?;
        build::guest()?;
        build::nano_image(&nube)?;
    }
    if rest.contains(&"disk") {
        packages::ensure(&["fio"])?;
    }
    if rest.contains(&DEBIAN) {
        packages::ensure(packages::FULL)?;
        build::debian_image(&nube)?;
    }
    run::say(format_args!("Measuring: {}", rest.join(", ")));
    let nube = nube.display().to_string();
    let mut arguments =
        vec!["run", "--quiet", "--release", "--package", "testkit", "--example", "bench", "--"];
    arguments.extend(["--nube", &nube]);
    arguments.extend(rest);
    run::cargo(&arguments)
}
