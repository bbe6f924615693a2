//! Where a disk's file is: the bucket and key of a request, or an address that stands for them.
//!
//! Addresses are read, never fetched: the cloud makes no connection for a caller.

use crate::errors::{client, invalid_parameter_value, missing_parameter};
use api_ec2::UserBucket;
use control::bucket::{Buckets, Missing};
use control::{Context, Result};
use model::record::kms::Encryption;
use model::record::transfer::{Disk, DiskFormat, Object};
use std::collections::HashMap;
use wire::ApiError;

/// What a request says of a disk.
pub struct Given<'a> {
    pub url: Option<&'a str>,
    pub bucket: Option<&'a UserBucket>,
    pub format: Option<&'a str>,
    pub description: Option<&'a str>,
    pub device: Option<&'a str>,
}

fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}

fn invalid(message: impl Into<String>) -> ApiError {
    client("InvalidParameter", message)
}

/// What was seen of files in buckets, before anything was decided.
pub struct Seen(HashMap<Object, Result<u64, Missing>>);

impl Seen {
    /// Looks for the files that a request names. What it cannot read of the request is for [`disk`] to tell.
    pub fn of<'a>(ctx: &Context, all: impl Iterator<Item = Given<'a>>) -> Self {
        let Some(buckets) = ctx.cloud.settings.buckets.as_ref() else { return Self(HashMap::new()) };
        let look = |object: &Object| {
            let file = buckets.open(&object.bucket, &object.key)?;
            file.metadata().map(|facts| facts.len()).map_err(Missing::Unusable)
        };
        let objects = all.filter_map(|given| object(&given).ok());
        Self(
            objects.map(|(object, _)| (look(&object), object)).map(|(seen, object)| (object, seen)).collect(),
        )
    }

    /// In bytes.
    fn size(&self, ctx: &Context, object: &Object) -> Result<u64> {
        buckets(ctx)?;
        match self.0.get(object) {
            Some(Ok(bytes)) => Ok(*bytes),
            Some(Err(why)) => Err(missing(why, object)),
            None => Err(missing(&Missing::Object, object)),
        }
    }
}

/// The object that is meant, and the address that stands for it if one does.
fn object(given: &Given<'_>) -> Result<(Object, Option<String>)> {
    match (text(given.url), given.bucket) {
        (Some(_), Some(_)) => Err(invalid("A disk container has either a Url or a UserBucket, not both.")),
        (Some(url), None) => Ok((parse(url)?, Some(url.to_owned()))),
        (None, Some(bucket)) => {
            let (Some(name), Some(key)) = (text(bucket.s3_bucket.as_deref()), text(bucket.s3_key.as_deref()))
            else {
                return Err(missing_parameter("S3Bucket and S3Key"));
            };
            Ok((Object { bucket: name.to_owned(), key: key.to_owned() }, None))
        }
        (None, None) => Err(missing_parameter("DiskContainer.Url or DiskContainer.UserBucket")),
    }
}

/// The disk of a file that is there.
pub fn disk(
    ctx: &Context,
    given: &Given<'_>,
    seen: &Seen,
    known: &[DiskFormat],
    encryption: Option<Encryption>,
) -> Result<Disk> {
    let stated = text(given.format).map(|text| format(text, known)).transpose()?;
    let (object, url) = object(given)?;
    Ok(Disk {
        bytes: Some(seen.size(ctx, &object)?),
        member: None,
        object: Some(object),
        url,
        description: super::description(given.description)?,
        device: text(given.device).map(str::to_owned),
        stated,
        format: None,
        encryption,
        snapshot: None,
        size: None,
    })
}

/// The buckets that the operator gave.
pub fn buckets(ctx: &Context) -> Result<&Buckets> {
    ctx.cloud.settings.buckets.as_ref().ok_or_else(|| {
        invalid(
            "The given S3 bucket does not exist: this cloud has no buckets. Its operator gives it some with \
             `nube up --buckets DIR`.",
        )
    })
}

