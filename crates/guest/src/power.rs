//! Ways to end an instance: the ACPI power button, and the usual commands.

use std::fs::{self, File};
use std::io::{self, Read};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::console::say;
use crate::sys;

const KEY_POWER: u16 = 116;
const EV_KEY: u16 = 1;

/// Waits for the power button and asks process 1 to power off. Returns only when there is no button.
pub fn watch_button() -> io::Result<()> {
    let mut button = find_button()?;
    // `struct input_event` of a 64-bit machine: two 8-byte times, type, code, value.
    let mut event = [0u8; 24];
    loop {
        button.read_exact(&mut event)?;
        let [kind, code] = [16, 18].map(|at| u16::from_ne_bytes([event[at], event[at + 1]]));
        let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
        if (kind, code, value) == (EV_KEY, KEY_POWER, 1) {
            say("the power button was pressed");
            sys::kill(1, libc::SIGUSR2)?;
        }
    }
}

fn find_button() -> io::Result<File> {
    // The module probes in the background: give it a moment.
    for _ in 0..200 {
        for entry in fs::read_dir("/sys/class/input")?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with("event")) else { continue };
            let device = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
            if device.trim() == "Power Button" {
                return File::open(format!("/dev/input/{name}"));
            }
        }
        sleep(Duration::from_millis(50));
    }
    Err(io::Error::other("no ACPI power button"))
}

/// `poweroff`, `halt`, `reboot`, `shutdown [-h|-P|-H|-r] [now|+MINUTES]`; `-f` skips the orderly end.
/// A halted instance is a stopped one, so `halt` powers off.
pub fn main(role: &str) -> ExitCode {
    if sys::user() != 0 {
        eprintln!("{role}: must be root (try: sudo {role})");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let request = match Request::parse(role, &arguments) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("{role}: {problem}");
            return ExitCode::from(2);
        }
    };
    sleep(request.after);
    let result = match (request.force, request.restart) {
        (false, true) => sys::kill(1, libc::SIGTERM),
        (false, false) => sys::kill(1, libc::SIGUSR2),
        (true, restart) => {
            sys::sync();
            sys::restart(if restart { libc::RB_AUTOBOOT } else { libc::RB_POWER_OFF })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
struct Request {
    restart: bool,
    force: bool,
    after: Duration,
}

impl Request {
    fn parse(role: &str, arguments: &[String]) -> Result<Request, String> {
        let mut request = Request { restart: role == "reboot", force: false, after: Duration::ZERO };
        for argument in arguments {
            match argument.as_str() {
                "-r" | "--reboot" => request.restart = true,
                "-h" | "-H" | "-P" | "-p" | "--halt" | "--poweroff" => request.restart = false,
                "-f" | "--force" => request.force = true,
                "now" => request.after = Duration::ZERO,
                minutes if minutes.starts_with('+') => {
                    let minutes: u64 =
                        minutes[1..].parse().map_err(|_| format!("not a number of minutes: {minutes}"))?;
                    request.after = Duration::from_secs(minutes * 60);
                }
                other if other.starts_with('-') => return Err(format!("unknown option {other}")),
                // shutdown's last words are a message to users; there is nobody to read it.
                _ => {}
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Request::parse(&words[0], &words[1..])
    }

    #[test]
    fn the_usual_spellings_are_understood() {
        let off = Request { restart: false, force: false, after: Duration::ZERO };
        assert_eq!(parse("shutdown -h now"), Ok(off));
        assert!(parse("shutdown -r now").unwrap().restart);
        assert!(parse("reboot").unwrap().restart);
        assert!(parse("poweroff -f").unwrap().force);
        assert_eq!(parse("shutdown -P +2 bye").unwrap().after, Duration::from_mins(2));
        assert!(parse("shutdown --when").is_err());
    }
}
