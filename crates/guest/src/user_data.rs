//! User data: a script that begins with `#!` runs as root, once in the life of an instance.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html>
//! Differs: cloud-config and MIME need cloud-init; nano says on the console that it leaves them alone.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::console::{raw, report, say};
use crate::files::{self, Access};
use crate::imds::{Imds, USER_DATA};
use crate::{endpoint, exec};

const FOLDER: &str = "/var/lib/nube/instances";
const LOG: &str = "/var/log/user-data.log";

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Empty,
    Script,
    Gzip,
    /// Named as a user knows it.
    Unsupported(&'static str),
}

impl Format {
    fn of(data: &[u8]) -> Format {
        let starts = |prefix: &str| {
            data.len() >= prefix.len() && data[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
        };
        if data.iter().all(u8::is_ascii_whitespace) {
            Format::Empty
        } else if data.starts_with(b"#!") {
            Format::Script
        } else if data.starts_with(&[0x1f, 0x8b]) {
            Format::Gzip
        } else if starts("#cloud-config") {
            Format::Unsupported("#cloud-config")
        } else if starts("content-type:") || starts("mime-version:") {
            Format::Unsupported("MIME multi-part")
        } else {
            Format::Unsupported("text that does not begin with #!")
        }
    }
}

/// Fetches and runs the user data of this instance unless that was begun before.
pub fn run_once(imds: &mut Imds, instance: &str) {
    let begun = format!("{FOLDER}/{instance}/user-data.begun");
    if Path::new(&begun).exists() {
        return;
    }
    let data = imds.get(USER_DATA).unwrap_or_default();
    // Marked before it runs: a script that was cut short by a kill or by its own reboot is not run a second time.
    if report("user data", files::write(&begun, b"", files::PRIVATE)).is_none() {
        return;
    }
    let data = if Format::of(&data) == Format::Gzip { unpack(&data) } else { Ok(data) };
    if let Some(data) = report("user data looks like gzip and is not", data) {
        consider(&data, instance);
    }
}

/// Notes that the user data of this instance is not to be run: another ran it, whose copy this one is.
pub fn was_run(instance: &str) -> io::Result<()> {
    files::write(format!("{FOLDER}/{instance}/user-data.begun"), b"", files::PRIVATE)
}

fn consider(data: &[u8], instance: &str) {
    match Format::of(data) {
        Format::Empty => {}
        Format::Script => {
            report("cannot run user data", run(data, instance));
        }
        Format::Gzip => say("user data is gzip inside gzip; nano leaves it alone"),
        Format::Unsupported(what) => {
            say(&format!("user data is {what}; nano runs scripts only (#!) and leaves it alone"));
        }
    }
}

fn unpack(data: &[u8]) -> io::Result<Vec<u8>> {
    const PACKED: &str = "/run/user-data.gz";
    fs::write(PACKED, data)?;
    let unpacked = exec::output("zcat", &[PACKED]);
    let _ = fs::remove_file(PACKED);
    unpacked
}

fn run(script: &[u8], instance: &str) -> io::Result<()> {
    let path = format!("{FOLDER}/{instance}/user-data");
    files::write(&path, script, Access { mode: 0o700, owner: 0 })?;
    let mut log = OpenOptions::new().create(true).append(true).open(LOG)?;
    let (output, input) = io::pipe()?;
    let mut child = start(&path, &input)?;
    drop(input);
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        // By lines, so that the kernel's own messages do not fall into the middle of one.
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let _ = log.write_all(&line);
            raw(&format!("{}\r\n", String::from_utf8_lossy(&line).trim_end()));
            line.clear();
        }
        let _ = log.sync_all();
        let _ = done.send(());
    });
    let status = child.wait()?;
    // What the script left in the background keeps the pipe open: its output is still logged, but not waited for.
    let _ = ended.recv_timeout(Duration::from_secs(1));
    say(&format!("user data ended with {status}"));
    Ok(())
}

fn start(path: &str, output: &io::PipeWriter) -> io::Result<std::process::Child> {
    let mut tries = 0;
    loop {
        let started = exec::command(path)
            .envs(endpoint::variables().iter().map(|(name, value)| (name, value)))
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn();
        match started {
            // A child that another thread is just starting may still hold our descriptor of the file.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 50 => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart_by_their_first_bytes() {
        assert_eq!(Format::of(b" \n"), Format::Empty);
        assert_eq!(Format::of(b"#!/bin/sh\n"), Format::Script);
        assert_eq!(Format::of(&[0x1f, 0x8b, 8]), Format::Gzip);
        assert_eq!(Format::of(b"#cloud-config\n"), Format::Unsupported("#cloud-config"));
        assert_eq!(Format::of(b"Content-Type: multipart/mixed"), Format::Unsupported("MIME multi-part"));
        assert!(matches!(Format::of(b"hello"), Format::Unsupported(_)));
    }
}
