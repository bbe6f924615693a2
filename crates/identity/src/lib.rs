//! Who callers are: STS now, IAM when its policies come.

pub mod sts;
