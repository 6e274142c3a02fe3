//! A resume storm: everybody comes back at once, as after a deployment.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::{task::JoinSet, time::sleep};
use tonic::Code;

use super::{
    BenchError, Scale,
    client::DELTA,
    raw::{Connection, Incoming, WatchFrame},
    report::{Report, Table},
    samples::{Samples, millis},
    side::Side,
};
use crate::proto as v1;

/// What each has missed.
const EVENTS: usize = 500;
const CONNECTIONS: usize = 8;
const WINDOW_BYTES: u32 = 256 * 1024;
/// As the service asks those that it refuses.
const RETRY_DELAY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let watchers = scale.watchers.div_ceil(5);
    let mut table = Table {
        key: "resume_storm",
        title: format!("resume storm: {watchers} watchers resume at once, {EVENTS} events behind"),
        columns: vec![
            "p50_ms",
            "p99_ms",
            "refused",
            "given_up",
            "deliveries_per_s",
            "service_cpu_s_per_10k",
            "redis_cpu_s_per_10k",
        ],
        rows: Vec::new(),
    };
    bar.set_length(2);
    for side in [Side::own().await?, Side::naive().await?] {
        let client = &side.client;
        for _ in 0..EVENTS {
            client.append(&side.message, DELTA).await?;
        }
        table
            .rows
            .push((side.name.to_owned(), resume_all(&side, watchers).await?));
        bar.inc(1);
    }
    report.table(table);
    Ok(())
}

async fn resume_all(side: &Side, watchers: usize) -> Result<Vec<f64>, BenchError> {
    let address = side.stage.service.address();
    let connections = Connection::open_many(address, WINDOW_BYTES, CONNECTIONS).await?;
    let request = v1::WatchMessageRequest {
        message_id: side.message.clone(),
        cursor: "0".to_owned(),
        ..Default::default()
    };
    let meter = side.stage.meter()?;
    let begin = Instant::now();
    let mut resuming = JoinSet::new();
    for number in 0..watchers {
        let connection = connections[number % CONNECTIONS].clone();
        resuming.spawn(resume(connection, request.clone(), begin));
    }
    let mut times = Samples::default();
    let (mut refused, mut given_up) = (0, 0);
    for resumed in resuming.join_all().await {
        let (time, times_refused) = resumed?;
        refused += times_refused;
        match time {
            Some(time) => times.push(time),
            None => given_up += 1,
        }
    }
    let run = meter.read((watchers * EVENTS) as u64)?;
    Ok(vec![
        times.median(),
        times.quantile(0.99),
        f64::from(refused),
        f64::from(given_up),
        run.per_s(),
        run.service_cpu(),
        run.redis_cpu(),
    ])
}

/// Resumes, again where the service is not available. Returns when all that was
/// missed had come, if it did, and how often it was refused.
async fn resume(
    connection: Connection,
    request: v1::WatchMessageRequest,
    begin: Instant,
) -> Result<(Option<f64>, u32), BenchError> {
    let mut refused = 0;
    while begin.elapsed() < PATIENCE {
        let watch = connection.ask("WatchMessage", &request).await?;
        match receive(watch, begin).await {
            Err(BenchError::Call(status)) if status.code() == Code::Unavailable => refused += 1,
            received => return Ok((Some(received?), refused)),
        }
        sleep(RETRY_DELAY).await;
    }
    Ok((None, refused))
}

async fn receive(mut watch: Incoming, begin: Instant) -> Result<f64, BenchError> {
    let mut events = 0;
    while events < EVENTS as u64 {
        let read = watch.read(|message| {
            if let WatchFrame::Event(sequence) = WatchFrame::read(message) {
                events = sequence;
            }
            Ok(())
        });
        if !read.await? {
            return Err(BenchError::Unexpected("a watch ended"));
        }
    }
    Ok(millis(begin.elapsed()))
}
