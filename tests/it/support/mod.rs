//! What the tests stand on: a Redis, instances of the service, clients.

mod blocks;
mod client;
mod limit;
mod program;
mod proxy;
mod pty;
mod redis;
mod route;
mod rpc;
mod tasks;
mod watch;
mod world;

pub use self::{
    blocks::*,
    client::*,
    limit::Limit,
    program::*,
    proxy::{Cut, Proxy},
    pty::Pty,
    redis::Redis,
    route::Route,
    rpc::Rpc,
    tasks::*,
    watch::Watch,
    world::{WRITER_GRACE, World},
};

use std::{future::Future, time::Duration};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that is going to happen.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}

/// Asks again and again, until the answer is yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Sends a process a signal; 0 only asks whether it is there. False where it is
/// not.
#[allow(unsafe_code, reason = "the standard library has no signals")]
pub fn signal(process: u32, signal: i32) -> bool {
    // SAFETY: touches no memory. The tests signal processes they have started.
    unsafe { libc::kill(process.cast_signed(), signal) == 0 }
}
