//! Decisions without side effects: facts in, steps out. No clock, randomness, I/O or logging.

pub mod net;
