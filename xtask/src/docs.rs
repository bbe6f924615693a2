//! Documentation that stays true: links lead somewhere, and nothing names the machine that it was written on.

use crate::run;
use anyhow::{Result, bail};
use std::path::Path;

pub fn run() -> Result<()> {
    let mut wrong = Vec::new();
    for page in
        run::output("git", &["ls-files", "--cached", "--others", "--exclude-standard", "*.md"])?.lines()
    {
        let Ok(text) = std::fs::read_to_string(page) else { continue };
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        for target in links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !folder.join(path).exists() {
                wrong.push(format!("{page} links to {target}, which is not there"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// The targets of `[text](target)`, outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let Some(end) = rest.find(')') else { break };
            found.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_no_links() {
        let text = "See [here](a.md) and [there](b.md#part).\n```\n[no](c.md)\n```\n";
        assert_eq!(links(text), ["a.md", "b.md#part"]);
    }
}
