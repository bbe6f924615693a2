//! The Linux network driver with real packets. Each test has a host of its own: a fresh network namespace in which the
//! driver runs, with stand-in guests behind its ports and an "outside" behind its uplink.

#![allow(unsafe_code, reason = "stand-in guests hold a TAP of their own, and each test a network namespace")]

mod bandwidth;
mod capture;
mod conformance;
mod detour;
mod endpoint;
mod endpoint_service;
mod flow_logs;
mod forward;
mod gateway_service;
mod generated;
mod groups;
mod hostile;
mod ipv6;
mod ipv6_only;
mod known_flows;
mod life;
mod mirror;
mod nat;
mod peering;
mod public;
mod services;
mod traffic;
mod transit;
mod vpn;
mod world;
