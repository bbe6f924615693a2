//! The Linux network driver with real packets. Each test has a host of its own: a fresh network namespace in which the
//! driver runs, with stand-in guests behind its ports and an "outside" behind its uplink.

mod groups;
mod hostile;
mod life;
mod public;
mod services;
mod world;
