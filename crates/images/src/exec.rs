//! The only place of this crate that starts processes.
#![allow(
    clippy::disallowed_methods,
    reason = "this is that place; an image is built by programs of the host"
)]

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use crate::error::{Error, Result};

/// A program to be run: no terminal, no translations, and administration programs found for non-root users too.
pub struct Program {
    name: &'static str,
    command: Command,
}

/// A program of the host. What it says depends on neither the locale nor the time where it can be told so.
pub fn program(name: &'static str) -> Program {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    Program { name, command }
}

/// What a program from a package says.
pub fn output_of(path: &Path, arguments: &[&str]) -> Result<String> {
    let output = judge(
        "a program of a package",
        Command::new(path).args(arguments).env_clear().stdin(Stdio::null()).output(),
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Program {
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Program {
        self.command.arg(argument);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    pub fn folder(mut self, folder: &Path) -> Program {
        self.command.current_dir(folder);
        self
    }

    /// Runs to the end; a bad end is an error with what the program said.
    pub fn run(mut self) -> Result<Output> {
        let output = self.command.output();
        judge(self.name, output)
    }

    /// As [`Program::run`], with bytes to read on its standard input; gives its standard output.
    pub fn filter(mut self, input: Vec<u8>) -> Result<Vec<u8>> {
        let started =
            self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = started.and_then(|mut child| {
            let stdin = child.stdin.take();
            let feed = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
            let output = child.wait_with_output();
            // The program may end before it has read all; its own status then says what that means.
            let _ = feed.join();
            output
        });
        judge(self.name, output).map(|output| output.stdout)
    }

    /// Starts it, to be waited for with [`Running::poll`].
    pub fn start(mut self) -> Result<Running> {
        let child = self.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        child.map(|child| Running { name: self.name, child }).map_err(|error| cannot_start(self.name, &error))
    }
}

/// A program that runs.
pub struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    /// Has it ended? A bad end is an error.
    pub fn poll(&mut self) -> Result<bool> {
        let Some(status) = self.child.try_wait().map_err(|error| cannot_start(self.name, &error))? else {
            return Ok(false);
        };
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = io::Read::read_to_end(&mut pipe, &mut stderr);
        }
        judge(self.name, Ok(Output { status, stdout: Vec::new(), stderr })).map(|_| true)
    }
}

fn judge(name: &'static str, output: io::Result<Output>) -> Result<Output> {
    let output = output.map_err(|error| cannot_start(name, &error))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(Error::Failed {
        program: name.to_owned(),
        status: output.status.to_string(),
        said: String::from_utf8_lossy(said).trim().to_owned(),
    })
}

fn cannot_start(name: &str, error: &io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return Error::Failed {
            program: name.to_owned(),
            status: "not started".to_owned(),
            said: error.to_string(),
        };
    }
    let package = match name {
        "mke2fs" | "debugfs" | "e2fsck" => "e2fsprogs",
        "qemu-img" => "qemu-utils",
        "mmdebstrap" => "mmdebstrap",
        "sfdisk" => "fdisk",
        "mkfs.vfat" => "dosfstools",
        "mmd" | "mcopy" => "mtools",
        "xz" => "xz-utils",
        "zstd" => "zstd",
        "dpkg-deb" | "dpkg" => "dpkg",
        _ => "apt",
    };
    Error::MissingProgram { program: name.to_owned(), package }
}
