//! What can be wrong with a signature, and how each family of services says it.

/// The first group comes from `parse` and `verify`; the last four are found by the caller, who knows keys and scopes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SigError {
    /// The request is not signed at all.
    Missing,
    /// Signed in the header and in the query.
    Ambiguous,
    UnsupportedAlgorithm,
    /// A part is not there: `Credential`, `SignedHeaders`, `Signature`, `X-Amz-Date`, …
    Incomplete(&'static str),
    /// A part is there but cannot be read.
    Malformed(&'static str),
    /// The credential's scope is of another day than the request's date.
    ScopeDate,
    /// A header that must be signed is not.
    UnsignedHeader(String),
    /// A header is signed but not in the request.
    AbsentHeader(String),
    /// The date is over 15 minutes from now.
    Skewed,
    /// A presigned request after its end.
    Expired,
    /// The body is not the one that `x-amz-content-sha256` names.
    PayloadMismatch,
    /// The body is not covered by the signature, and must be.
    UnsignedPayload,
    Mismatch,
    UnknownKey,
    InvalidToken,
    ExpiredToken,
    /// Signed for another region or service.
    WrongScope,
}

impl std::fmt::Display for SigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("The request carries no signature."),
            Self::Ambiguous => f.write_str("The request is signed twice, in its headers and in its query."),
            Self::UnsupportedAlgorithm => {
                f.write_str("The only signing algorithm known here is AWS4-HMAC-SHA256.")
            }
            Self::Incomplete(part) => write!(f, "The signature lacks {part}."),
            Self::Malformed(part) => write!(f, "The signature's {part} cannot be read."),
            Self::ScopeDate => f.write_str("The credential scope is of another day than the request."),
            Self::UnsignedHeader(name) => write!(f, "The header {name} must be part of the signature."),
            Self::AbsentHeader(name) => write!(f, "The header {name} is signed but was not sent."),
            Self::Skewed => f.write_str("The request's date is more than 15 minutes from the time here."),
            Self::Expired => f.write_str("The presigned request has expired."),
            Self::PayloadMismatch => f.write_str("The body does not have the hash that the request names."),
            Self::UnsignedPayload => f.write_str("The signature must cover the body."),
            Self::Mismatch => f.write_str("The signature does not match the request and the key."),
            Self::UnknownKey => f.write_str("The access key is not known here."),
            Self::InvalidToken => f.write_str("The session token does not belong to the access key."),
            Self::ExpiredToken => f.write_str("The session token has expired."),
            Self::WrongScope => f.write_str("The signature is for another region or service."),
        }
    }
}

impl std::error::Error for SigError {}

/// Services that answer alike.
#[derive(Clone, Copy)]
enum Family {
    Ec2,
    Query,
    Json,
    Rest,
    S3,
}

impl Family {
    fn of(service: &str) -> Self {
        match service {
            "ec2" => Self::Ec2,
            "s3" | "s3express" | "s3-outposts" | "s3-object-lambda" => Self::S3,
            "sts"
            | "iam"
            | "autoscaling"
            | "elasticloadbalancing"
            | "monitoring"
            | "sns"
            | "rds"
            | "cloudformation"
            | "elasticbeanstalk" => Self::Query,
            "dynamodb" | "sqs" | "ssm" | "kms" | "logs" | "events" | "ecs" => Self::Json,
            _ => Self::Rest,
        }
    }
}

/// The error code and HTTP status that `service` (its signing name) answers; the message is the error's own sentence.
pub fn public_error(service: &str, error: &SigError) -> (&'static str, u16) {
    use SigError as E;
    match Family::of(service) {
        Family::Ec2 => match error {
            E::Missing => ("MissingAuthenticationToken", 403),
            E::Ambiguous | E::UnsupportedAlgorithm | E::Incomplete(_) | E::Malformed(_) => {
                ("IncompleteSignature", 400)
            }
            E::Skewed | E::Expired | E::ExpiredToken => ("RequestExpired", 400),
            E::ScopeDate
            | E::UnsignedHeader(_)
            | E::AbsentHeader(_)
            | E::PayloadMismatch
            | E::UnsignedPayload
            | E::Mismatch
            | E::UnknownKey
            | E::InvalidToken
            | E::WrongScope => ("AuthFailure", 401),
        },
        Family::Query => match error {
            E::Missing => ("MissingAuthenticationToken", 403),
            E::Ambiguous | E::UnsupportedAlgorithm | E::Incomplete(_) | E::Malformed(_) => {
                ("IncompleteSignature", 400)
            }
            E::UnknownKey | E::InvalidToken => ("InvalidClientTokenId", 403),
            E::ExpiredToken => ("ExpiredToken", 403),
            E::ScopeDate
            | E::UnsignedHeader(_)
            | E::AbsentHeader(_)
            | E::Skewed
            | E::Expired
            | E::PayloadMismatch
            | E::UnsignedPayload
            | E::Mismatch
            | E::WrongScope => ("SignatureDoesNotMatch", 403),
        },
        Family::Json => (exception(error), 400),
        Family::Rest => (exception(error), 403),
        Family::S3 => match error {
            E::Missing | E::UnsignedHeader(_) | E::Expired => ("AccessDenied", 403),
            E::Ambiguous => ("InvalidArgument", 400),
            E::UnsupportedAlgorithm | E::UnsignedPayload => ("InvalidRequest", 400),
            E::Incomplete(_) | E::Malformed(_) | E::ScopeDate | E::WrongScope => {
                ("AuthorizationHeaderMalformed", 400)
            }
            E::Skewed => ("RequestTimeTooSkewed", 403),
            E::PayloadMismatch => ("XAmzContentSHA256Mismatch", 400),
            E::AbsentHeader(_) | E::Mismatch => ("SignatureDoesNotMatch", 403),
            E::UnknownKey => ("InvalidAccessKeyId", 403),
            E::InvalidToken => ("InvalidToken", 400),
            E::ExpiredToken => ("ExpiredToken", 400),
        },
    }
}

/// The JSON protocols share their names and differ in the status.
fn exception(error: &SigError) -> &'static str {
    use SigError as E;
    match error {
        E::Missing => "MissingAuthenticationTokenException",
        E::Ambiguous | E::UnsupportedAlgorithm | E::Incomplete(_) | E::Malformed(_) => {
            "IncompleteSignatureException"
        }
        E::UnknownKey | E::InvalidToken => "UnrecognizedClientException",
        E::ExpiredToken => "ExpiredTokenException",
        E::ScopeDate
        | E::UnsignedHeader(_)
        | E::AbsentHeader(_)
        | E::Skewed
        | E::Expired
        | E::PayloadMismatch
        | E::UnsignedPayload
        | E::Mismatch
        | E::WrongScope => "InvalidSignatureException",
    }
}
