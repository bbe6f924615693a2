//! `nube env`: the shell lines that point AWS clients at a cloud.
//!
//! With TLS they name the cloud's own authority, and no other: that is all that clients need for this endpoint.

use crate::cli::Env;
use crate::cloud_files::CloudDir;
use crate::{terminal, tls};
use anyhow::Result;
use std::process::ExitCode;

pub fn run(arguments: &Env) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let (cloud, credentials) = (dir.read()?, dir.credentials()?);
    let mut variables = vec![
        ("AWS_ENDPOINT_URL", cloud.endpoint()),
        ("AWS_ACCESS_KEY_ID", credentials.access_key_id.to_string()),
        ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key),
        ("AWS_DEFAULT_REGION", cloud.regions[0].to_string()),
        ("AWS_REGION", cloud.regions[0].to_string()),
    ];
    if cloud.tls {
        variables.push(("AWS_CA_BUNDLE", tls::authority_file(&dir).display().to_string()));
    }
    if arguments.json {
        let object: serde_json::Map<_, _> =
            variables.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        terminal::json(&object.into());
    } else {
        // A profile or a token of another cloud would win over these.
        terminal::say("unset AWS_PROFILE AWS_SESSION_TOKEN");
        for (name, value) in variables {
            // Of the values only a path can hold a quote.
            terminal::say(format_args!("export {name}='{}'", value.replace('\'', r"'\''")));
        }
    }
    Ok(ExitCode::SUCCESS)
}
