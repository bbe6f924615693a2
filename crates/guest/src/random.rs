//! Seeding the kernel's random generator, from the host's generator and from what the last boot left.

use std::fs::File;
use std::io::{self, Read};

use crate::{files, sys};

const SEED: &str = "/var/lib/nube/random-seed";
/// The virtio generator; absent when the machine has none.
pub const HOST: &str = "/dev/hwrng";

/// Credits bytes of the host's generator; the last boot's seed is mixed in uncredited, since a copied disk carries it
/// twice. Then leaves a new seed.
pub fn seed() -> io::Result<()> {
    let device = generator()?;
    if let Ok(last) = std::fs::read(SEED) {
        io::Write::write_all(&mut &device, &last)?;
    }
    let mut bytes = [0u8; 32];
    if File::open(HOST).and_then(|mut host| host.read_exact(&mut bytes)).is_ok() {
        sys::seed_random(&device, bytes)?;
    }
    files::write(SEED, &sys::random::<64>(), files::PRIVATE)
}

/// Mixes in bytes of the host's generator, credited as 256 bits, and reseeds.
pub fn mix(bytes: &[u8; 512]) -> io::Result<()> {
    let device = generator()?;
    let (rest, last) = bytes.split_at(480);
    io::Write::write_all(&mut &device, rest)?;
    let mut seed = [0; 32];
    seed.copy_from_slice(last);
    sys::seed_random(&device, seed)
}

fn generator() -> io::Result<File> {
    File::options().write(true).open("/dev/urandom")
}
