//! An object store that fails, from a seed: for tests of all that stands on one.

use super::{Head, Objects, Put, Result};
use crate::error::ObjectError;
use crate::layout;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and an error.
    Error,
    /// It happens, and an error.
    ErrorAfterWork,
    /// A part of the object is there under its name, and an error: what a backend that breaks its promise leaves. Blocks and
    /// leaves only, the rest is not written: upon a half of a record nothing can be built.
    Torn,
    /// It happens, late.
    Delay,
    /// There is no room.
    Full,
    /// This call and all that follow fail: the process has died.
    Crash,
}

#[derive(Debug, Default)]
struct Plan {
    /// Calls so far.
    calls: u64,
    /// What befalls the call of this number.
    at: Option<(u64, Fault)>,
    /// One of so many calls fails, by dice.
    chance: Option<(u64, u64, Vec<Fault>)>,
    dead: bool,
}

#[derive(Debug, Clone)]
pub struct Faulty<O> {
    inner: Arc<O>,
    plan: Arc<Mutex<Plan>>,
    /// What a power cut may spoil.
    unflushed: Arc<Mutex<Vec<String>>>,
}

impl<O: Objects> Faulty<O> {
    pub fn new(inner: O) -> Self {
        Self { inner: Arc::new(inner), plan: Arc::default(), unflushed: Arc::default() }
    }

    /// The `number`-th call from now on meets this fault.
    pub fn fail_at(&self, number: u64, fault: Fault) {
        let mut plan = self.plan.lock();
        plan.at = Some((plan.calls + number, fault));
    }

    /// Each call meets one of these faults with a chance of one in `one_in`.
    pub fn fail_by_chance(&self, seed: u64, one_in: u64, faults: &[Fault]) {
        self.plan.lock().chance = Some((seed, one_in, faults.to_vec()));
    }

    /// No more faults; the dead are alive again.
    pub fn heal(&self) {
        let mut plan = self.plan.lock();
        *plan = Plan { calls: plan.calls, ..Plan::default() };
    }

    /// Of what was put soon and not flushed, some is gone, some torn, some there.
    pub fn cut_power(&self, seed: u64) {
        let mut state = seed;
        for key in self.unflushed.lock().drain(..) {
            let bytes = self.inner.get(&key).ok().flatten().unwrap_or_default();
            let _ = match roll(&mut state) % 3 {
                0 => self.inner.delete(&[key]),
                1 => self.inner.replace(&key, &bytes[..bytes.len() / 2]),
                _ => Ok(()),
            };
        }
    }

    pub fn calls(&self) -> u64 {
        self.plan.lock().calls
    }

    fn fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock();
        let call = plan.calls;
        plan.calls += 1;
        if plan.dead {
            return Some(Fault::Error);
        }
        let mut fault = plan.at.filter(|(at, _)| *at == call).map(|(_, fault)| fault);
        if let Some((state, one_in, faults)) = &mut plan.chance {
            let rolled = roll(state);
            if rolled.is_multiple_of(*one_in) {
                fault = fault.or(Some(faults[(rolled >> 32) as usize % faults.len()]));
            }
        }
        plan.dead = fault == Some(Fault::Crash);
        fault
    }

    fn write<T>(&self, key: &str, bytes: &[u8], act: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.fault() {
            None => act(),
            Some(Fault::Delay) => {
                std::thread::sleep(Duration::from_millis(1));
                act()
            }
            Some(Fault::ErrorAfterWork) => {
                act()?;
                Err(failed(key))
            }
            Some(Fault::Torn) => {
                if key.starts_with(layout::BLOCKS) || key.starts_with(layout::LEAVES) {
                    let _ = self.inner.put_if_absent(key, &bytes[..bytes.len() / 2]);
                }
                Err(failed(key))
            }
            Some(Fault::Full) => Err(ObjectError::Full(io::ErrorKind::StorageFull.into())),
            Some(Fault::Error | Fault::Crash) => Err(failed(key)),
        }
    }

    fn other<T>(&self, key: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.fault() {
            None | Some(Fault::Torn | Fault::Full) => act(),
            Some(Fault::Delay) => {
                std::thread::sleep(Duration::from_millis(1));
                act()
            }
            Some(Fault::ErrorAfterWork) => {
                act()?;
                Err(failed(key))
            }
            Some(Fault::Error | Fault::Crash) => Err(failed(key)),
        }
    }
}

fn failed(key: &str) -> ObjectError {
    ObjectError::Failed { doing: "reach", object: key.to_owned(), source: io::Error::other("injected") }
}

/// `SplitMix64`.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl<O: Objects> Objects for Faulty<O> {
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.write(key, bytes, || self.inner.put_if_absent(key, bytes))
    }

    fn put_soon(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.write(key, bytes, || {
            let put = self.inner.put_soon(key, bytes)?;
            if put == Put::Written {
                self.unflushed.lock().push(key.to_owned());
            }
            Ok(put)
        })
    }

    fn flush(&self) -> Result<()> {
        self.other("all", || {
            self.inner.flush()?;
            self.unflushed.lock().clear();
            Ok(())
        })
    }

    fn replace(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.write(key, bytes, || self.inner.replace(key, bytes))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.other(key, || self.inner.get(key))
    }

    fn head(&self, key: &str, length: usize) -> Result<Option<Head>> {
        self.other(key, || self.inner.head(key, length))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.other(prefix, || self.inner.list(prefix, each))
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        // A crash in the middle: the first half is gone.
        if keys.len() > 1 {
            let (first, second) = keys.split_at(keys.len() / 2);
            self.other("objects", || self.inner.delete(first))?;
            return self.other("objects", || self.inner.delete(second));
        }
        self.other("objects", || self.inner.delete(keys))
    }
}
