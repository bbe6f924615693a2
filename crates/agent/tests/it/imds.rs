//! The metadata service over HTTP (being written).
