//! How the process is told to stop, and how long stopping may take.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

/// How long connections that were cut may take to be gone.
const CUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The signals that stop the process: SIGTERM from a supervisor, SIGINT from a
/// terminal.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on the signals no longer kill the process.
    ///
    /// # Errors
    /// Where the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next of them, or one that came since they are listened for.
    pub async fn next(&mut self) {
        self.next_signal().await;
    }

    /// Waits until all has stopped, and no longer than to the next signal.
    pub async fn unless_again(&mut self, stopped: impl Future<Output = ()>) {
        tokio::select! {
            () = stopped => {}
            () = self.next() => warn!("told to stop once more, cutting what is still open"),
        }
    }

    /// The same for those to whom it matters which it is.
    pub async fn next_signal(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = self.interrupt.recv() => StopSignal::Interrupt,
        }
    }
}

/// What stopped the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

/// Waits until all tasks have ended, after `patience` with force.
pub(super) async fn finish(tasks: &TaskTracker, cut: &CancellationToken, patience: Duration) {
    if timeout(patience, tasks.wait()).await.is_ok() {
        return;
    }
    warn!("calls are still open, cutting their connections");
    cut.cancel();
    if timeout(CUT_TIMEOUT, tasks.wait()).await.is_err() {
        warn!("background work did not end, leaving it behind");
    }
}
