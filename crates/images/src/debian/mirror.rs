//! Where Debian's packages come from: the mirror that this host's own apt uses, or one that the caller names.

use crate::error::{Error, Result};
use crate::exec::program;

/// The URIs of an archive, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    main: String,
    security: String,
}

impl Mirror {
    /// The one at this URI. As everywhere, its security archive lies beside it, at `URI-security`.
    pub fn at(uri: &str) -> Mirror {
        let main = uri.trim_end_matches('/').to_owned();
        Mirror { security: format!("{main}-security"), main }
    }

    /// The one that this host's apt has package lists of. Which of Debian's releases they are of does not matter: a mirror
    /// has them all.
    pub fn of_host() -> Result<Mirror> {
        let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
        let lists = program("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]);
        let lists = lists.run()?.stdout;
        among(&String::from_utf8_lossy(&lists)).ok_or(Error::NoMirror)
    }

    /// The archives of a release: their URIs and the names of their suites.
    pub fn archives(&self, release: &str) -> [(&str, String); 3] {
        [
            (&self.main, release.to_owned()),
            (&self.main, format!("{release}-updates")),
            (&self.security, format!("{release}-security")),
        ]
    }
}

fn among(lists: &str) -> Option<Mirror> {
    let labelled = |label: &str| {
        let prefix = format!("Debian|{label}|");
        let uri = lists.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Some(uri.trim_end_matches('/').to_owned())
    };
    let main = labelled("Debian")?;
    let security = labelled("Debian-Security").unwrap_or_else(|| format!("{main}-security"));
    Some(Mirror { main, security })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_lists_name_the_mirror() {
        let lists = "Node|n|https://node.example/\nDebian|Debian|http://mirror.example/debian/\n\
                     Debian|Debian-Security|http://security.example/\n";
        let mirror = among(lists).unwrap();
        let archives = mirror.archives("bookworm");
        assert_eq!(archives[1], ("http://mirror.example/debian", "bookworm-updates".to_owned()));
        assert_eq!(archives[2], ("http://security.example", "bookworm-security".to_owned()));
        assert_eq!(among("Ubuntu|Ubuntu|http://mirror.example/ubuntu/\n"), None);
    }

    #[test]
    fn a_mirror_without_security_lists_has_them_beside() {
        let beside = Mirror::at("http://mirror.example/debian/");
        assert_eq!(among("Debian|Debian|http://mirror.example/debian/\n"), Some(beside.clone()));
        assert_eq!(beside.archives("bookworm")[2].0, "http://mirror.example/debian-security");
    }
}
