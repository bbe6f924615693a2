//! The ec2 protocol over the real shapes: what clients send, what they get, and what is refused.

mod answers;
mod requests;
mod types;
