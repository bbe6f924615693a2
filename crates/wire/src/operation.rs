//! Operations and services: what the gateway routes by and control dispatches on.

use crate::{ApiError, ErrorShape, StructShape, Structure};

/// One operation of a service, as a marker type (`ops::RunInstances`): several operations may share a shape.
pub trait Operation: Send + Sync + 'static {
    type Input: Structure + Default + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    type Output: Structure + Default + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static;
    const SHAPE: &'static OperationShape;
    /// The action, as callers name it.
    const NAME: &'static str = Self::SHAPE.name;
}

/// Facts of one operation.
#[derive(Debug)]
pub struct OperationShape {
    pub name: &'static str,
    pub input: &'static StructShape,
    pub output: &'static StructShape,
    /// The model has no output: the generated one is empty (the ec2 protocol answers `<return>true</return>`).
    pub void: bool,
    /// The element around the output in the query protocol.
    pub result_wrapper: Option<&'static str>,
    /// Callers need not sign (`AssumeRoleWithWebIdentity`).
    pub unsigned: bool,
    /// Callers need not sign the body (`PutSnapshotBlock`).
    pub unsigned_payload: bool,
    pub method: &'static str,
    pub uri: &'static str,
    /// The status of success.
    pub status: u16,
    pub paging: Option<Paging>,
    pub errors: &'static [&'static ErrorShape],
}

impl OperationShape {
    /// For struct update syntax in generated tables.
    pub const BASE: Self = Self {
        name: "",
        input: &StructShape::BASE,
        output: &StructShape::BASE,
        void: false,
        result_wrapper: None,
        unsigned: false,
        unsigned_payload: false,
        method: "POST",
        uri: "/",
        status: 200,
        paging: None,
        errors: &[],
    };
}

/// The members by which an operation pages, by their names in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    pub input_token: &'static str,
    pub output_token: &'static str,
    pub limit: Option<&'static str>,
}

/// How a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    Ec2,
    Query,
    Json10,
    Json11,
    RestJson,
    RestXml,
    RpcV2Cbor,
}

/// A service of the model.
#[derive(Debug)]
pub struct ServiceShape {
    /// The name in signatures and ARNs (`ec2`).
    pub name: &'static str,
    pub api_version: &'static str,
    pub protocol: Protocol,
    pub xml_namespace: &'static str,
    /// Sorted by name.
    pub operations: &'static [&'static OperationShape],
}

impl Protocol {
    /// Whether requests are JSON and name their operation in a header.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json10 | Self::Json11)
    }

    /// Whether answers are JSON, wherever their operation is named.
    pub const fn is_any_json(self) -> bool {
        self.is_json() || matches!(self, Self::RestJson)
    }
}

impl ServiceShape {
    /// The operation called `name`, built or not.
    pub fn operation(&self, name: &str) -> Option<&'static OperationShape> {
        self.operations
            .binary_search_by(|operation| operation.name.cmp(name))
            .ok()
            .map(|index| self.operations[index])
    }

    /// `InvalidAction` or `UnknownOperationException`: the service has no such operation.
    pub fn unknown_action(&self, name: &str) -> ApiError {
        let shown: String = name.chars().take(100).collect();
        ApiError::new(
            if self.protocol.is_any_json() { "UnknownOperationException" } else { "InvalidAction" },
            if self.protocol == Protocol::RestJson { 404 } else { 400 },
            format!("The action {shown} is not valid for {} {}.", self.name, self.api_version),
        )
    }

    /// `UnsupportedOperation` or `UnsupportedOperationException`: the service has it, Nube has not built it.
    pub fn not_built(&self, operation: &OperationShape) -> ApiError {
        ApiError::new(
            if self.protocol.is_any_json() {
                "UnsupportedOperationException"
            } else {
                "UnsupportedOperation"
            },
            400,
            format!("The operation {} of {} is not supported by this cloud yet.", operation.name, self.name),
        )
    }
}
