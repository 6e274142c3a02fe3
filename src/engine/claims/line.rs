//! Who waits, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::Waiter;
use crate::domain::ids::Label;

/// Which waiter came when: who came first is served first.
pub(super) type Arrival = u64;

/// Waiters, and the queues that they wait for.
#[derive(Default)]
pub(super) struct Line {
    arrivals: Arrival,
    waiters: BTreeMap<Arrival, Waiter>,
    by_queue: BTreeMap<Label, BTreeSet<Arrival>>,
}

impl Line {
    /// Takes in somebody who has just come.
    pub(super) fn join(&mut self, waiter: Waiter) {
        self.arrivals += 1;
        self.insert(self.arrivals, waiter);
    }

    /// Takes in somebody who has come before.
    pub(super) fn insert(&mut self, arrival: Arrival, waiter: Waiter) {
        for queue in &waiter.request.queues {
            let arrivals = self.by_queue.entry(queue.clone()).or_default();
            arrivals.insert(arrival);
        }
        self.waiters.insert(arrival, waiter);
    }

    fn remove(&mut self, arrival: Arrival) -> Option<Waiter> {
        let waiter = self.waiters.remove(&arrival)?;
        for queue in &waiter.request.queues {
            if let Some(arrivals) = self.by_queue.get_mut(queue) {
                arrivals.remove(&arrival);
                if arrivals.is_empty() {
                    self.by_queue.remove(queue);
                }
            }
        }
        Some(waiter)
    }

    /// How many came so far.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The queues that somebody waits for.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Label> {
        self.by_queue.keys()
    }

    /// How many wait for a queue.
    pub(super) fn count(&self, queue: &Label) -> usize {
        self.by_queue.get(queue).map_or(0, BTreeSet::len)
    }

    /// Whoever has waited longest for a queue, and has not gone away.
    pub(super) fn take_first(&mut self, queue: &Label) -> Option<(Arrival, Waiter)> {
        loop {
            let arrival = *self.by_queue.get(queue)?.first()?;
            let waiter = self.remove(arrival)?;
            if !waiter.answer.is_closed() {
                return Some((arrival, waiter));
            }
        }
    }

    /// All that wait for a queue.
    pub(super) fn take_all(&mut self, queue: &Label) -> Vec<Waiter> {
        let first = || self.take_first(queue).map(|(_, waiter)| waiter);
        std::iter::from_fn(first).collect()
    }

    /// All whose time is over or who have gone away.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Waiter> {
        let is_over = |waiter: &Waiter| waiter.until <= now || waiter.answer.is_closed();
        let waiters = self.waiters.iter();
        let expired: Vec<_> = waiters
            .filter(|(_, waiter)| is_over(waiter))
            .map(|(arrival, _)| *arrival)
            .collect();
        let expired = expired.into_iter();
        expired.filter_map(|arrival| self.remove(arrival)).collect()
    }

    /// When the first of them has waited long enough; none where nobody waits.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.waiters.values().map(|waiter| waiter.until).min()
    }
}