pub fn missing(why: &Missing, object: &Object) -> ApiError {
    let Object { bucket, key } = object;
    let shown = |text: &str| text.chars().take(256).collect::<String>();
    match why {
        Missing::Bucket => invalid(format!("The given S3 bucket does not exist: {}", shown(bucket))),
        Missing::Object => {
            invalid(format!("The given S3 object does not exist: s3://{}/{}", shown(bucket), shown(key)))
        }
        Missing::Unusable(error) => {
            tracing::warn!(bucket, key, %error, "an object cannot be used");
            invalid(format!("The given S3 object cannot be accessed: s3://{}/{}", shown(bucket), shown(key)))
        }
    }
}

fn format(text: &str, known: &[DiskFormat]) -> Result<DiskFormat> {
    DiskFormat::parse(text).filter(|format| known.contains(format)).ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        let known: Vec<_> = known.iter().map(|format| format.as_str()).collect();
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter Format is invalid. Known are {}.",
            known.join(", ")
        ))
    })
}

/// The object that an address stands for.
fn parse(url: &str) -> Result<Object> {
    let object = match url.strip_prefix("s3://") {
        Some(rest) => rest.split_once('/').map(|(bucket, key)| (bucket.to_owned(), key.to_owned())),
        None => https(url),
    };
    let (bucket, key) = object.ok_or_else(|| {
        let shown: String = url.chars().take(128).collect();
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter Url is invalid. It must be s3://BUCKET/KEY or the https address of an object \
             in S3: this cloud fetches nothing from the network."
        ))
    })?;
    Ok(Object { bucket, key })
}

/// Of an `https` address in one of S3's forms. What signs it is left aside: the object is not fetched by it.
fn https(url: &str) -> Option<(String, String)> {
    let rest = url.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://")).map(|_| &url[8..])?;
    let rest = rest.split(['?', '#']).next()?;
    let (host, path) = rest.split_once('/')?;
    let host = host.to_ascii_lowercase();
    let service = host.strip_suffix(".amazonaws.com")?;
    let path = decode(path)?;
    if is_s3(service) {
        let (bucket, key) = path.split_once('/')?;
        return Some((bucket.to_owned(), key.to_owned()));
    }
    // The bucket's name may have points, too.
    let ends = service.match_indices('.').map(|(at, _)| at);
    let at = ends.into_iter().find(|at| is_s3(&service[at + 1..]))?;
    Some((service[..at].to_owned(), path))
}

/// `s3`, `s3.REGION` or, as of old, `s3-REGION`.
fn is_s3(service: &str) -> bool {
    let Some(rest) = service.strip_prefix("s3") else { return false };
    let region = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    rest.is_empty() || rest.strip_prefix(['.', '-']).is_some_and(region)
}

/// A path without its percent signs.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_in_s3_is_read() {
        let known = [
            ("s3://disks/a/b.vmdk", "disks", "a/b.vmdk"),
            ("https://disks.s3.amazonaws.com/a/b.vmdk", "disks", "a/b.vmdk"),
            ("https://s3.amazonaws.com/disks/a/b.vmdk", "disks", "a/b.vmdk"),
            ("https://s3.eu-west-1.amazonaws.com/disks/b", "disks", "b"),
            ("https://my.disks.s3.eu-west-1.amazonaws.com/b%20c?X-Amz-Signature=1", "my.disks", "b c"),
            ("HTTPS://disks.s3-us-west-2.amazonaws.com/b", "disks", "b"),
        ];
        for (url, bucket, key) in known {
            let object = parse(url).unwrap();
            assert_eq!((object.bucket.as_str(), object.key.as_str()), (bucket, key), "{url}");
        }
    }

    #[test]
    fn no_other_address_is_taken() {
        let others = [
            "http://disks.s3.amazonaws.com/b",
            "https://example.com/b",
            "https://169.254.169.254/latest/meta-data/",
            "https://s3.amazonaws.com.example.com/disks/b",
            "https://s3.amazonaws.com@example.com/disks/b",
            "https://s3.amazonaws.com:8080/disks/b",
            "https://amazonaws.com/disks/b",
            "https://ec2.amazonaws.com/disks/b",
            "https://s3.amazonaws.com/disks",
            "file:///etc/shadow",
            "/etc/shadow",
            "https://s3.amazonaws.com/disks/%zz",
            "",
        ];
        for url in others {
            assert_eq!(parse(url).unwrap_err().code(), "InvalidParameterValue", "{url}");
        }
    }
}
