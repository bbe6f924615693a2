//! `--watch`: the same picture again and again until Ctrl-C.
//!
//! On a terminal it is drawn in place, on the terminal's second screen, so that what was there before comes back. Elsewhere
//! one picture follows the other.

use crate::terminal;
use anyhow::Result;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Draws until interrupted. An error of `frame` is shown in place of a picture: a cloud that restarts comes back.
pub fn run(every: Duration, mut frame: impl FnMut() -> Result<Vec<String>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut resized = signal(SignalKind::window_change())?;
        let screen = terminal::size().is_some().then(Screen::enter);
        loop {
            let lines = frame().unwrap_or_else(|error| {
                vec![terminal::toned(format!("nube: {error:#}"), terminal::Tone::Bad)]
            });
            match &screen {
                Some(_) => draw(&lines),
                None => lines.iter().for_each(terminal::say),
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = resized.recv() => {}
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
            }
        }
    })
}

/// The terminal's second screen; the first comes back when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> Self {
        write("\x1b[?1049h\x1b[?25l");
        Self
    }
}

fn draw(lines: &[String]) {
    let rows = terminal::size().map_or(24, |(_, rows)| rows);
    // Over what is there, line by line: a screen that is wiped first flickers.
    let mut out = String::from("\x1b[H");
    let room = rows.saturating_sub(1).max(1);
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    for line in &lines[..shown] {
        let _ = write!(out, "{line}\x1b[K\r\n");
    }
    if shown < lines.len() {
        let more = terminal::faint(format_args!("… {} more lines", lines.len() - shown));
        let _ = write!(out, "{more}\x1b[K\r\n");
    }
    out.push_str("\x1b[J");
    write(&out);
}

impl Drop for Screen {
    fn drop(&mut self) {
        write("\x1b[?25h\x1b[?1049l");
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
