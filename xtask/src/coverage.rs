//! `cargo xtask coverage`: which operations of the models are built, as the program's services say, and the page about it.

use crate::run;
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;

const PAGE: &str = "docs/coverage.md";

/// Prints what is built and writes the page anew.
pub fn run() -> Result<()> {
    let services = ask()?;
    for service in &services {
        println!("{}: {} of {} operations", service.name, service.built(), service.operations.len());
        for (operation, _) in service.operations.iter().filter(|(_, built)| *built) {
            println!("  {operation}");
        }
    }
    std::fs::write(PAGE, page(&services)).with_context(|| format!("cannot write {PAGE}"))
}

/// Whether the committed page is what [`run`] would write.
pub fn check() -> Result<()> {
    if std::fs::read_to_string(PAGE).unwrap_or_default() != page(&ask()?) {
        bail!("{PAGE} is not current; run: cargo xtask coverage");
    }
    Ok(())
}

struct Service {
    name: String,
    /// Every operation of the model, and whether it is built.
    operations: Vec<(String, bool)>,
}

impl Service {
    fn built(&self) -> usize {
        self.operations.iter().filter(|(_, built)| *built).count()
    }
}

/// Asks the services, in a program that has nothing else in it: it shares what the tests build anyway.
fn ask() -> Result<Vec<Service>> {
    let arguments = ["run", "--quiet", "--package", "testkit", "--example", "coverage"];
    read(&run::output("cargo", &arguments)?)
}

fn read(told: &str) -> Result<Vec<Service>> {
    let mut services: Vec<Service> = Vec::new();
    for line in told.lines() {
        let mut parts = line.split('\t');
        let (Some(name), Some(operation), Some(state)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("\"{line}\" is no service, operation and state");
        };
        if services.last().is_none_or(|last| last.name != name) {
            services.push(Service { name: name.to_owned(), operations: Vec::new() });
        }
        if let Some(service) = services.last_mut() {
            service.operations.push((operation.to_owned(), state == "built"));
        }
    }
    if services.is_empty() {
        bail!("the program names no service");
    }
    Ok(services)
}

fn page(services: &[Service]) -> String {
    let mut page = String::from(
        "# Coverage\n\nWhich operations of AWS's models are built. `cargo xtask coverage` writes this page from what the \
         program's services\nregister; do not edit it by hand. What is not built answers `UnsupportedOperation`, naming \
         itself. What the built ones take\nand where they differ is in [features](features.md).\n\n| service | built | \
         of the model's |\n|---|---|---|\n",
    );
    for service in services {
        let Service { name, operations } = service;
        let _ = writeln!(page, "| [{name}](#{name}) | {} | {} |", service.built(), operations.len());
    }
    for Service { name, operations } in services {
        let _ = write!(page, "\n## {name}\n\n| operation | built |\n|---|---|\n");
        for (operation, built) in operations {
            let _ = writeln!(page, "| {operation} | {} |", if *built { "yes" } else { "" });
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_line_an_operation_and_counts_them() {
        let services =
            read("ec2\tRunInstances\tbuilt\nec2\tStopInstances\t-\nsts\tGetCallerIdentity\tbuilt\n").unwrap();
        let page = page(&services);
        for line in [
            "| [ec2](#ec2) | 1 | 2 |",
            "| [sts](#sts) | 1 | 1 |",
            "| RunInstances | yes |",
            "| StopInstances |  |",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in {page}");
        }
    }

    #[test]
    fn what_is_no_list_of_operations_is_refused() {
        assert!(read("").is_err());
        assert!(read("ec2 RunInstances").is_err());
    }
}
