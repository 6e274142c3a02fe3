//! What an append costs Redis, beside a bare XADD. The store makes the calls
//! here, without a service in front of it, so that Redis gets both in the same
//! way: as many at once as it can take.

use futures_util::future::join_all;
use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::DELTA,
    floor::PipelinedXadd,
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    stage::Stage,
};
use crate::{
    domain::{Time, ids::MessageId},
    store::{Append, Appended, Delta, Store, StoreOptions},
};

/// Calls in one journey to Redis.
const WINDOW: usize = 128;
/// While Redis does one journey the next is on its way.
const JOURNEYS: usize = 2;
/// Deltas to one message that go into one call.
const BATCH: usize = 16;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let load = Load::set(&stage).await?;
    let mut floor = PipelinedXadd::open(&stage, JOURNEYS, WINDOW).await?;
    let (mut single, mut batched, mut xadds) = (Vec::new(), Vec::new(), Vec::new());
    load.append(scale, 1).await?;
    bar.set_length(scale.rounds as u64);
    for _ in 0..scale.rounds {
        single.push(load.append(scale, 1).await?);
        batched.push(load.append(scale, BATCH).await?);
        let meter = stage.meter()?;
        xadds.push(meter.read(floor.add(scale.round).await?)?);
        bar.inc(1);
    }

    let vs_xadd = |runs: &[Run]| ratio(runs, &xadds, Run::redis_cpu);
    report.ratio(
        "redis_cpu_append_vs_xadd",
        vs_xadd(&single),
        Bar::AtMost(4.5),
    );
    report.ratio(
        "redis_cpu_append_batch16_vs_xadd",
        vs_xadd(&batched),
        Bar::AtMost(0.6),
    );
    let mut table = Table::of_runs(
        "redis_cpu",
        format!("Redis alone: {JOURNEYS} x {WINDOW} calls at a time, without the service"),
    );
    table.runs("append", &single);
    table.runs("append_batch16", &batched);
    table.runs("bare_xadd", &xadds);
    report.table(table);
    Ok(())
}

struct Load<'a> {
    stage: &'a Stage,
    store: Store,
    /// One for each call of a journey.
    messages: Vec<MessageId>,
}

impl<'a> Load<'a> {
    async fn set(stage: &'a Stage) -> Result<Self, BenchError> {
        let client = stage.client().await?;
        let mut messages = Vec::new();
        for _ in 0..WINDOW {
            let id = client.create_message_of(1).await?;
            let unknown = |_| BenchError::Unexpected("a message has no id");
            messages.push(MessageId::parse(&id).map_err(unknown)?);
        }
        Ok(Self {
            stage,
            store: Store::connect(&stage.redis_url(), StoreOptions::default()).await?,
            messages,
        })
    }

    /// Appends for one round, with so many deltas in a call.
    async fn append(&self, scale: &Scale, deltas: usize) -> Result<Run, BenchError> {
        let (store, messages) = (self.store.clone(), self.messages.clone());
        let meter = self.stage.meter()?;
        let journeys = call_in_turn(JOURNEYS, scale.round, move |_| {
            append(store.clone(), messages.clone(), deltas)
        });
        meter.read(journeys.await? * (WINDOW * deltas) as u64)
    }
}

/// Each append has a call of its own: in one they would cost less.
async fn append(store: Store, messages: Vec<MessageId>, deltas: usize) -> Result<(), BenchError> {
    let calls = messages.iter().map(|message| {
        let append = Append {
            message,
            block: None,
            deltas: (0..deltas).map(|_| delta()).collect(),
            time: Time::UNIX_EPOCH,
            expected_offset: None,
            fence: 0,
            attempt: None,
            owner: None,
        };
        let store = &store;
        async move { store.append(&[append]).await }
    });
    for appended in join_all(calls).await.into_iter().flatten() {
        if !matches!(appended?, Appended::Done { .. }) {
            return Err(BenchError::Unexpected("an append was refused"));
        }
    }
    Ok(())
}

fn delta() -> Delta<'static> {
    Delta {
        text: DELTA,
        request: None,
    }
}
