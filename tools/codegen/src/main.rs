//! `models/*.json` → `crates/api-*/src/generated/`: plain structs, open enums, shape tables and operation markers.
//!
//! `cargo run -p codegen` writes; `cargo run -p codegen -- --check` exits 1 when what is committed is not current.
//! Deterministic: the models alone decide every byte. The output is exempt from rustfmt (its crates skip the module);
//! it has a layout of its own, one line a member. Models come from `tools/codegen/reduce.py`.
//!
//! A new service: add it to `reduce.py`, make `crates/api-<service>` with a `lib.rs` like that of `api-ec2`, and run both.

mod buckets;
mod emit;
mod graph;
mod model;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The files of one crate's `src/generated`, by name.
type Files = BTreeMap<String, String>;

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: codegen [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            for path in stale {
                eprintln!("not current: {}", path.display());
            }
            eprintln!("run `cargo xtask codegen`");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("codegen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Generates every service; with `check` it writes nothing and returns what differs.
fn run(check: bool) -> Result<Vec<PathBuf>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace root")?;
    let mut models: Vec<PathBuf> = list(&root.join("models"))?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    models.sort();
    let mut stale = Vec::new();
    for path in models {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let model = model::Model::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let files = emit::service(&model).map_err(|error| format!("{}: {error}", path.display()))?;
        let target = root.join(format!("crates/api-{}/src/generated", model.service));
        stale.extend(reconcile(&target, &files, check)?);
    }
    Ok(stale)
}

/// Makes `target` hold exactly `files`; with `check` only says what it would change.
fn reconcile(target: &Path, files: &Files, check: bool) -> Result<Vec<PathBuf>, String> {
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut changed = Vec::new();
    if !check {
        std::fs::create_dir_all(target).map_err(|error| fail(target, error))?;
    }
    let present = if target.exists() { list(target)? } else { Vec::new() };
    for path in present {
        let known =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| files.contains_key(name));
        if !known {
            if !check {
                std::fs::remove_file(&path).map_err(|error| fail(&path, error))?;
            }
            changed.push(path);
        }
    }
    for (name, text) in files {
        let path = target.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        if !check {
            std::fs::write(&path, text).map_err(|error| fail(&path, error))?;
        }
        changed.push(path);
    }
    Ok(if check { changed } else { Vec::new() })
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::read_dir(folder)
        .map_err(fail)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(fail))
        .collect()
}
