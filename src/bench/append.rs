//! Appends that each wait for their answer, beside calls on which the service
//! does nothing, and beside the naive design.

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::{Client, DELTA},
    floor::PipelinedXadd,
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    side::Side,
};

const CALLERS: usize = 64;
/// More connections than one, as from more producers than one.
const CONNECTIONS: usize = 4;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let own = Load::set(Side::own().await?).await?;
    let naive = Load::set(Side::naive().await?).await?;
    let mut floor = PipelinedXadd::open(&own.side.stage, CALLERS, 1).await?;
    let mut runs = [const { Vec::new() }; 4];
    own.append(scale).await?;
    bar.set_length(scale.rounds as u64);
    for _ in 0..scale.rounds {
        runs[0].push(own.append(scale).await?);
        runs[1].push(own.noop(scale).await?);
        let meter = own.side.stage.meter()?;
        runs[2].push(meter.read(floor.add(scale.round).await?)?);
        runs[3].push(naive.append(scale).await?);
        bar.inc(1);
    }

    let [appends, noops, xadds, naive_appends] = &runs;
    let ratio = ratio(appends, noops, Run::per_s);
    report.ratio("unary_append_vs_noop_unary", ratio, Bar::AtLeast(0.4));
    let mut table = Table::of_runs(
        "unary_append",
        format!(
            "unary append: {CALLERS} callers, each with a message, each waiting for its answer"
        ),
    );
    table.runs("append_text", appends);
    table.runs("noop_unary", noops);
    table.runs("bare_xadd", xadds);
    table.runs("naive_append_text", naive_appends);
    report.table(table);
    Ok(())
}

struct Load {
    side: Side,
    clients: Vec<Client>,
    /// One for each caller.
    messages: Vec<String>,
}

impl Load {
    async fn set(side: Side) -> Result<Self, BenchError> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(side.stage.client().await?);
        }
        let mut messages = Vec::new();
        for _ in 0..CALLERS {
            messages.push(side.create_message_of(1).await?);
        }
        Ok(Self {
            side,
            clients,
            messages,
        })
    }

    async fn append(&self, scale: &Scale) -> Result<Run, BenchError> {
        let (clients, messages) = (self.clients.clone(), self.messages.clone());
        let meter = self.side.stage.meter()?;
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
        let meter = self.side.stage.meter()?;
        let answered = call_in_turn(CALLERS, scale.round, move |caller| {
            let client = clients[caller % CONNECTIONS].clone();
            async move { client.noop().await }
        })
        .await?;
        meter.read(answered)
    }
}
