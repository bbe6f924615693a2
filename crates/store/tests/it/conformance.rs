//! Both backends are held to the one suite.

use std::sync::Arc;

use parking_lot::Mutex;
use store::conformance::{WINDOW, run};
use store::{Embedded, Memory, Options, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    run(|| async { Arc::new(Memory::new(WINDOW)) as Arc<dyn Store> }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    let dirs = Mutex::new(Vec::new());
    run(|| async {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { log: WINDOW, ..Options::default() };
        let store = Embedded::open(dir.path().join("store"), options).unwrap();
        dirs.lock().push(dir);
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}
