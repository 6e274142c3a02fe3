//! One journey to Redis for the appends of many streams.
//!
//! While one journey is under way, what arrives is gathered for the next: the
//! busier the service, the more appends share one.

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    EngineError,
    append::{AppendRequest, to_append},
    clock,
};
use crate::store::{Appended, Store, StoreError};

/// Calls in one journey at most: Redis does nothing else meanwhile.
const CALLS_MAX: usize = 512;
/// Calls that wait for the next journey; whoever comes with more waits outside.
const WAITING_MAX: usize = 4 * CALLS_MAX;

/// Requests that share one call, and whoever waits for it.
struct Job {
    batch: Vec<AppendRequest>,
    done: oneshot::Sender<Done>,
}

/// The requests, and what became of their call.
type Done = (Vec<AppendRequest>, Result<Appended, StoreError>);

/// The way into the next journey. Cloning shares it.
#[derive(Clone)]
pub(super) struct Committer {
    jobs: mpsc::Sender<Job>,
}

impl Committer {
    /// Starts what makes the journeys; it ends when nobody can send it more.
    pub(super) fn start(store: Store, tasks: &mut JoinSet<()>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        tasks.spawn(commit_forever(store, waiting));
        Self { jobs }
    }

    /// Appends for requests that may share a call. Once begun it is carried
    /// out, whether or not somebody waits for the answer.
    pub(super) async fn append(&self, batch: Vec<AppendRequest>) -> Result<Done, EngineError> {
        let (done, answer) = oneshot::channel();
        // Fails only while the process comes down, and then there is no answer.
        let _ = self.jobs.send(Job { batch, done }).await;
        answer.await.map_err(|_| EngineError::Contended)
    }
}

async fn commit_forever(store: Store, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(CALLS_MAX);
    while waiting.recv_many(&mut jobs, CALLS_MAX).await > 0 {
        let now = clock::now();
        let appends: Vec<_> = jobs.iter().map(|job| to_append(&job.batch, now)).collect();
        let appended = store.append(&appends).await;
        drop(appends);
        for (Job { batch, done }, appended) in jobs.drain(..).zip(appended) {
            // Who no longer waits has gone away.
            let _ = done.send((batch, appended));
        }
    }
}
