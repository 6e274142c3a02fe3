//! Whether appending gets slower as a message grows.

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::DELTA,
    meter::{Run, ratio},
    report::{Bar, Report, Table},
    side::Side,
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
    let (own, naive) = (Side::own().await?, Side::naive().await?);
    let mut own_runs = SIZES.map(|_| Vec::new());
    let mut naive_runs = SIZES.map(|_| Vec::new());
    append(scale, &own, 0).await?;
    bar.set_length(scale.rounds as u64);
    for round in 0..scale.rounds {
        for ((_, bytes), runs) in SIZES.iter().zip(&mut own_runs) {
            runs.push(append(scale, &own, *bytes).await?);
        }
        // Far enough from the other to be known after fewer rounds.
        if round % 5 == 0 {
            for ((_, bytes), runs) in SIZES.iter().zip(&mut naive_runs) {
                runs.push(append(scale, &naive, *bytes).await?);
            }
        }
        bar.inc(1);
    }

    let ratio = ratio(&own_runs[SIZES.len() - 1], &own_runs[0], Run::per_s);
    report.ratio("append_1mb_vs_empty", ratio, Bar::AtLeast(0.9));
    let mut table = Table::of_runs(
        "growth",
        format!("growth: AppendText to one message that holds so much, {CALLERS} callers"),
    );
    for (side, runs) in [(own, own_runs), (naive, naive_runs)] {
        for ((size, _), runs) in SIZES.iter().zip(&runs) {
            table.runs(format!("{}_{size}", side.name), runs);
        }
    }
    report.table(table);
    Ok(())
}

/// Appends for one round to a message that holds so much.
async fn append(scale: &Scale, side: &Side, bytes: usize) -> Result<Run, BenchError> {
    let message = side.create_message_of(bytes).await?;
    let client = side.client.clone();
    let meter = side.stage.meter()?;
    let answered = call_in_turn(CALLERS, scale.round, move |_| {
        let (client, message) = (client.clone(), message.clone());
        async move { client.append(&message, DELTA).await }
    })
    .await?;
    meter.read(answered)
}
