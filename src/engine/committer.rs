//! Journeys to Redis that the appends of many streams share.
//!
//! While all journeys are under way, what arrives is gathered for the next: the
//! busier the service, the more appends share one.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
};

use super::{AppendBatch, EngineError, clock, loopback::Loopback};
use crate::store::{Appended, Store, StoreError};

/// Journeys under way at once. With one, either Redis waits for the service or
/// the service for Redis.
const JOURNEYS: usize = 4;
/// Batches in one journey at most: Redis does nothing else meanwhile.
const BATCHES_MAX: usize = 32;
/// Batches that wait for a journey; whoever comes with more waits outside.
const WAITING_MAX: usize = 4 * JOURNEYS * BATCHES_MAX;

/// Appends to a message that go together, and whoever waits for them.
struct Job {
    batch: AppendBatch,
    done: oneshot::Sender<Done>,
}

/// The appends, and what became of them.
type Done = (AppendBatch, Result<Appended, StoreError>);

/// The way into the next journey. Cloning shares it.
#[derive(Clone)]
pub(super) struct Committer {
    jobs: mpsc::Sender<Job>,
}

impl Committer {
    /// Starts what makes the journeys; it ends when nobody can send it more.
    pub(super) fn start(store: Store, loopback: Loopback, tasks: &mut JoinSet<()>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..JOURNEYS {
            tasks.spawn(commit_forever(
                store.clone(),
                loopback.clone(),
                waiting.clone(),
            ));
        }
        Self { jobs }
    }

    /// Makes appends in one call. Once begun it is carried out, whether or not
    /// somebody waits for the answer. Whoever wants appends to a message in order
    /// waits for one call before the next.
    pub(super) async fn append(&self, batch: AppendBatch) -> Result<Done, EngineError> {
        let (done, answer) = oneshot::channel();
        // Fails only while the process comes down, and then there is no answer.
        let _ = self.jobs.send(Job { batch, done }).await;
        answer.await.map_err(|_| EngineError::Contended)
    }
}

/// Makes one journey after the other. The lock is the queue's head: who has it
/// waits for what comes next, and lets go before it sets out.
async fn commit_forever(
    store: Store,
    loopback: Loopback,
    waiting: Arc<Mutex<mpsc::Receiver<Job>>>,
) {
    let mut jobs = Vec::with_capacity(BATCHES_MAX);
    while waiting.lock().await.recv_many(&mut jobs, BATCHES_MAX).await > 0 {
        let now = clock::now();
        let appends: Vec<_> = jobs.iter().map(|job| job.batch.to_append(now)).collect();
        let appended = store.append(&appends).await;
        for (append, appended) in appends.iter().zip(&appended) {
            loopback.appended(append, appended);
        }
        drop(appends);
        for (Job { batch, done }, appended) in jobs.drain(..).zip(appended) {
            // Who no longer waits has gone away.
            let _ = done.send((batch, appended));
        }
    }
}
