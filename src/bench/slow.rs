//! Slow watchers among fast ones: what the fast ones notice of it.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::{task::JoinSet, time::sleep};

use super::{
    BenchError, Scale,
    audience::{WINDOW_BYTES, open_watches},
    callers::call_at_pace,
    many::receive,
    raw::{Door, Incoming},
    report::{Report, Table},
    samples::Samples,
    side::Side,
    stamps::Clock,
};

const FAST: usize = 100;
/// Read once a second.
const SLOW: usize = 50;
/// Never read.
const STOPPED: usize = 50;
const PACE: Duration = Duration::from_millis(2);
/// What slow and stopped ones take in unasked, so that they are behind from the start.
const SLOW_WINDOW_BYTES: u32 = 8 * 1024;
const SLOW_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut table = Table {
        key: "slow_watchers",
        title: format!(
            "{FAST} watchers, 500 events a second: alone, and among {SLOW} that read once a \
             second and {STOPPED} that never read"
        ),
        columns: vec!["p50_ms", "p99_ms", "service_growth_kib"],
        rows: Vec::new(),
    };
    bar.set_length(2);
    for (name, slow, stopped) in [("alone", 0, 0), ("among_slow", SLOW, STOPPED)] {
        let (ages, growth_kib) = run(scale, slow, stopped).await?;
        let values = vec![ages.median(), ages.quantile(0.99), growth_kib];
        table.rows.push((name.to_owned(), values));
        bar.inc(1);
    }
    report.table(table);
    Ok(())
}

async fn run(scale: &Scale, slow: usize, stopped: usize) -> Result<(Samples, f64), BenchError> {
    let side = Side::own().await?;
    let open = |count, window_bytes| {
        open_watches(Door::Grpc, &side.stage, &side.message, count, window_bytes)
    };
    let fast = open(FAST, WINDOW_BYTES).await?;
    let slow = open(slow, SLOW_WINDOW_BYTES).await?;
    let _stopped = open(stopped, SLOW_WINDOW_BYTES).await?;
    let before = side.stage.service.process.resident_kib()?;

    let clock = Clock::start();
    let events = (scale.round * scale.rounds as u32).div_duration_f64(PACE) as usize;
    let mut reading = JoinSet::new();
    for (watch, place) in fast {
        reading.spawn(receive(watch, place + events as u64, clock));
    }
    let mut dawdling = JoinSet::new();
    for (watch, _) in slow {
        dawdling.spawn(dawdle(watch));
    }
    let append = |_| {
        let (client, message) = (side.client.clone(), side.message.clone());
        async move { client.append(&message, &clock.stamp()).await }
    };
    call_at_pace(PACE, events, append).await?;
    let mut ages = Samples::default();
    for fast in reading.join_all().await {
        ages.append(fast?);
    }
    Ok((ages, side.stage.service.process.resident_kib()? - before))
}

async fn dawdle(mut watch: Incoming) -> Result<(), BenchError> {
    while watch.read(|_| Ok(())).await? {
        sleep(SLOW_PAUSE).await;
    }
    Ok(())
}
