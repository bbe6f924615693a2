//! The `ec2` API: generated shapes and operations.
