pub use client::ClientError; mod client;
