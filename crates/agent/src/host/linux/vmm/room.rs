//! Guests that wait for room on the host's disk.
//!
//! QEMU pauses a machine whose write found none, and each request that fails says so, as does each that fails again after the
//! guest was let go on. So one task waits for each machine, however much is said.

use super::Inner;
use super::monitor::Monitor;
use model::InstanceId;
use plan::machine::qmp::{Command, Status};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often a guest that waits for room on the host's disk is let go on.
pub const RESUME_EVERY: Duration = Duration::from_secs(5);

/// Has the guest let go on until it runs, unless somebody sees to that already.
pub(super) fn await_room(inner: &Arc<Inner>, instance: InstanceId) {
    if inner.waiting_for_room.lock().insert(instance) {
        tracing::warn!(%instance, "the host has no room for a guest's write; the guest waits");
        tokio::spawn(resume(Arc::downgrade(inner), instance));
    }
}

async fn resume(inner: Weak<Inner>, instance: InstanceId) {
    loop {
        tokio::time::sleep(RESUME_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Some(monitor) = inner.without_room(instance).await {
            if let Err(error) = monitor.execute(Command::Continue).await {
                tracing::warn!(%instance, %error, "the guest could not be let go on");
            }
            continue;
        }
        // Running again, off, gone, or silent: whoever connects anew looks whether it waits.
        inner.waiting_for_room.lock().remove(&instance);
        // What was said until now was left to this task.
        if inner.without_room(instance).await.is_none() || !inner.waiting_for_room.lock().insert(instance) {
            return;
        }
    }
}

impl Inner {
    /// The monitor of a machine whose guest waits for room.
    async fn without_room(self: &Arc<Self>, instance: InstanceId) -> Option<Arc<Monitor>> {
        let monitor = self.monitor(instance).await.ok()??;
        matches!(monitor.status().await, Ok(Status::OutOfSpace)).then_some(monitor)
    }
}
