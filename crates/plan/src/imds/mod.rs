//! The metadata tree (being written).
