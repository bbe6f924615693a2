//! What people see: prose with colours on a terminal, progress bars for long work, JSON for scripts.

use crate::config;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{OwoColorize as _, Style};
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::Duration;

/// What a piece of text means, which on a terminal is its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
}

pub fn toned(text: impl Display, tone: Tone) -> String {
    match tone {
        Tone::Plain => text.to_string(),
        Tone::Good => good(text),
        Tone::Warn => warn(text),
        Tone::Bad => bad(text),
        Tone::Faint => faint(text),
    }
}

/// The columns and rows of the terminal on standard output; none when it is no terminal.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok())??;
    // A terminal that does not know its size says 0.
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

fn styled(text: impl Display, style: Style) -> String {
    if config::colours() { text.style(style).to_string() } else { text.to_string() }
}

pub fn strong(text: impl Display) -> String {
    styled(text, Style::new().bold())
}

pub fn good(text: impl Display) -> String {
    styled(text, Style::new().green())
}

pub fn warn(text: impl Display) -> String {
    styled(text, Style::new().yellow())
}

pub fn bad(text: impl Display) -> String {
    styled(text, Style::new().red())
}

pub fn faint(text: impl Display) -> String {
    styled(text, Style::new().dimmed())
}

/// A line on standard output. A closed pipe ends the talk, not the work.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A value for scripts, on one line.
pub fn json(value: &serde_json::Value) {
    say(value);
}

/// An error with its causes, on standard error.
pub fn complain(error: &anyhow::Error) {
    let mut out = std::io::stderr();
    let _ = writeln!(out, "nube: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(out, "  because {cause}");
    }
}

/// Rows under a heading, columns padded to their widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say(faint(line(&headings.iter().map(ToString::to_string).collect::<Vec<_>>())));
    for row in rows {
        say(line(row));
    }
}

/// Draws the steps of a long piece of work; without a terminal it prints a line a step.
pub struct Steps {
    bar: Mutex<Option<(String, ProgressBar)>>,
    shown: bool,
}

impl Steps {
    pub fn new(quiet: bool) -> Self {
        Self { bar: Mutex::new(None), shown: !quiet }
    }
}

impl images::Progress for Steps {
    fn begin(&self, step: &str, total: Option<u64>) {
        if !self.shown {
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_style(
                    ProgressStyle::with_template("  {spinner} {msg:32} {bar:28} {bytes}/{total_bytes}")
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                ),
            None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(
                ProgressStyle::with_template("  {spinner} {msg:32} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            ),
        };
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Ok(mut current) = self.bar.lock() {
            *current = Some((step.to_owned(), bar));
        }
    }

    fn advance(&self, done: u64) {
        if let Ok(current) = self.bar.lock()
            && let Some((_, bar)) = &*current
        {
            bar.set_position(done);
        }
    }

    fn end(&self) {
        let Ok(mut current) = self.bar.lock() else { return };
        if let Some((step, bar)) = current.take() {
            let took = bar.elapsed().as_secs_f32();
            bar.finish_and_clear();
            let _ = writeln!(std::io::stderr(), "  {} {step} {}", good("✓"), faint(format!("{took:.1} s")));
        }
    }
}
