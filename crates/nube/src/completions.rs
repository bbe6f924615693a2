//! What shells and manuals are told of the command line; made from the same declaration that reads it.

use crate::cli::Cli;
use crate::terminal;
use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Write nube.1, nube-up.1 and the rest there.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

pub fn run(arguments: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "nube", &mut script);
    terminal::say(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}

pub fn man(arguments: &Man) -> Result<ExitCode> {
    let command = Cli::command();
    if let Some(folder) = &arguments.to {
        let write = || {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)
        };
        write().with_context(|| format!("cannot write the manual into {}", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    terminal::say(String::from_utf8_lossy(&page).trim_end());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
