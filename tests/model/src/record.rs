//! What the model was asked, and what became of each answer.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// One request and what became of its answer. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exchange {
    /// From 1, in the order of arrival.
    pub number: usize,
    /// What was sent, where it was JSON.
    pub body: Value,
    /// Of HTTP; none where nothing was answered.
    pub status: Option<u16>,
    /// Which rule decided, from 0.
    pub rule: Option<usize>,
    /// How many tokens were sent.
    pub tokens: usize,
    /// When the request was there.
    pub arrived_us: u64,
    /// When the first token was sent.
    pub first_token_us: Option<u64>,
    /// When the answer was finished, or cut as the script wants it.
    pub ended_us: Option<u64>,
    /// When the client went away, where that was before the answer was finished.
    pub gone_us: Option<u64>,
}

/// The time, as exchanges have it.
#[allow(
    clippy::disallowed_methods,
    reason = "what is recorded is compared with times of other processes"
)]
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros().try_into().unwrap_or(u64::MAX))
}

/// All exchanges of a model, and who waits for some.
#[derive(Clone)]
pub(crate) struct Record(Arc<watch::Sender<Vec<Exchange>>>);

impl Record {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.0.borrow().clone()
    }

    /// Enters a request.
    pub(crate) fn begin(&self, body: Value) -> Visit {
        let mut number = 0;
        self.0.send_modify(|exchanges| {
            number = exchanges.len() + 1;
            exchanges.push(Exchange {
                number,
                body,
                arrived_us: now_us(),
                ..Exchange::default()
            });
        });
        Visit {
            record: self.clone(),
            number,
            has_ended: false,
        }
    }

    /// Waits for the request with this number to be so.
    pub(crate) async fn wait(&self, number: usize, is_so: impl Fn(&Exchange) -> bool) -> Exchange {
        let at = number.saturating_sub(1);
        let mut exchanges = self.0.subscribe();
        let seen = exchanges.wait_for(|exchanges| exchanges.get(at).is_some_and(&is_so));
        // The sender is ours, so it is still there.
        let exchanges = seen.await.expect("the record is there");
        exchanges[at].clone()
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Exchange)) {
        self.0
            .send_modify(|exchanges| change(&mut exchanges[number - 1]));
    }
}

/// One request that is being answered. Dropped before its answer was finished, it
/// enters that the client went away.
pub(crate) struct Visit {
    record: Record,
    pub(crate) number: usize,
    has_ended: bool,
}

impl Visit {
    /// Which rule decided.
    pub(crate) fn rule(&self, rule: usize) {
        self.change(|exchange| exchange.rule = Some(rule));
    }

    pub(crate) fn status(&self, status: u16) {
        self.change(|exchange| exchange.status = Some(status));
    }

    /// Enters that so many tokens are being sent.
    pub(crate) fn tokens(&self, count: usize) {
        self.change(|exchange| {
            exchange.tokens += count;
            exchange.first_token_us.get_or_insert_with(now_us);
        });
    }

    /// Enters that the answer is finished.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        self.change(|exchange| exchange.ended_us = Some(now_us()));
    }

    fn change(&self, change: impl FnOnce(&mut Exchange)) {
        self.record.change(self.number, change);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.has_ended {
            self.change(|exchange| exchange.gone_us = Some(now_us()));
        }
    }
}
