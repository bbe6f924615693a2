//! `nube image`: the images of this host.

use crate::cli::{Image, ImageCommand, Import};
use crate::terminal::{self, Steps};
use anyhow::{Context as _, Result, bail};
use images::debian::Mirror;
use model::host::Architecture;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &Image) -> Result<ExitCode> {
    match &arguments.command {
        ImageCommand::List { json } => list(&arguments.cache, *json),
        ImageCommand::Import(import) => self::import(&arguments.cache, import),
        ImageCommand::Build { name, mirror, guest, json } => {
            build(&arguments.cache, name, mirror.as_deref(), guest.as_deref(), *json)
        }
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
                manifest.architecture.as_str().to_owned(),
                short,
                size,
                manifest.default_user.clone(),
                manifest.description.clone(),
            ]
        })
        .collect();
    terminal::table(&["NAME", "ARCH", "DIGEST", "SIZE", "USER", "DESCRIPTION"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// The images that are built here, each with the architecture of its guests.
const RECIPES: [(&str, Architecture); 3] = [
    (images::nano::name(Architecture::X86_64), Architecture::X86_64),
    (images::nano::name(Architecture::Arm64), Architecture::Arm64),
    (images::debian::NAME, Architecture::X86_64),
];

fn build(
    cache: &Path,
    name: &str,
    mirror: Option<&str>,
    guest: Option<&Path>,
    json: bool,
) -> Result<ExitCode> {
    let Some((_, architecture)) = RECIPES.iter().find(|(known, _)| *known == name) else {
        let known = RECIPES.map(|(known, _)| known).join(", ");
        bail!("there is no recipe for \"{name}\"; the images that can be built are: {known}");
    };
    let guest = match guest {
        Some(guest) => guest.to_owned(),
        None => guest_beside_this_program(*architecture)?,
    };
    let steps = Steps::new(json);
    let manifest = if name == images::debian::NAME {
        let mirror = mirror.map_or_else(Mirror::of_host, |uri| Ok(Mirror::at(uri)))?;
        images::debian::build(cache, &mirror, &guest, &steps)?
    } else {
        if mirror.is_some() {
            bail!(
                "{name} is built from the packages that this host's apt finds; --mirror is for {}",
                images::debian::NAME
            );
        }
        images::nano::build(cache, *architecture, &guest, &steps)?
    };
    if json {
        terminal::json(&serde_json::to_value(&manifest)?);
    } else {
        terminal::say(format_args!("Built {} in {}.", terminal::strong(&manifest.name), cache.display()));
        warn_of_what_is_missing(*architecture);
    }
    Ok(ExitCode::SUCCESS)
}

fn import(cache: &Path, arguments: &Import) -> Result<ExitCode> {
    let order = images::import::Order {
        source: images::import::Source::parse(&arguments.source),
        sha256: arguments.sha256.clone(),
        name: arguments.name.clone(),
        architecture: match arguments.arch.as_deref() {
            None => None,
            Some(name) => Some(
                Architecture::parse(name).with_context(|| format!("{name:?} is neither x86_64 nor arm64"))?,
            ),
        },
        user: arguments.user.clone(),
    };
    let manifest = images::import::import(cache, &order, &Steps::new(arguments.json))?;
    if arguments.json {
        terminal::json(&serde_json::to_value(&manifest)?);
        return Ok(ExitCode::SUCCESS);
    }
    let digest = manifest.digest.rsplit(':').next().unwrap_or_default();
    let images::Boot::Firmware { firmware } = manifest.boot else {
        bail!("an imported image boots by firmware");
    };
    terminal::say(format_args!(
        "Imported {}: {}, {}, {} GiB, user {}. A running cloud lists it within seconds as nube/{}-{}.",
        terminal::strong(&manifest.name),
        manifest.architecture.as_str(),
        firmware.as_str(),
        manifest.min_disk_gib,
        manifest.default_user,
        manifest.name,
        &digest[..digest.len().min(12)],
    ));
    warn_of_what_is_missing(manifest.architecture);
    Ok(ExitCode::SUCCESS)
}

/// What this host lacks for machines of this image. The image is good either way.
fn warn_of_what_is_missing(architecture: Architecture) {
    if architecture != Architecture::X86_64 {
        for lack in agent::host::linux::requirements::missing_for(architecture) {
            terminal::say(format_args!("To launch it: {lack}"));
        }
    }
}

fn guest_beside_this_program(architecture: Architecture) -> Result<PathBuf> {
    let name = match architecture {
        Architecture::X86_64 => "nube-guest",
        Architecture::Arm64 => "nube-guest-arm64",
    };
    let program = std::fs::read_link("/proc/self/exe").context("cannot tell where this program lies")?;
    let beside = program.with_file_name(name);
    // A package has it in ../lib, among programs that are not for people.
    let packaged = program.parent().and_then(Path::parent).map(|up| up.join("lib/nube").join(name));
    let guest = packaged.filter(|packaged| !beside.is_file() && packaged.is_file()).unwrap_or(beside);
    if !guest.is_file() {
        bail!("the guest agent is not at {}; name it with --guest", guest.display());
    }
    Ok(guest)
}
