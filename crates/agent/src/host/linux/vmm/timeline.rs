//! When each step of a start was done, counted from its beginning: for the log and the launch's trace.

use crate::host::Steps;
use std::fmt;
use tokio::time::Instant;

pub(super) struct Timeline {
    begun: Instant,
    steps: Steps,
}

impl Timeline {
    pub fn new() -> Self {
        Self { begun: Instant::now(), steps: Vec::new() }
    }

    /// Notes that this is done.
    pub fn mark(&mut self, step: &'static str) {
        self.steps.push((step, self.begun.elapsed()));
    }

    pub fn take(self) -> Steps {
        self.steps
    }
}

/// In milliseconds.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (step, after)) in self.steps.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{step} {}", after.as_millis())?;
        }
        Ok(())
    }
}
