//! The bytes of an image: copied into the cache's file system, hashed on the way, holes kept.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::format::Packing;
use super::{MOST_BYTES, Source, room_at};
use crate::error::{At, Error, Result};
use crate::exec::program;
use crate::finish::is_zero;
use crate::packages::hex;
use crate::progress::{Progress, wanted};

/// A hole is at least this large, as file systems keep them.
const BLOCK: usize = 64 << 10;
/// How often the room on the disk is looked at.
const LOOK_EVERY: u64 = 64 << 20;
/// The authorities that this host trusts, as Debian and its like keep them; without them, those built in.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Copies the source to the new file `to` and gives the hex digits of its SHA-256.
pub fn fetch(source: &Source, to: &Path, progress: &dyn Progress) -> Result<String> {
    match source {
        Source::File(path) => {
            let file = File::open(path).at(path)?;
            let metadata = file.metadata().at(path)?;
            if !metadata.is_file() {
                let why = format!("{} is no regular file", path.display());
                return Err(Error::NotAnImage { why });
            }
            progress.begin("read the image", Some(metadata.len()));
            let digest = copy(file, to, progress, |error| Error::Io { path: path.clone(), source: error });
            progress.end();
            digest.map(|(digest, _)| digest)
        }
        Source::Url(url) => download(url, to, progress),
    }
}

fn download(url: &str, to: &Path, progress: &dyn Progress) -> Result<String> {
    let failed = |why: String| Error::Download { url: url.to_owned(), why };
    let roots = match std::fs::read(AUTHORITIES) {
        Ok(pem) => {
            let certificates = parse_pem(&pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            RootCerts::Specific(Arc::new(certificates.collect()))
        }
        Err(_) => RootCerts::WebPki,
    };
    let secure = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            // A redirection may not lead to where anybody could change the image.
            .https_only(secure)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_mins(2)))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("nube/", env!("CARGO_PKG_VERSION")))
            .build(),
    );
    let response = agent.get(url).call().map_err(|error| failed(error.to_string()))?;
    let length = response.body().content_length();
    progress.begin("download", length);
    let copied = copy(response.into_body().into_reader(), to, progress, |error| failed(error.to_string()));
    progress.end();
    let (digest, bytes) = copied?;
    match length {
        Some(length) if length != bytes => {
            Err(failed(format!("the connection ended after {bytes} of {length} bytes")))
        }
        _ => Ok(digest),
    }
}

/// Unpacks one file into another.
pub fn unpack(packing: Packing, from: &Path, to: &Path, progress: &dyn Progress) -> Result<()> {
    let packed = std::fs::metadata(from).at(from)?.len();
    let mut sink = Sink::create(to)?;
    // How far it is in the packed file nobody says; so the bar shows what came out.
    progress.begin("unpack", None);
    let unpacked = program(packing.program()).arg("-dc").input(File::open(from).at(from)?).watch(|piece| {
        sink.put(piece)?;
        progress.advance(sink.at);
        Ok(())
    });
    progress.end();
    unpacked.map_err(|error| match error {
        Error::Failed { said, .. } => Error::NotAnImage {
            why: format!("its {packed} bytes cannot be unpacked by {}: {said}", packing.program()),
        },
        other => other,
    })?;
    sink.finish()
}

/// Copies everything; gives the digest and the number of bytes.
pub fn copy(
    mut from: impl Read,
    to: &Path,
    progress: &dyn Progress,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(String, u64)> {
    let mut sink = Sink::create(to)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        wanted(progress)?;
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hash.update(&piece[..length]);
        sink.put(&piece[..length])?;
        progress.advance(sink.at);
    }
    let bytes = sink.at;
    sink.finish()?;
    Ok((hex(&hash.finalize()), bytes))
}

/// A file that grows, with holes where nothing but zeros is, and stops before the disk is full.
struct Sink<'a> {
    path: &'a Path,
    file: File,
    at: u64,
    looked: u64,
}

impl<'a> Sink<'a> {
    fn create(path: &'a Path) -> Result<Sink<'a>> {
        room_at(path)?;
        Ok(Sink { path, file: File::create_new(path).at(path)?, at: 0, looked: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        for block in bytes.chunks(BLOCK) {
            if !is_zero(block) {
                self.file.write_all_at(block, self.at).at(self.path)?;
            }
            self.at += block.len() as u64;
        }
        if self.at > MOST_BYTES {
            return Err(Error::NotAnImage { why: "it is larger than any volume".to_owned() });
        }
        if self.at - self.looked > LOOK_EVERY {
            self.looked = self.at;
            room_at(self.path)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.file.set_len(self.at).at(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Silent, Unwanted};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_copy_keeps_the_content_and_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0u8; 4 << 20];
        content[3 << 20] = 7;
        content.extend([0; 700]);
        let to = folder.path().join("copy");
        let (digest, bytes) = copy(&content[..], &to, &Silent, |_| unreachable!()).unwrap();
        assert_eq!(bytes, content.len() as u64);
        assert_eq!(digest, hex(&Sha256::digest(&content)));
        assert_eq!(std::fs::read(&to).unwrap(), content);
        assert!(std::fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn what_nobody_wants_any_more_ends() {
        let folder = tempfile::tempdir().unwrap();
        let copied = copy(std::io::repeat(1), &folder.path().join("copy"), &Unwanted, |_| unreachable!());
        assert!(matches!(copied, Err(Error::Unwanted)));
    }
}
