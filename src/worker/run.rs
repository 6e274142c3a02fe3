//! A running worker: it claims tasks as long as it has room for them, and gives them back
//! when it stops.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{
    attempt::{self, Shared},
    client::{Client, is_transient},
    config::{ConfigError, WorkerOptions},
    leases::Leases,
    llm::Model,
    spread::spread,
    stop::{Stop, StopSignal},
    tools::Toolbox,
};
use crate::proto as v1;

/// How long one call waits for a task.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// More than the wait, for the way there and back.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(40);
const CLAIM_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a stop waits for attempts to give their tasks back.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running worker. Dropped without [`stop`](Worker::stop) it stops as well, but nobody
/// waits for it, and its tasks wait for their leases to run out.
pub struct Worker {
    stop: CancellationToken,
    cut: CancellationToken,
    failed: CancellationToken,
    attempts: TaskTracker,
    background: TaskTracker,
    leases: Leases,
    grace: Duration,
}

impl Worker {
    /// Begins to claim tasks, as soon as the service can be reached.
    ///
    /// # Errors
    /// Where the service's address is none.
    pub fn start(options: WorkerOptions) -> Result<Self, ConfigError> {
        let client = Client::connect(&options.server)?;
        let worker = Self {
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            failed: CancellationToken::new(),
            attempts: TaskTracker::new(),
            background: TaskTracker::new(),
            leases: Leases::new(&options.name, options.lease),
            grace: options.grace,
        };
        info!(
            name = options.name,
            server = options.server,
            "worker started"
        );
        let shared = Arc::new(Shared {
            model: Model::new(options.endpoint.clone()),
            toolbox: Toolbox::new(&options.tools),
            client: client.clone(),
            options,
        });
        let leases = worker.leases.clone();
        worker.spawn_essential("leases", async move { leases.renew_forever(&client).await });
        let claims = Claims {
            slots: Arc::new(Semaphore::new(usize::from(shared.options.concurrency))),
            shared,
            leases: worker.leases.clone(),
            attempts: worker.attempts.clone(),
            cut: worker.cut.clone(),
        };
        let stop = worker.stop.clone();
        worker.spawn_essential("claims", async move {
            stop.run_until_cancelled(claims.take_forever()).await;
        });
        Ok(worker)
    }

    /// Resolves when something the worker can't do without has ended by itself. What is
    /// left to do then is to stop.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops: no task is claimed any more, those at work may finish within the grace,
    /// and what is left is given back to its queue.
    pub async fn stop(self) {
        info!("stopping the worker");
        self.stop.cancel();
        self.attempts.close();
        if timeout(self.grace, self.attempts.wait()).await.is_err() {
            info!(tasks = self.attempts.len(), "giving tasks back");
            self.leases.stop_all(Stop::Draining);
            let _ = timeout(FAREWELL, self.attempts.wait()).await;
        }
        self.cut.cancel();
        self.background.close();
        self.background.wait().await;
    }

    /// Runs work that the worker can't live without, and notices its end.
    fn spawn_essential(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let essential = Essential {
            name,
            stop: self.stop.clone(),
            failed: self.failed.clone(),
        };
        let cut = self.cut.clone();
        self.background.spawn(async move {
            let _essential = essential;
            cut.run_until_cancelled(work).await;
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

/// Dropped when the work it belongs to ends, even by a panic.
struct Essential {
    name: &'static str,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Drop for Essential {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            error!("the worker's {} ended unexpectedly", self.name);
            self.failed.cancel();
        }
    }
}

/// Claims tasks, and starts an attempt for each.
struct Claims {
    shared: Arc<Shared>,
    leases: Leases,
    slots: Arc<Semaphore>,
    attempts: TaskTracker,
    cut: CancellationToken,
}

impl Claims {
    async fn take_forever(&self) {
        // One that is dropped with a claim on its way may lose a task for one lease.
        while let Ok(slot) = self.slots.clone().acquire_owned().await {
            match timeout(CLAIM_TIMEOUT, self.claim()).await {
                Ok(Ok(claimed)) if claimed.task.is_some() => self.start(claimed, slot),
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(status)) => {
                    match is_transient(&status) {
                        true => info!(
                            error = status.message(),
                            "the service can't be reached, will retry"
                        ),
                        false => warn!(error = status.message(), "claiming failed, will retry"),
                    }
                    sleep(spread(CLAIM_RETRY_DELAY)).await;
                }
            }
        }
    }

    async fn claim(&self) -> Result<v1::ClaimTaskResponse, tonic::Status> {
        let options = &self.shared.options;
        let request = v1::ClaimTaskRequest {
            queues: options.queues.clone(),
            worker_id: options.name.clone(),
            lease: prost_types::Duration::try_from(options.lease).ok(),
            wait: prost_types::Duration::try_from(CLAIM_WAIT).ok(),
            history_size: options.history.into(),
            ..Default::default()
        };
        let mut tasks = self.shared.client.tasks.clone();
        Ok(tasks.claim_task(request).await?.into_inner())
    }

    fn start(&self, claimed: v1::ClaimTaskResponse, slot: OwnedSemaphorePermit) {
        let Some(task) = &claimed.task else { return };
        let signal = StopSignal::new();
        let holding = self.leases.hold(task, &signal);
        let shared = self.shared.clone();
        let cut = self.cut.clone();
        self.attempts.spawn(async move {
            let _held = (slot, holding);
            select! {
                () = attempt::carry_out(&shared, claimed, &signal) => {}
                () = cut.cancelled() => {}
            }
        });
    }
}
