//! The image cache: a folder with one folder for each image.

use std::fs;
use std::path::Path;

use crate::error::{At, Error, Result};
use crate::manifest::{Image, MANIFEST, Manifest};

/// The complete images of a cache, by name. A cache that is not there is empty.
pub fn list(cache: &Path) -> Result<Vec<Image>> {
    let entries = match fs::read_dir(cache) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at(cache)?,
    };
    let mut images = Vec::new();
    for entry in entries {
        let name = entry.at(cache)?.file_name();
        // Folders with a dot are builds that are not finished.
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        match open(cache, name) {
            Ok(image) => images.push(image),
            Err(Error::NoImage { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    images.sort_by(|one, other| one.manifest.name.cmp(&other.manifest.name));
    Ok(images)
}

/// One image by its name.
pub fn open(cache: &Path, name: &str) -> Result<Image> {
    let missing = || Error::NoImage { name: name.to_owned() };
    // A name is a folder of the cache and nothing else.
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(missing());
    }
    let folder = cache.join(name);
    let path = folder.join(MANIFEST);
    let text = match fs::read(&path) {
        Err(error)
            if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Err(missing());
        }
        text => text.at(&path)?,
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| Error::Malformed { what: path.display().to_string(), why: error.to_string() })?;
    let image = Image { folder, manifest };
    if image.is_complete() { Ok(image) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_is_not_there_is_empty() {
        assert_eq!(list(Path::new("/nonexistent/images")).unwrap(), []);
    }

    #[test]
    fn names_cannot_leave_the_cache() {
        for name in ["", ".", "..", "../etc", "a/b", ".nano"] {
            assert!(matches!(open(Path::new("/tmp"), name), Err(Error::NoImage { .. })), "{name}");
        }
    }
}
