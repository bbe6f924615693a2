//! Tables that people read: columns that fit the terminal's width, numbers and ages as people say them.
//!
//! Pure: rows and a width in, lines out. What does not fit goes by importance: whole columns first, then the ends of
//! long cells.

use crate::terminal::{self, Tone};
use std::time::Duration;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const GAP: usize = 2;
/// A cell that may be cut is never narrower than this.
const NARROW: usize = 10;
/// Columns up to this rank go before any cell is cut shorter than [`FAIR`].
const DISPENSABLE: u8 = 2;
const FAIR: usize = 24;

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub heading: &'static str,
    pub align: Align,
    /// When room is short the columns of the lowest number go first; those of 0 never go.
    pub optional: u8,
    /// Whether its cells may lose their ends.
    pub cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Column {
    pub const fn always(heading: &'static str) -> Self {
        Self { heading, align: Align::Left, optional: 0, cut: false }
    }

    /// Goes before all columns of a higher `rank`.
    pub const fn optional(heading: &'static str, rank: u8) -> Self {
        Self { heading, align: Align::Left, optional: rank, cut: false }
    }

    pub const fn right(mut self) -> Self {
        self.align = Align::Right;
        self
    }

    pub const fn cut(mut self) -> Self {
        self.cut = true;
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
}

impl Cell {
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        // What a guest or a caller named must not steer the terminal.
        let text: String = text.into();
        let text = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
        Self { text, tone }
    }

    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// Nothing, shown as such.
    pub fn maybe(text: Option<impl Into<String>>) -> Self {
        text.map_or_else(|| Self::new("–", Tone::Faint), Self::plain)
    }
}

/// The heading and a line for each row. Columns of which no row says anything are left out. No width: nothing is cut.
pub fn render(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>) -> Vec<String> {
    let says = |at: usize| rows.iter().any(|row| row.get(at).is_some_and(|c| !matches!(&*c.text, "" | "–")));
    let mut shown: Vec<usize> =
        (0..columns.len()).filter(|at| columns[*at].optional == 0 || says(*at)).collect();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width());
            cells.chain([columns[at].heading.width()]).max().unwrap_or(0)
        })
        .collect();
    if let Some(width) = width {
        fit(columns, &mut shown, &mut widths, width);
    }
    let heading: Vec<Cell> = columns.iter().map(|c| Cell::new(c.heading, Tone::Faint)).collect();
    std::iter::once(&heading).chain(rows).map(|row| line(columns, &shown, &widths, row)).collect()
}

fn fit(columns: &[Column], shown: &mut Vec<usize>, widths: &mut [usize], width: usize) {
    let total = |shown: &[usize], widths: &[usize]| {
        shown.iter().map(|at| widths[*at] + GAP).sum::<usize>().saturating_sub(GAP)
    };
    loop {
        let first = shown.iter().copied().filter(|at| columns[*at].optional > 0);
        let Some(first) = first.min_by_key(|at| columns[*at].optional) else { break };
        let floor = if columns[first].optional <= DISPENSABLE { FAIR } else { NARROW };
        let least: Vec<usize> = (0..columns.len())
            .map(|at| if columns[at].cut { widths[at].min(floor) } else { widths[at] })
            .collect();
        if total(shown, &least) <= width {
            break;
        }
        shown.retain(|at| *at != first);
    }
    // The longest gives first.
    while total(shown, widths) > width {
        let longest = shown.iter().copied().filter(|at| columns[*at].cut && widths[*at] > NARROW);
        let Some(longest) = longest.max_by_key(|at| widths[*at]) else { break };
        widths[longest] -= 1;
    }
}

fn line(columns: &[Column], shown: &[usize], widths: &[usize], row: &[Cell]) -> String {
    let mut out = String::new();
    for (position, at) in shown.iter().enumerate() {
        let Some(cell) = row.get(*at) else { continue };
        let text = cut(&cell.text, widths[*at]);
        let room = " ".repeat(widths[*at].saturating_sub(text.width()));
        let text = terminal::toned(text, cell.tone);
        let last = position + 1 == shown.len();
        match (columns[*at].align, last) {
            (Align::Right, _) => out.extend([room, text]),
            (Align::Left, false) => out.extend([text, room]),
            (Align::Left, true) => out.push_str(&text),
        }
        if !last {
            out.push_str(&" ".repeat(GAP));
        }
    }
    out
}

/// The text, or its beginning and "…".
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// `45s`, `12m`, `3h`, `9d`, `4y`: what a glance needs.
pub fn age(since: Duration) -> String {
    let seconds = since.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

/// Binary units with at most one digit after the point.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 || rounded >= 100.0 {
        format!("{rounded:.0} {}", UNITS[unit])
    } else {
        format!("{rounded:.1} {}", UNITS[unit])
    }
}

/// How much of a whole is taken, as a bar of ten.
pub fn bar(part: u64, whole: u64) -> String {
    const LENGTH: u64 = 10;
    let full = if whole == 0 { 0 } else { (part.min(whole) * LENGTH).div_ceil(whole) };
    let bar: String = (0..LENGTH).map(|at| if at < full { '█' } else { '░' }).collect();
    let tone = if whole > 0 && part * 10 >= whole * 9 { Tone::Warn } else { Tone::Good };
    terminal::toned(bar, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::always("NAME").cut(),
        Column::always("STATE"),
        Column::optional("KEY", 3),
        Column::optional("SIZE", 4).right(),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        [("a-name-that-is-long", "running", "me", "8 GiB"), ("b", "stopped", "–", "100 GiB")]
            .map(|(a, b, c, d)| [a, b, c, d].map(Cell::plain).to_vec())
            .to_vec()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            render(&COLUMNS, &rows(), None),
            [
                "NAME                 STATE    KEY     SIZE",
                "a-name-that-is-long  running  me     8 GiB",
                "b                    stopped  –    100 GiB",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_goes_by_importance() {
        for (width, heading) in [
            (80, "NAME                 STATE    KEY     SIZE"),
            (36, "NAME           STATE    KEY     SIZE"),
            (28, "NAME        STATE       SIZE"),
            (20, "NAME         STATE"),
        ] {
            let lines = render(&COLUMNS, &rows(), Some(width));
            assert_eq!(lines[0], heading, "{width}");
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
        }
    }

    #[test]
    fn a_column_of_which_nobody_says_anything_is_left_out() {
        let rows = vec![["a", "running", "–", ""].map(Cell::plain).to_vec()];
        assert_eq!(render(&COLUMNS, &rows, None)[0], "NAME  STATE");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        assert_eq!(Cell::plain("a\x1b[2Jb\n").text, "a·[2Jb·");
    }

    #[test]
    fn wide_characters_count_as_what_they_take() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abcdef", 4), "abc…");
    }

    #[test]
    fn ages_and_sizes_are_as_people_say_them() {
        let ages = [0, 59, 60, 3_599, 3_600, 86_399, 86_400 * 9, 86_400 * 365 * 4];
        assert_eq!(
            ages.map(|s| age(Duration::from_secs(s))),
            ["0s", "59s", "1m", "59m", "1h", "23h", "9d", "4y"]
        );
        assert_eq!(
            [0, 1023, 1536, 8 << 30, 15_900 << 20].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "8 GiB", "15.5 GiB"]
        );
    }
}
