//! Keeps the leases of all tasks that the worker holds, with one call for all of them
//! in a third of the time they last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::{
    client::Client,
    stop::{Stop, StopSignal},
};
use crate::proto::{self as v1, RenewalStatus};

/// What one call renews.
const RENEWALS_MAX: usize = 1_000;

/// A task of a message.
type Key = (String, String);

/// Which attempt of each task is meant.
type Attempts = HashMap<Key, u32>;

struct Held {
    attempt: u32,
    signal: StopSignal,
    /// When the lease is lost, as far as is known here.
    expires: Instant,
}

/// The leases that a worker holds.
#[derive(Clone)]
pub(super) struct Leases {
    worker_id: String,
    lease: Duration,
    held: Arc<Mutex<HashMap<Key, Held>>>,
}

impl Leases {
    pub(super) fn new(worker_id: &str, lease: Duration) -> Self {
        Self {
            worker_id: worker_id.to_owned(),
            lease,
            held: Arc::default(),
        }
    }

    /// Renews a task's lease until what is returned is dropped. The signal tells when
    /// it is lost, or when a cancel is asked for.
    pub(super) fn hold(&self, task: &v1::Task, signal: &StopSignal) -> Holding {
        let key = (task.message_id.clone(), task.task_id.clone());
        let held = Held {
            attempt: task.attempt,
            signal: signal.clone(),
            expires: Instant::now() + self.lease,
        };
        self.lock().insert(key.clone(), held);
        Holding {
            leases: self.clone(),
            key,
            attempt: task.attempt,
        }
    }

    /// Tells all attempts to stop.
    pub(super) fn stop_all(&self, why: Stop) {
        for held in self.lock().values() {
            held.signal.stop(why);
        }
    }

    /// Never returns.
    pub(super) async fn renew_forever(&self, client: &Client) {
        let mut beat = interval(self.lease / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let renewals = self.renewals();
            for renewals in renewals.chunks(RENEWALS_MAX) {
                self.renew(client, renewals.to_vec()).await;
            }
            self.drop_expired();
        }
    }

    fn renewals(&self) -> Vec<v1::TaskRenewal> {
        let held = self.lock();
        let renewal = |((message_id, task_id), held): (&Key, &Held)| v1::TaskRenewal {
            message_id: message_id.clone(),
            task_id: task_id.clone(),
            attempt: held.attempt,
            ..Default::default()
        };
        held.iter().map(renewal).collect()
    }

    async fn renew(&self, client: &Client, renewals: Vec<v1::TaskRenewal>) {
        let began = Instant::now();
        let asked = attempts(&renewals);
        let request = v1::RenewTaskRequest {
            worker_id: self.worker_id.clone(),
            renewals,
        };
        // No longer than until the next, lest one that hangs costs the leases.
        let answer = tokio::time::timeout(self.lease / 3, client.renew(request)).await;
        match answer {
            Ok(Ok(answer)) => {
                for result in answer.results {
                    self.hear(&asked, &result, began + self.lease);
                }
            }
            Ok(Err(error)) => warn!(%error, "renewing leases failed, will retry"),
            Err(_) => warn!("renewing leases took too long, will retry"),
        }
    }

    fn hear(&self, asked: &Attempts, result: &v1::TaskRenewalResult, expires: Instant) {
        let key = (result.message_id.clone(), result.task_id.clone());
        let mut held = self.lock();
        // The worker may hold the next attempt by now, of which this says nothing.
        let same = |held: &&mut Held| asked.get(&key) == Some(&held.attempt);
        let Some(held) = held.get_mut(&key).filter(same) else {
            return;
        };
        match result.status() {
            RenewalStatus::Lost => held.signal.stop(Stop::LeaseLost),
            RenewalStatus::CancelRequested => held.signal.stop(Stop::CancelRequested),
            RenewalStatus::Ok | RenewalStatus::Unspecified => held.expires = expires,
        }
    }

    /// Whoever can't renew a lease must take it for lost.
    fn drop_expired(&self) {
        let now = Instant::now();
        for held in self.lock().values().filter(|held| held.expires <= now) {
            held.signal.stop(Stop::LeaseLost);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers do not say it.
fn attempts(renewals: &[v1::TaskRenewal]) -> Attempts {
    let key = |renewal: &v1::TaskRenewal| (renewal.message_id.clone(), renewal.task_id.clone());
    let attempts = renewals.iter();
    attempts
        .map(|renewal| (key(renewal), renewal.attempt))
        .collect()
}

/// A lease that is kept until this is dropped.
pub(super) struct Holding {
    leases: Leases,
    key: Key,
    attempt: u32,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        // The worker may hold the next attempt already.
        if held
            .get(&self.key)
            .is_some_and(|held| held.attempt == self.attempt)
        {
            held.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> v1::Task {
        v1::Task {
            message_id: "m".to_owned(),
            task_id: "t".to_owned(),
            attempt: number,
            ..Default::default()
        }
    }

    /// Whether an attempt was told to stop.
    async fn is_stopped(signal: &StopSignal) -> bool {
        tokio::time::timeout(Duration::ZERO, signal.stopped())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn an_answer_for_an_old_attempt_does_not_stop_the_new_one() {
        let leases = Leases::new("w", Duration::from_secs(30));
        let (old, new) = (StopSignal::new(), StopSignal::new());
        let _old = leases.hold(&attempt(1), &old);
        let asked = attempts(&leases.renewals());
        let _new = leases.hold(&attempt(2), &new);
        let lost = v1::TaskRenewalResult {
            message_id: "m".to_owned(),
            task_id: "t".to_owned(),
            status: RenewalStatus::Lost.into(),
            ..Default::default()
        };
        leases.hear(&asked, &lost, Instant::now());
        assert!(!is_stopped(&new).await);
        leases.hear(&attempts(&leases.renewals()), &lost, Instant::now());
        assert!(is_stopped(&new).await);
    }
}
