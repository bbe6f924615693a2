//! `nube status`: whether a cloud's processes run, what it carries, and what is not at rest.

use crate::cli::Status;
use crate::cloud_files::CloudDir;
use crate::config::HostKind;
use crate::{admin, lock, terminal};
use anyhow::Result;
use std::process::ExitCode;

pub fn run(arguments: &Status) -> Result<ExitCode> {
    let dir = CloudDir::existing(&arguments.data.data)?;
    let cloud = dir.read()?;
    let parts: &[&str] = match cloud.host {
        HostKind::Linux => &["up", "server", "agent"],
        HostKind::Sim => &["up", "server"],
    };
    let running: Vec<(&str, Option<i32>)> = parts
        .iter()
        .map(|part| (*part, lock::holder(&dir.run(), part).map(|pid| pid.as_raw_nonzero().get())))
        .collect();
    let answer = admin::ask::<admin::Status>(&dir, &admin::Question::Status);
    let healthy = answer.as_ref().is_ok_and(|status| status.host_connected && status.unsettled.is_empty());
    if arguments.json {
        let processes: serde_json::Map<_, _> =
            running.iter().map(|(name, pid)| ((*name).to_owned(), (*pid).into())).collect();
        terminal::json(&serde_json::json!({
            "data": dir.path(), "endpoint": cloud.endpoint(), "host": cloud.host,
            "tag": cloud.tag, "public_pool": cloud.public_pool, "processes": processes,
            "healthy": healthy, "status": answer.as_ref().ok(),
        }));
        return Ok(exit(healthy));
    }
    terminal::say(format_args!("Cloud     {} in {}", terminal::strong(&cloud.tag), dir.path().display()));
    terminal::say(format_args!("Endpoint  {}", cloud.endpoint()));
    for (name, pid) in running {
        let state = match pid {
            Some(pid) => terminal::good(format_args!("running (process {pid})")),
            None => terminal::bad("not running"),
        };
        terminal::say(format_args!("{name:9} {state}"));
    }
    match answer {
        Err(error) => terminal::say(format_args!("Server    {}", terminal::bad(format!("{error:#}")))),
        Ok(status) => {
            let host = match (status.host_connected, &status.host) {
                (true, Some(name)) => terminal::good(format_args!("{name}, connected")),
                _ => terminal::bad("not connected"),
            };
            terminal::say(format_args!("Host      {host}"));
            let instances: Vec<String> =
                status.instances.iter().map(|(state, n)| format!("{n} {state}")).collect();
            let instances = if instances.is_empty() { "none".into() } else { instances.join(", ") };
            terminal::say(format_args!("Instances {instances}"));
            if !status.unsettled.is_empty() {
                terminal::say("");
                let rows: Vec<_> = status
                    .unsettled
                    .iter()
                    .map(|o| {
                        vec![o.key.clone(), o.failures.to_string(), o.last_error.clone().unwrap_or_default()]
                    })
                    .collect();
                terminal::table(&["UNSETTLED", "FAILURES", "LAST ERROR"], &rows);
            }
        }
    }
    Ok(exit(healthy))
}

fn exit(healthy: bool) -> ExitCode {
    if healthy { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
