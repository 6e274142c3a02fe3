//! The program is told to stop: watches say goodbye, acknowledged writes stand,
//! and it is gone in time.

use std::{
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use redis::{Client, InfoDict, RedisError};
use throughline::proto::{WatchEndReason, event::Payload, watch_message_response::Frame};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{Clients, Program, Redis, eventually, serve_command, signal, soon};

/// A stop is promised to take at most 10 s. The rest is for a machine that runs
/// other tests at the same time.
const STOP_MAX: Duration = Duration::from_secs(13);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_watches_and_keeps_what_was_acknowledged() {
    let redis = Redis::start();
    let mut stopping = Program::serve_on(&redis, &[]).await;
    let staying = Program::serve_on(&redis, &[]).await;
    let other = staying.connect().await;
    let client = stopping.connect().await;
    client.message("m").await;
    client.append("m", "first;").await.unwrap();
    let mut from_first = client.watch("m", "0").await;
    from_first.event().await;
    let mut latest = client.watch("m", "$").await;
    latest.caught_up().await;
    let mut health = client.health.clone();
    let health = health.watch(HealthCheckRequest::default()).await;
    let mut health = health.unwrap().into_inner();
    let serving = soon("health", health.message()).await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);

    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn(append_until_refused(client.clone(), writer));
    }
    eventually("some text is written", async || {
        other.get("m").await.unwrap().sequence > 50
    })
    .await;
    stopping.terminate();

    let not_serving = soon("health", health.message()).await.unwrap().unwrap();
    assert_eq!(not_serving.status(), ServingStatus::NotServing);
    assert!(stopping.ended().await.success());
    let mut cursors = Vec::new();
    for mut watch in [from_first, latest] {
        let end = loop {
            match watch.frame().await {
                Frame::Event(_) | Frame::CaughtUp(_) => {}
                Frame::End(end) => break end,
                other => panic!("an end was expected, not {other:?}"),
            }
        };
        assert_eq!(end.reason(), WatchEndReason::ServerDraining);
        assert!(watch.next().await.unwrap().is_none(), "the status is OK");
        cursors.push(watch.cursor);
    }

    let acknowledged = soon("the end of all writers", writers.join_all()).await;
    let written = deltas(&other).await;
    for delta in acknowledged.iter().flatten() {
        assert!(written.contains(delta), "{delta} was acknowledged");
    }
    other.append("m", "after;").await.unwrap();
    for cursor in cursors {
        let next = other.watch("m", &cursor).await.event().await.sequence;
        assert!(cursor.starts_with(&format!("{}-", next - 1)), "{cursor}");
    }
}

/// Appends until the service is gone; gives what was acknowledged.
async fn append_until_refused(client: Clients, writer: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for turn in 0.. {
        let delta = format!("{writer}.{turn};");
        if client.append("m", &delta).await.is_err() {
            break;
        }
        acknowledged.push(delta);
    }
    acknowledged
}

async fn deltas(client: &Clients) -> Vec<String> {
    let events = client.events("m").await.into_iter();
    let deltas = events.filter_map(|event| match event.payload {
        Some(Payload::TextDelta(delta)) => Some(delta.delta),
        _ => None,
    });
    deltas.collect()
}

#[tokio::test]
async fn silent_connections_and_stalled_streams_do_not_hold_up_a_stop() {
    // Its private Redis has to be stopped in the same time.
    let directory = tempfile::tempdir().unwrap();
    let mut program = serve_in(directory.path()).await;
    let client = program.connect().await;
    client.message("m").await;
    let silent = TcpStream::connect(&program.address).await.unwrap();
    let stalled = narrow(&program).await.watch("m", "0").await;
    // More than a connection holds that nobody reads from.
    for _ in 0..30 {
        client.append("m", &"x".repeat(100_000)).await.unwrap();
    }

    program.terminate();
    let begin = Instant::now();
    assert!(program.ended().await.success());
    let took = begin.elapsed();
    assert!(took < STOP_MAX, "the stop took {took:?}");
    drop((silent, stalled));
}

#[tokio::test]
async fn a_second_signal_cuts_what_a_stop_waits_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    // Longer than this test waits for anything.
    let mut program = Program::serve(&["--data-dir", path, "--drain-timeout", "10m"]).await;
    let redis = private_redis(directory.path()).await.unwrap();
    let client = program.connect().await;
    client.message("m").await;
    let stalled = narrow(&program).await.watch("m", "0").await;
    for _ in 0..30 {
        client.append("m", &"x".repeat(100_000)).await.unwrap();
    }
    let mut latest = client.watch("m", "$").await;
    latest.caught_up().await;

    program.terminate();
    // It has heard the first when it says goodbye.
    assert_eq!(latest.end().await.reason(), WatchEndReason::ServerDraining);
    program.terminate();
    assert!(program.ended().await.success());
    assert!(!signal(redis, 0), "redis-server is left behind");
    drop(stalled);
}

/// A client that takes in little unasked.
async fn narrow(program: &Program) -> Clients {
    let channel = Channel::from_shared(format!("http://{}", program.address));
    let channel = channel.unwrap().initial_stream_window_size(65_535);
    Clients::of(channel.connect().await.unwrap())
}

#[tokio::test]
async fn a_private_redis_ends_with_its_program_and_keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = serve_in(directory.path()).await;
    let redis = private_redis(directory.path()).await.unwrap();
    let client = program.connect().await;
    client.message("m").await;
    client.append("m", "kept").await.unwrap();
    program.terminate();
    assert!(program.ended().await.success());
    assert!(!signal(redis, 0), "redis-server is left behind");

    let program = serve_in(directory.path()).await;
    let message = program.connect().await.get("m").await.unwrap();
    assert_eq!(message.text, "kept");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_private_redis_ends_with_a_program_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = serve_in(directory.path()).await;
    let client = program.connect().await;
    client.message("m").await;
    client.append("m", "kept").await.unwrap();
    program.kill().await;
    eventually("redis-server ends", async || {
        private_redis(directory.path()).await.is_err()
    })
    .await;

    let program = serve_in(directory.path()).await;
    let message = program.connect().await.get("m").await.unwrap();
    assert_eq!(message.text, "kept");
}

#[tokio::test]
async fn a_second_program_on_a_data_directory_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let first = serve_in(directory.path()).await;
    let path = directory.path().to_str().unwrap();
    let mut second = serve_command(&["--data-dir", path, "--log-level", "error"]);
    let Output { status, stderr, .. } = soon("the refusal", second.output()).await.unwrap();
    assert!(!status.success());
    let text = String::from_utf8(stderr).unwrap();
    assert!(text.contains(path), "{text}");
    assert!(text.contains("in use by another throughline"), "{text}");
    first.connect().await.message("m").await;
}

async fn serve_in(directory: &Path) -> Program {
    Program::serve(&["--data-dir", directory.to_str().unwrap()]).await
}

/// The process of the Redis that keeps its data there.
async fn private_redis(directory: &Path) -> Result<u32, RedisError> {
    let socket = directory.join("redis.sock");
    let client = Client::open(format!("redis+unix://{}", socket.display()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut info = redis::cmd("INFO");
    let info: InfoDict = info.arg("server").query_async(&mut connection).await?;
    Ok(info.get("process_id").expect("every redis says it"))
}
