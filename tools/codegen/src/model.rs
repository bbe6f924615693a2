//! The reduced models as `reduce.py` writes them.

use std::collections::BTreeMap;

use serde::Deserialize;

pub struct Model {
    pub source: String,
    pub service: String,
    pub metadata: Metadata,
    pub operations: Vec<Operation>,
    pub shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
struct File {
    source: String,
    service: String,
    metadata: Metadata,
    operations: Vec<Operation>,
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub api_version: String,
    pub endpoint_prefix: String,
    pub signing_name: Option<String>,
    pub protocol: String,
    #[serde(default)]
    pub json_version: String,
    #[serde(default)]
    pub xml_namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub name: String,
    pub http: Http,
    pub input: Option<Reference>,
    pub output: Option<Reference>,
    #[serde(default)]
    pub errors: Vec<String>,
    pub authtype: Option<String>,
    pub paging: Option<Paging>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    pub method: String,
    pub request_uri: String,
    pub response_code: Option<u16>,
}

#[derive(Deserialize)]
pub struct Paging {
    pub input_token: OneOrMany,
    pub output_token: OneOrMany,
    pub limit_key: Option<String>,
}

/// A few operations of other services page by several tokens at once.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(serde::de::IgnoredAny),
}

/// A use of a shape, and what the use adds to it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// Of a member; empty elsewhere.
    #[serde(default)]
    pub name: String,
    pub shape: String,
    pub location_name: Option<String>,
    pub query_name: Option<String>,
    pub location: Option<String>,
    pub result_wrapper: Option<String>,
    pub timestamp_format: Option<String>,
    #[serde(default)]
    pub flattened: bool,
    #[serde(default)]
    pub idempotency_token: bool,
    #[serde(default)]
    pub xml_attribute: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(default)]
    pub members: Vec<Reference>,
    #[serde(default)]
    pub required: Vec<String>,
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub pattern: Option<String>,
    #[serde(default)]
    pub sensitive: bool,
    #[serde(default)]
    pub union: bool,
    #[serde(default)]
    pub flattened: bool,
    pub location_name: Option<String>,
    pub timestamp_format: Option<String>,
    pub payload: Option<String>,
    pub member: Option<Reference>,
    pub key: Option<Reference>,
    pub value: Option<Reference>,
    pub error: Option<ErrorFacts>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Structure,
    List,
    Map,
    String,
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    Timestamp,
    Blob,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorFacts {
    pub code: Option<String>,
    pub http_status_code: Option<u16>,
}

impl Model {
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let shapes = file.shapes.into_iter().map(|shape| (shape.name.clone(), shape)).collect();
        let File { source, service, metadata, operations, .. } = file;
        Ok(Self { source, service, metadata, operations, shapes })
    }

    pub fn shape(&self, name: &str) -> Result<&Shape, String> {
        self.shapes.get(name).ok_or_else(|| format!("no shape {name}"))
    }
}
