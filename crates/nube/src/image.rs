//! `nube image`: the images of this host.

use crate::cli::{Image, ImageCommand};
use crate::terminal::{self, Steps};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &Image) -> Result<ExitCode> {
    match &arguments.command {
        ImageCommand::List { json } => list(&arguments.cache, *json),
        ImageCommand::Build { name, guest, json } => build(&arguments.cache, name, guest.as_deref(), *json),
    }
}

fn list(cache: &Path, json: bool) -> Result<ExitCode> {
    let images = images::cache::list(cache)?;
    if json {
        let manifests: Vec<_> = images.iter().map(|image| &image.manifest).collect();
        terminal::json(&serde_json::to_value(manifests)?);
        return Ok(ExitCode::SUCCESS);
    }
    if images.is_empty() {
        terminal::say(format_args!("No image in {}. Build one with: nube image build nano", cache.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = images
        .iter()
        .map(|image| {
            let manifest = &image.manifest;
            let short = manifest.digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect();
            let size = format!("{} MiB", std::fs::metadata(image.disk()).map_or(0, |m| m.len() >> 20));
            vec![
                manifest.name.clone(),
                short,
                size,
                manifest.default_user.clone(),
                manifest.description.clone(),
            ]
        })
        .collect();
    terminal::table(&["NAME", "DIGEST", "SIZE", "USER", "DESCRIPTION"], &rows);
    Ok(ExitCode::SUCCESS)
}

fn build(cache: &Path, name: &str, guest: Option<&Path>, json: bool) -> Result<ExitCode> {
    if !["nano", images::debian::NAME].contains(&name) {
        bail!(
            "there is no recipe for \"{name}\"; the images that can be built are: nano, {}",
            images::debian::NAME
        );
    }
    let guest = match guest {
        Some(guest) => guest.to_owned(),
        None => guest_beside_this_program()?,
    };
    let steps = Steps::new(json);
    let manifest = if name == images::debian::NAME {
        images::debian::build(cache, &guest, &steps)?
    } else {
        images::nano::build(cache, &guest, &steps)?
    };
    if json {
        terminal::json(&serde_json::to_value(&manifest)?);
    } else {
        terminal::say(format_args!("Built {} in {}.", terminal::strong(&manifest.name), cache.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn guest_beside_this_program() -> Result<PathBuf> {
    let program = std::fs::read_link("/proc/self/exe").context("cannot tell where this program lies")?;
    let beside = program.with_file_name("nube-guest");
    // A package has it in ../lib, among programs that are not for people.
    let packaged = program.parent().and_then(Path::parent).map(|up| up.join("lib/nube/nube-guest"));
    let guest = packaged.filter(|packaged| !beside.is_file() && packaged.is_file()).unwrap_or(beside);
    if !guest.is_file() {
        bail!("the guest agent is not at {}; name it with --guest", guest.display());
    }
    Ok(guest)
}
