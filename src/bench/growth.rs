//! Whether appending gets slower as a message grows.

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::{Client, DELTA},
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    stage::Stage,
};

/// How much the message holds before: its name and its bytes.
const SIZES: [(&str, usize); 4] = [
    ("empty", 0),
    ("10_kb", 10_000),
    ("100_kb", 100_000),
    ("1_mb", 1_000_000),
];
const CALLERS: usize = 64;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let client = stage.client().await?;
    let mut runs = SIZES.map(|_| Vec::new());
    append(scale, &stage, &client, 0).await?;
    bar.set_length((scale.rounds * SIZES.len()) as u64);
    for _ in 0..scale.rounds {
        for ((_, bytes), runs) in SIZES.iter().zip(&mut runs) {
            runs.push(append(scale, &stage, &client, *bytes).await?);
            bar.inc(1);
        }
    }

    let ratio = ratio(&runs[SIZES.len() - 1], &runs[0], Run::per_s);
    report.ratio("append_1mb_vs_empty", ratio, Bar::AtLeast(0.9));
    let mut table = Table::of_runs(
        "growth",
        format!("growth: AppendText to one message that holds so much, {CALLERS} callers"),
    );
    for ((name, _), runs) in SIZES.iter().zip(&runs) {
        table.runs(*name, runs);
    }
    report.table(table);
    Ok(())
}

/// Appends for one round to a message that holds so much.
async fn append(
    scale: &Scale,
    stage: &Stage,
    client: &Client,
    bytes: usize,
) -> Result<Run, BenchError> {
    let message = client.create_message_of(bytes).await?;
    let client = client.clone();
    let meter = stage.meter()?;
    let answered = call_in_turn(CALLERS, scale.round, move |_| {
        let (client, message) = (client.clone(), message.clone());
        async move { client.append(&message, DELTA).await }
    })
    .await?;
    meter.read(answered)
}
