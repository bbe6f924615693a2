//! How the program is linked, where size counts: without symbols, functions that came out alike kept once (a tenth of a program that speaks
//! hundreds of operations through the same few generic functions), and relocations packed.

#![allow(clippy::disallowed_methods, reason = "a build script reads its configuration from its environment")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    if of("PROFILE") != "release" {
        return;
    }
    // A package whose profile is its own does not inherit this from `[profile.release]`.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    let target = (of("CARGO_CFG_TARGET_ARCH"), of("CARGO_CFG_TARGET_OS"), of("CARGO_CFG_TARGET_ENV"));
    // Here rustc links by its own lld, which knows how; elsewhere by whatever there is.
    if target == ("x86_64".into(), "linux".into(), "gnu".into()) {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        if c_library() >= Some((2, 36)) {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// The version of this host's C library: older ones than 2.36 do not know packed relocations.
fn c_library() -> Option<(u32, u32)> {
    let said = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
