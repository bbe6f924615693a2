//! When each step of a start was done, for one line on the console: what a slow launch is to be explained by.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::console::say;
use crate::sys;

static STEPS: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

/// Notes that this is done.
pub fn mark(step: &'static str) {
    STEPS.lock().unwrap_or_else(PoisonError::into_inner).push((step, sys::uptime()));
}

/// Prints the steps in milliseconds after the first.
pub fn tell() {
    let steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
    say(&format!("timeline: {}", render(&steps)));
}

fn render(steps: &[(&str, Duration)]) -> String {
    let first = steps.first().map_or(Duration::ZERO, |(_, at)| *at);
    let text = |(step, at): &(&str, Duration)| format!("{step} {}", (*at).saturating_sub(first).as_millis());
    steps.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_in_milliseconds_after_the_first() {
        let steps = [("link", Duration::from_secs(9)), ("lease", Duration::from_millis(9042))];
        assert_eq!(render(&steps), "link 0, lease 42");
        assert_eq!(render(&[]), "");
    }
}
