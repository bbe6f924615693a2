//! Numbers as people read them.

use std::time::Duration;

/// Rows of text under headings, columns aligned; the first to the left.
pub fn print(title: &str, headings: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}");
    let mut all = vec![headings.iter().map(ToString::to_string).collect::<Vec<_>>()];
    all.extend(rows.iter().cloned());
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in &all {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(
                |(at, (cell, width))| {
                    if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        println!("  {}", line.join("  ").trim_end());
    }
}

/// Three digits that matter, in the unit that fits.
pub fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e4 => format!("{:.2} ms", micros / 1e3),
        ..1e5 => format!("{:.1} ms", micros / 1e3),
        ..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

pub fn ratio(a: Duration, b: Duration) -> String {
    format!("{:.2}", a.as_secs_f64() / b.as_secs_f64())
}

/// The value that so many hundredths of the others do not exceed.
pub fn percentile(values: &mut [Duration], hundredths: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * hundredths / 100).min(values.len() - 1)]
}

pub fn median(values: &mut [Duration]) -> Duration {
    percentile(values, 50)
}
