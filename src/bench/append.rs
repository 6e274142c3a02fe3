//! Appends that each wait for their answer, beside calls on which the service
//! does nothing.

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::{Client, DELTA},
    floor::PipelinedXadd,
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    stage::Stage,
};

const CALLERS: usize = 64;
/// More connections than one, as from more producers than one.
const CONNECTIONS: usize = 4;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let load = Load::set(&stage).await?;
    let mut floor = PipelinedXadd::open(&stage, CALLERS, 1).await?;
    let (mut appends, mut noops, mut xadds) = (Vec::new(), Vec::new(), Vec::new());
    load.append(scale).await?;
    bar.set_length(scale.rounds as u64);
    for _ in 0..scale.rounds {
        appends.push(load.append(scale).await?);
        noops.push(load.noop(scale).await?);
        let meter = stage.meter()?;
        xadds.push(meter.read(floor.add(scale.round).await?)?);
        bar.inc(1);
    }

    let ratio = ratio(&appends, &noops, Run::per_s);
    report.ratio("unary_append_vs_noop_unary", ratio, Bar::AtLeast(0.4));
    let mut table = Table::of_runs(
        "unary_append",
        format!(
            "unary append: {CALLERS} callers, each with a message, each waiting for its answer"
        ),
    );
    table.runs("append_text", &appends);
    table.runs("noop_unary", &noops);
    table.runs("bare_xadd", &xadds);
    report.table(table);
    Ok(())
}

struct Load<'a> {
    stage: &'a Stage,
    clients: Vec<Client>,
    /// One for each caller.
    messages: Vec<String>,
}

impl<'a> Load<'a> {
    async fn set(stage: &'a Stage) -> Result<Self, BenchError> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(stage.client().await?);
        }
        let mut messages = Vec::new();
        for _ in 0..CALLERS {
            messages.push(clients[0].create_message_of(1).await?);
        }
        Ok(Self {
            stage,
            clients,
            messages,
        })
    }

    async fn append(&self, scale: &Scale) -> Result<Run, BenchError> {
        let (clients, messages) = (self.clients.clone(), self.messages.clone());
        let meter = self.stage.meter()?;
        let answered = call_in_turn(CALLERS, scale.round, move |caller| {
            let client = clients[caller % CONNECTIONS].clone();
            let message = messages[caller].clone();
            async move { client.append(&message, DELTA).await }
        })
        .await?;
        meter.read(answered)
    }

    async fn noop(&self, scale: &Scale) -> Result<Run, BenchError> {
        let clients = self.clients.clone();
        let meter = self.stage.meter()?;
        let answered = call_in_turn(CALLERS, scale.round, move |caller| {
            let client = clients[caller % CONNECTIONS].clone();
            async move { client.noop().await }
        })
        .await?;
        meter.read(answered)
    }
}
