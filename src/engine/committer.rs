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
/// Batches of a job at most. A journey that has as many takes in no further job:
/// Redis does nothing else meanwhile.
pub(super) const BATCHES_MAX: usize = 32;
/// Jobs that wait for a journey; whoever comes with more waits outside.
const WAITING_MAX: usize = 4 * JOURNEYS * BATCHES_MAX;

/// Batches that came together, each of another message, and whoever waits for them.
struct Job {
    batches: Vec<AppendBatch>,
    done: oneshot::Sender<Vec<Done>>,
}

/// A batch, and what became of it.
pub(super) type Done = (AppendBatch, Result<Appended, StoreError>);

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

    /// Makes up to [`BATCHES_MAX`] batches in one journey, and says what became of
    /// them in the same order. Once begun it is carried out, whether or not somebody
    /// waits for the answer. Whoever wants appends to a message in order waits for
    /// one journey before the next.
    pub(super) async fn append(&self, batches: Vec<AppendBatch>) -> Result<Vec<Done>, EngineError> {
        let (done, answer) = oneshot::channel();
        // Fails only while the process comes down, and then there is no answer.
        let _ = self.jobs.send(Job { batches, done }).await;
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
    loop {
        let jobs = gather(&mut *waiting.lock().await).await;
        if jobs.is_empty() {
            return;
        }
        let now = clock::now();
        let batches = jobs.iter().flat_map(|job| &job.batches);
        let appends: Vec<_> = batches.map(|batch| batch.to_append(now)).collect();
        let appended = store.append(&appends).await;
        for (append, appended) in appends.iter().zip(&appended) {
            loopback.appended(append, appended);
        }
        drop(appends);
        let mut appended = appended.into_iter();
        for Job { batches, done } in jobs {
            // Who no longer waits has gone away.
            let _ = done.send(batches.into_iter().zip(&mut appended).collect());
        }
    }
}

/// Waits for a job, and takes those that have come as well. None when nobody can send
/// one any more.
async fn gather(waiting: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut jobs: Vec<Job> = waiting.recv().await.into_iter().collect();
    let mut count: usize = jobs.iter().map(|job| job.batches.len()).sum();
    while count < BATCHES_MAX
        && let Ok(job) = waiting.try_recv()
    {
        count += job.batches.len();
        jobs.push(job);
    }
    jobs
}
