//! Creating and loading messages, and loading a large one beside reading the
//! same bytes from Redis.

use std::time::Instant;

use indicatif::ProgressBar;
use prost_types::FieldMask;

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::{Client, DELTA},
    meter::Run,
    raw::Connection,
    report::{Bar, Report, Table},
    resp::Redis,
    samples::{Samples, millis},
    stage::Stage,
};
use crate::proto as v1;

const LARGE_BYTES: usize = 1_000_000;
const SMALL_BYTES: usize = 1_000;
const CALLERS: usize = 64;
/// What may be under way to a client that reads as fast as it can.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let client = stage.client().await?;
    bar.set_length(2 * scale.rounds as u64);
    load_large(scale, bar, report, &stage, &client).await?;

    let small = client.create_message_of(SMALL_BYTES).await?;
    let (mut creates, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        creates.push(run(scale, &stage, &client, create).await?);
        let small = small.clone();
        let load = move |client: Client| load(client, small.clone());
        loads.push(run(scale, &stage, &client, load).await?);
        bar.inc(1);
    }
    let mut table = Table::of_runs(
        "create_load",
        format!("create and load: {CALLERS} callers, loads of {SMALL_BYTES} bytes"),
    );
    table.runs("create_message", &creates);
    table.runs("get_message", &loads);
    report.table(table);
    Ok(())
}

async fn load_large(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
    stage: &Stage,
    client: &Client,
) -> Result<(), BenchError> {
    let message = client.create_message_of(LARGE_BYTES).await?;
    let connection = Connection::open(stage.service.address(), WINDOW_BYTES).await?;
    let mut redis = stage.redis().await?;
    let text = "x".repeat(LARGE_BYTES);
    redis
        .call(&[b"HSET", b"bare:large", b"text", text.as_bytes()])
        .await?;
    // The first is another message than before, the next is the same.
    let masks = [&[][..], &[], &["blocks", "cursor"]];
    let (mut ratios, mut loads, mut reads) = <(_, [Samples; 3], _)>::default();
    for _ in 0..scale.rounds {
        let (mut round_loads, mut round_reads) = <([Samples; 3], _)>::default();
        for _ in 0..scale.calls.div_ceil(100) {
            client.append(&message, DELTA).await?;
            for (mask, round_loads) in masks.iter().zip(&mut round_loads) {
                round_loads.push(time_load(&connection, &message, mask).await?);
            }
            Samples::push(&mut round_reads, time_hgetall(&mut redis).await?);
        }
        Samples::push(&mut ratios, round_loads[1].median() / round_reads.median());
        for (loads, round_loads) in loads.iter_mut().zip(round_loads) {
            loads.append(round_loads);
        }
        Samples::append(&mut reads, round_reads);
        bar.inc(1);
    }
    report.ratio("load_1mb_vs_hgetall", ratios.median(), Bar::AtMost(2.5));
    let row = |name: &str, samples: &Samples| {
        let quantiles = vec![samples.median(), samples.quantile(0.99)];
        (name.to_owned(), quantiles)
    };
    report.table(Table {
        key: "load_1mb",
        title: "load of a message with 1 MB of text, one at a time".to_owned(),
        columns: vec!["p50_ms", "p99_ms"],
        rows: vec![
            row("get_message", &loads[1]),
            row("get_message, after an append", &loads[0]),
            row("get_message, blocks alone", &loads[2]),
            row("hgetall", &reads),
        ],
    });
    Ok(())
}

/// Neither answer is decoded, here and in [`time_hgetall`]: what is compared is how
/// long it takes until all of it is there.
async fn time_load(
    connection: &Connection,
    message: &str,
    mask: &[&str],
) -> Result<f64, BenchError> {
    let request = v1::GetMessageRequest {
        message_id: message.to_owned(),
        read_mask: Some(FieldMask {
            paths: mask.iter().map(|field| (*field).to_owned()).collect(),
        }),
    };
    let begin = Instant::now();
    let mut answer = connection.ask("GetMessage", &request).await?;
    match answer.drain().await? >= LARGE_BYTES {
        true => Ok(millis(begin.elapsed())),
        false => Err(BenchError::Unexpected("a message came without its text")),
    }
}

async fn time_hgetall(redis: &mut Redis) -> Result<f64, BenchError> {
    let begin = Instant::now();
    redis.call(&[b"HGETALL", b"bare:large"]).await?;
    Ok(millis(begin.elapsed()))
}

async fn create(client: Client) -> Result<(), BenchError> {
    client.create_message().await.map(drop)
}

async fn load(client: Client, message: String) -> Result<(), BenchError> {
    client.load(&message).await.map(drop)
}

async fn run<F>(
    scale: &Scale,
    stage: &Stage,
    client: &Client,
    call: impl Fn(Client) -> F + Clone + Send + 'static,
) -> Result<Run, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let client = client.clone();
    let meter = stage.meter()?;
    let answered = call_in_turn(CALLERS, scale.round, move |_| call(client.clone())).await?;
    meter.read(answered)
}
