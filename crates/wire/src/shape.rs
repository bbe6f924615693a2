//! Static descriptions of shapes: what a codec must know about a type and its members.
//!
//! The tables are generated, one `static` per shape; they refer to each other, so that recursive shapes need nothing special.
//! They carry what every AWS protocol needs (member name, location name, location, flattening, …), not only what is used today.
//! `pattern` is a fact for operations: no codec enforces it.

/// A structure: its name in the service model and its members, in the order of the model.
/// The position of a member is its index for [`crate::Structure`].
#[derive(Debug)]
pub struct StructShape {
    pub name: &'static str,
    pub members: &'static [Member],
    /// The whole value is a secret: `Debug` prints a mask.
    pub sensitive: bool,
    /// Exactly one member is set.
    pub union: bool,
    /// The member that is the whole body (rest protocols).
    pub payload: Option<&'static str>,
}

impl StructShape {
    /// For struct update syntax in generated tables.
    pub const BASE: Self = Self { name: "", members: &[], sensitive: false, union: false, payload: None };

    /// The index of the member called `name` in the service model.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }
}

/// A member of a structure.
#[allow(clippy::struct_excessive_bools)] // facts of the model, each independent of the others
#[derive(Debug)]
pub struct Member {
    /// The name in the service model, as SDKs show it.
    pub name: &'static str,
    pub location_name: Option<&'static str>,
    /// The name in a form body of the ec2 protocol, when it differs from the location name.
    pub query_name: Option<&'static str>,
    pub location: Location,
    pub target: Target,
    pub required: bool,
    /// A list or map without an element around it.
    pub flattened: bool,
    /// The SDK fills in a random token when the caller gives none.
    pub idempotency_token: bool,
    pub xml_attribute: bool,
}

impl Member {
    /// For struct update syntax in generated tables.
    pub const BASE: Self = Self {
        name: "",
        location_name: None,
        query_name: None,
        location: Location::Body,
        target: Target::STRING,
        required: false,
        flattened: false,
        idempotency_token: false,
        xml_attribute: false,
    };

    /// The name on the wire where no protocol rule changes it: the location name, else the member name.
    pub fn wire_name(&self) -> &'static str {
        self.location_name.unwrap_or(self.name)
    }
}

/// Where in the HTTP message a member travels (rest protocols; all others use the body alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body,
    Header,
    /// All headers that begin with the location name.
    Headers,
    Uri,
    QueryString,
    StatusCode,
}

/// What a member, a list item or a map value holds.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Boolean,
    Integer(&'static NumberShape),
    Long(&'static NumberShape),
    Float(&'static NumberShape),
    Double(&'static NumberShape),
    String(&'static StringShape),
    Timestamp(TimestampFormat),
    Blob,
    Structure(&'static StructShape),
    List(&'static ListShape),
    Map(&'static MapShape),
}

impl Target {
    pub const INTEGER: Self = Self::Integer(&NumberShape::ANY);
    pub const LONG: Self = Self::Long(&NumberShape::ANY);
    pub const FLOAT: Self = Self::Float(&NumberShape::ANY);
    pub const DOUBLE: Self = Self::Double(&NumberShape::ANY);
    pub const STRING: Self = Self::String(&StringShape::BASE);
    pub const TIMESTAMP: Self = Self::Timestamp(TimestampFormat::ProtocolDefault);
}

/// A number, with its bounds (both inclusive) where the model states them.
#[derive(Debug)]
pub struct NumberShape {
    pub name: &'static str,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl NumberShape {
    pub const ANY: Self = Self { name: "", min: None, max: None };
}

/// Bounds on a length (both inclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub min: Option<u64>,
    pub max: Option<u64>,
}

impl Limits {
    pub const NONE: Self = Self { min: None, max: None };
}

/// A string; with `values` it is an open enum.
#[derive(Debug)]
pub struct StringShape {
    pub name: &'static str,
    /// The values that the model knows; empty for plain strings. Others are accepted at decode and refused by operations.
    pub values: &'static [&'static str],
    /// Bounds in characters.
    pub length: Limits,
    pub pattern: Option<&'static str>,
    /// A secret: masked in `Debug` and in error messages.
    pub sensitive: bool,
}

impl StringShape {
    pub const BASE: Self =
        Self { name: "", values: &[], length: Limits::NONE, pattern: None, sensitive: false };
}

/// A list. Its items have one target and, in XML and forms, a name.
#[derive(Debug)]
pub struct ListShape {
    pub name: &'static str,
    pub item: Target,
    /// The element (or form segment) of an item; each protocol has its own default.
    pub item_name: Option<&'static str>,
    pub flattened: bool,
    /// Bounds on the number of items.
    pub length: Limits,
}

impl ListShape {
    pub const BASE: Self =
        Self { name: "", item: Target::STRING, item_name: None, flattened: false, length: Limits::NONE };
}

/// A map from strings.
#[derive(Debug)]
pub struct MapShape {
    pub name: &'static str,
    pub key_name: Option<&'static str>,
    pub value_name: Option<&'static str>,
    pub value: Target,
    pub flattened: bool,
}

impl MapShape {
    pub const BASE: Self =
        Self { name: "", key_name: None, value_name: None, value: Target::STRING, flattened: false };
}

/// How a timestamp is written when the model overrides the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    ProtocolDefault,
    Iso8601,
    Rfc822,
    UnixSeconds,
}
