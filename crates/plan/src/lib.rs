//! Pure decisions: given facts, what should be done. Sans-io: no clock, randomness, logging or blocking in here.

pub mod machine;
