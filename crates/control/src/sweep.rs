//! Work that the clock asks for, and no record: done once a minute, by one driver for all services.
//!
//! A service says what there is to do ([`Sweep`]); a failure is tried again, and is seen, like any reconciler's.

use crate::reconcile::{Driver, Next, Reconciler};
use crate::view::{ChangedKey, Tables};
use crate::{Cloud, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_mins(1);

type Run = Box<dyn Fn(Arc<Cloud>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// One kind of such work.
pub struct Sweep {
    name: &'static str,
    run: Run,
}

impl Sweep {
    /// `run` looks at everything it is for, and may be called again at any time.
    pub fn new<F>(name: &'static str, run: impl Fn(Arc<Cloud>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self { name, run: Box::new(move |cloud| Box::pin(run(cloud))) }
    }
}

/// All sweeps of a cloud.
pub struct Sweeps {
    cloud: Arc<Cloud>,
    sweeps: Vec<Sweep>,
}

impl Sweeps {
    /// Must be called within a runtime, once per server. Names are unique.
    pub fn start(cloud: Arc<Cloud>, sweeps: Vec<Sweep>) -> Arc<Driver<Self>> {
        Driver::start(Arc::clone(&cloud), Self { cloud, sweeps })
    }
}

impl Reconciler for Sweeps {
    const NAME: &'static str = "sweep";
    const FOLLOWS: bool = false;
    type Key = &'static str;

    fn all(&self, _: &Tables) -> Vec<&'static str> {
        self.sweeps.iter().map(|sweep| sweep.name).collect()
    }

    fn concerns(&self, _: &ChangedKey, _: &Tables) -> Vec<&'static str> {
        Vec::new()
    }

    async fn reconcile(&self, key: &&'static str) -> std::result::Result<Next, String> {
        let Some(sweep) = self.sweeps.iter().find(|sweep| sweep.name == *key) else { return Ok(Next::Idle) };
        (sweep.run)(Arc::clone(&self.cloud)).await.map_err(|error| error.to_string())?;
        Ok(Next::After(EVERY))
    }
}
