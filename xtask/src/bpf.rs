//! The programs that the kernel runs at ports: compiled here, kept in the repository, so nobody else needs the compiler.

use crate::{packages, run};
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::path::Path;

const SOURCE: &str = "crates/agent/src/host/linux/net/bpf/port.c";
const RESULT: &str = "crates/agent/src/host/linux/net/bpf/bytecode.rs";
/// What another compiler makes of it differs by a little.
const COMPILER: &str = "clang-14";
/// The sections of the object, and what their programs are called.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("ingress", "FROM_PORT", "For frames that a machine sends."),
    ("egress", "TO_PORT", "For frames that go to a machine."),
];

/// Writes the programs anew.
pub fn run() -> Result<()> {
    std::fs::write(RESULT, compile()?).context(RESULT)
}

/// Fails unless what is kept is what the source says.
pub fn check() -> Result<()> {
    if std::fs::read_to_string(RESULT).context(RESULT)? != compile()? {
        bail!("{RESULT} is not what {SOURCE} says; make it anew: cargo xtask bpf");
    }
    Ok(())
}

fn compile() -> Result<String> {
    packages::ensure(&[COMPILER])?;
    let folder = run::target().join("bpf");
    std::fs::create_dir_all(&folder)?;
    let object = folder.join("port.o").display().to_string();
    let headers = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let options = ["-O2", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", &headers];
    run::program(COMPILER, &[&options[..], &["-c", SOURCE, "-o", &object]].concat())?;
    let mut text =
        String::from("//! Made of port.c by `cargo xtask bpf`.\n\n#![allow(clippy::unreadable_literal)]\n");
    for (section, name, purpose) in PROGRAMS {
        let bytes = folder.join(section).display().to_string();
        let cut = ["-I", "elf64-little", "-O", "binary", "-j", section, &object, &bytes];
        run::program("objcopy", &cut)?;
        let bytes = std::fs::read(Path::new(&bytes))?;
        let (words, rest) = bytes.as_chunks::<8>();
        ensure!(!words.is_empty() && rest.is_empty(), "{section} is no program");
        let _ =
            write!(text, "\n/// {purpose}\n#[rustfmt::skip]\npub const {name}: [u64; {}] = [", words.len());
        for (n, word) in words.iter().enumerate() {
            text.push_str(if n % 6 == 0 { "\n    " } else { " " });
            let _ = write!(text, "0x{:016x},", u64::from_le_bytes(*word));
        }
        text.push_str("\n];\n");
    }
    Ok(text)
}
