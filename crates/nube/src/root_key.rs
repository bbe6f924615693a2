//! The cloud's root key: the file `root.key` in its directory, mode 0600, made once, 32 random bytes in base64.
//!
//! Keys of the key service are sealed with it in the store, so neither a copy of the store alone nor of the file alone
//! opens anything. Without the file, or with another cloud's, a store that holds keys is not served: a new one in its
//! place would make everything that is encrypted unreadable.

use crate::cloud_files::{CloudDir, write_whole};
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::View;
use control::keys::RootKey;
use model::record::kms::Key;
use std::path::PathBuf;

fn path(dir: &CloudDir) -> PathBuf {
    dir.path().join("root.key")
}

/// The root key of a cloud whose store was read; made if it has none and needs none yet.
pub fn open(dir: &CloudDir, view: &View) -> Result<RootKey> {
    let path = path(dir);
    let tables = view.read();
    let any = tables.everywhere::<Key>().next().map(|(_, key)| key);
    if !path.exists() {
        if any.is_some() {
            bail!("{} is missing: the keys in the store cannot be opened without it", path.display());
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
        write_whole(&path, STANDARD.encode(bytes).as_bytes(), 0o600)?;
        return Ok(RootKey::new(bytes));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let root = RootKey::new(bytes.with_context(|| format!("{} is damaged", path.display()))?);
    if any.is_some_and(|key| !root.opens(key)) {
        bail!("{} is not the key that this store was sealed with", path.display());
    }
    Ok(root)
}
