#[derive(Debug, thiserror::Error)] pub enum ClientError { #[error("x")] X }
