//! What an append costs Redis, beside a bare XADD. The store makes the calls
//! here, without a service in front of it, so that Redis gets both in the same
//! way: as many at once as it can take.

use std::sync::Arc;

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::DELTA,
    floor::PipelinedXadd,
    report::{Bar, Report, Table},
    stage::{Instance, Run, Stage, ratio},
};
use crate::{
    domain::{Time, ids::MessageId},
    store::{Append, Appended, Store, StoreOptions},
};

/// Calls that wait for Redis at a time.
const WINDOW: usize = 256;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let instance = stage.instance().await?;
    let load = Load::set(&stage, &instance).await?;
    let mut floor = PipelinedXadd::open(&stage, 1, WINDOW).await?;
    let (mut appends, mut xadds) = (Vec::new(), Vec::new());
    load.append(scale).await?;
    bar.set_length(scale.rounds as u64);
    for _ in 0..scale.rounds {
        appends.push(load.append(scale).await?);
        let meter = stage.meter(&instance)?;
        xadds.push(meter.read(floor.add(scale.round).await?)?);
        bar.inc(1);
    }

    let ratio = ratio(&appends, &xadds, Run::redis_cpu);
    report.ratio("redis_cpu_append_vs_xadd", ratio, Bar::AtMost(4.5));
    let mut table = Table::of_runs(
        "redis_cpu",
        format!("Redis alone: {WINDOW} calls at a time, without the service"),
    );
    table.runs("append", &appends);
    table.runs("bare_xadd", &xadds);
    report.table(table);
    Ok(())
}

struct Load<'a> {
    stage: &'a Stage,
    instance: &'a Instance,
    store: Store,
    /// One for each call at a time.
    messages: Arc<[MessageId]>,
}

impl<'a> Load<'a> {
    async fn set(stage: &'a Stage, instance: &'a Instance) -> Result<Self, BenchError> {
        let client = instance.client().await?;
        let mut messages = Vec::new();
        for _ in 0..WINDOW {
            let id = client.create_message_of(1).await?;
            let unknown = |_| BenchError::Unexpected("a message has no id");
            messages.push(MessageId::parse(&id).map_err(unknown)?);
        }
        Ok(Self {
            stage,
            instance,
            store: Store::connect(&stage.url(), StoreOptions::default()).await?,
            messages: messages.into(),
        })
    }

    async fn append(&self, scale: &Scale) -> Result<Run, BenchError> {
        let (store, messages) = (self.store.clone(), self.messages.clone());
        let meter = self.stage.meter(self.instance)?;
        let answered = call_in_turn(WINDOW, scale.round, move |caller| {
            append(store.clone(), messages[caller].clone())
        })
        .await?;
        meter.read(answered)
    }
}

async fn append(store: Store, message: MessageId) -> Result<(), BenchError> {
    let append = Append {
        message: &message,
        block: None,
        delta: DELTA,
        time: Time::UNIX_EPOCH,
        expected_offset: None,
        fence: 0,
        request: None,
        owner: None,
    };
    match store.append(&append).await? {
        Appended::Done { .. } => Ok(()),
        _ => Err(BenchError::Unexpected("an append was refused")),
    }
}
