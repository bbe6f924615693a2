//! Presets of AWS clients: endpoint, region and certificate authority of the cloud that this instance runs in.
//!
//! Asked of the metadata service at each boot (`dynamic/nube`, which is not of AWS) and kept below `/run`, so a disk that
//! wakes up in another cloud knows nothing of the last. Login shells and user data have them as variables.

use std::sync::OnceLock;

use crate::console::report;
use crate::files::{self, PUBLIC};
use crate::imds::Imds;

const SETTINGS: &str = "/run/nube/endpoint.env";
const AUTHORITY: &str = "/run/nube/ca-bundle.pem";

static VARIABLES: OnceLock<Vec<(&str, String)>> = OnceLock::new();

/// The variables of this boot; none before [`preset`], and none in a cloud that does not tell.
pub fn variables() -> &'static [(&'static str, String)] {
    VARIABLES.get().map_or(&[], Vec::as_slice)
}

/// Asks, and writes what login shells read.
pub fn preset(imds: &mut Imds) {
    let endpoint = imds.text("dynamic/nube/endpoint");
    let region = imds.text("meta-data/placement/region");
    let (Some(endpoint), Some(region)) = (endpoint, region) else { return };
    let authority = imds.text("dynamic/nube/ca.pem").filter(|authority| {
        let text = format!("{authority}\n");
        report("certificate authority", files::write(AUTHORITY, text.as_bytes(), PUBLIC)).is_some()
    });
    let variables = render(endpoint, region, authority.is_some());
    let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    report("presets of clients", files::write(SETTINGS, lines.concat().as_bytes(), PUBLIC));
    let _ = VARIABLES.set(variables);
}

fn render(endpoint: String, region: String, has_authority: bool) -> Vec<(&'static str, String)> {
    let mut variables =
        vec![("AWS_ENDPOINT_URL", endpoint), ("AWS_REGION", region.clone()), ("AWS_DEFAULT_REGION", region)];
    if has_authority {
        variables.push(("AWS_CA_BUNDLE", AUTHORITY.to_owned()));
    }
    // They become shell text.
    variables.retain(|(_, value)| !value.contains(['\'', '\n']));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_named_only_where_there_is_one() {
        let names = |has| -> Vec<&str> {
            let variables = render("https://api.nube.internal".into(), "us-east-1".into(), has);
            variables.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(false), ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"]);
        assert_eq!(names(true).last(), Some(&"AWS_CA_BUNDLE"));
        let odd = render("x'; reboot; '".into(), "us-east-1".into(), false);
        assert!(odd.iter().all(|(name, _)| *name != "AWS_ENDPOINT_URL"));
    }
}
