//! Flow logs: from what a kernel counts to the files that clients read.
//!
//! [`Book`] is told, every few seconds, what a VPC's router has counted since it began: connections that it tracks and
//! packets that it refused. It keeps what each log gathers and closes a window when its time is over; [`text`] writes the
//! records and says what their file is called. Pure: the caller reads counters, clocks and disks.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

mod book;
mod text;

pub use book::{Book, Count, Observation, Port, Rejected, Tracked, Tuple};
pub use text::Written;

#[cfg(test)]
mod tests;
