//! What watchers cost that do nothing: those that wait, and those that never
//! read.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::sleep;

use super::{
    BenchError, Scale,
    audience::{caught_up, watch_from_now},
    raw::{Connection, Incoming},
    report::{Bar, Report, Table},
    stage::Stage,
};

/// Watchers that share a connection.
const PER_CONNECTION: usize = 1_000;
const OPENED_AT_ONCE: usize = 100;
/// Watchers of one message.
const PER_MESSAGE: usize = 10;
/// What a client has by default: it ends what a watcher is sent that never
/// reads.
const WINDOW_BYTES: u32 = 65_535;
/// What passes by those that never read.
const PASSING_BYTES: usize = 4 * 1024 * 1024;
const PASSING_DELTA_BYTES: usize = 4 * 1024;
/// Memory is looked at until it no longer grows from one look to the next.
const SETTLING_INTERVAL: Duration = Duration::from_millis(200);
const SETTLED_KIB: f64 = 64.0;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    bar.set_length(2);
    let idle = measure_idle(scale).await?;
    bar.inc(1);
    let stalled_kib = measure_stalled(scale).await?;
    bar.inc(1);
    report.ratio("idle_watcher_kib", idle.kib, Bar::AtMost(6.0));
    report.ratio("stalled_watcher_kib", stalled_kib, Bar::AtMost(16.0));
    report.ratio(
        "redis_connections_10000_watchers",
        idle.redis_connections,
        Bar::AtMost(16.0),
    );
    let open_s = vec![scale.watchers as f64, idle.open_per_s];
    report.table(Table {
        key: "idle",
        title: "idle watchers".to_owned(),
        columns: vec!["watchers", "opened_per_s"],
        rows: vec![("watch_message".to_owned(), open_s)],
    });
    Ok(())
}

struct Idle {
    kib: f64,
    redis_connections: f64,
    open_per_s: f64,
}

async fn measure_idle(scale: &Scale) -> Result<Idle, BenchError> {
    let stage = Stage::set().await?;
    let client = stage.client().await?;
    let mut redis = stage.redis().await?;
    let mut messages = Vec::new();
    for _ in 0..scale.watchers.div_ceil(PER_MESSAGE) {
        messages.push(client.create_message().await?);
    }
    let before = settled_kib(&stage).await?;
    let begin = std::time::Instant::now();
    let watches = watch_all(&stage, &messages, scale.watchers).await?;
    let open_per_s = watches.len() as f64 / begin.elapsed().as_secs_f64();
    let after = settled_kib(&stage).await?;
    let clients: f64 = redis.info("clients", "connected_clients").await?;
    Ok(Idle {
        kib: (after - before) / watches.len() as f64,
        // One of them is the generator's.
        redis_connections: clients - 1.0,
        open_per_s,
    })
}

/// Opens watches of the messages in turn, a few at a time: what they cost is
/// meant, not what a storm of openings does.
async fn watch_all(
    stage: &Stage,
    messages: &[String],
    count: usize,
) -> Result<Vec<Incoming>, BenchError> {
    let address = stage.service.address();
    let connections =
        Connection::open_many(address, WINDOW_BYTES, count.div_ceil(PER_CONNECTION)).await?;
    let mut watches = Vec::new();
    while watches.len() < count {
        let opened = watches.len();
        for number in opened..count.min(opened + OPENED_AT_ONCE) {
            let message = &messages[number % messages.len()];
            let connection = &connections[number / PER_CONNECTION];
            let request = watch_from_now(message);
            watches.push(connection.ask("WatchMessage", &request).await?);
        }
        for watch in &mut watches[opened..] {
            caught_up(watch).await?;
        }
    }
    Ok(watches)
}

/// How much the service grows for each watcher that never reads.
async fn measure_stalled(scale: &Scale) -> Result<f64, BenchError> {
    let stage = Stage::set().await?;
    let client = stage.client().await?;
    let message = client.create_message_of(1).await?;
    let messages = std::slice::from_ref(&message);
    let stalled = watch_all(&stage, messages, scale.watchers.div_ceil(10)).await?;
    let before = settled_kib(&stage).await?;
    let delta = "x".repeat(PASSING_DELTA_BYTES);
    let mut reader = client.watch(&message).await?;
    for _ in 0..PASSING_BYTES / PASSING_DELTA_BYTES {
        client.append(&message, &delta).await?;
        reader.event().await?;
    }
    let after = settled_kib(&stage).await?;
    Ok((after - before) / stalled.len() as f64)
}

/// The service's memory, once it no longer changes.
async fn settled_kib(stage: &Stage) -> Result<f64, BenchError> {
    let mut last = stage.service.process.resident_kib()?;
    loop {
        sleep(SETTLING_INTERVAL).await;
        let now = stage.service.process.resident_kib()?;
        if (now - last).abs() <= SETTLED_KIB {
            return Ok(now);
        }
        last = now;
    }
}
