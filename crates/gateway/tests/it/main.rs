//! The front door over real HTTP on loopback, before a cloud in memory.

mod door;
mod http;
mod limits;
mod signatures;
