//! Watchers that read slowly, or not at all.

use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use throughline::{
    engine::now,
    proto::{self as v1, watch_message_response::Frame, write_message_request::Write},
    store::StoreOptions,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, Status, Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::{
    support::{
        Clients, Program, Redis, Watch, World, are_dense, first_sequence, fold, reason,
        slow_channel, soon,
    },
    write_stream::{WriteStream, append},
};

/// What a watch still sends, and how it ends.
async fn rest(watch: &mut Watch) -> (Vec<v1::Event>, Result<(), Status>) {
    let mut events = Vec::new();
    // Heartbeats come for ever where nothing else does.
    let end = soon("the end of the watch", async {
        loop {
            match watch.next().await {
                Ok(Some(Frame::Event(event))) => events.push(event),
                Ok(Some(Frame::CaughtUp(_) | Frame::Heartbeat(_) | Frame::End(_))) => {}
                Ok(None) => return Ok(()),
                Ok(other) => panic!("an event was expected, not {other:?}"),
                Err(status) => return Err(status),
            }
        }
    });
    let end = end.await;
    (events, end)
}

fn assert_is_stall(end: Result<(), Status>) {
    let status = end.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(&status), "SLOW_WATCHER");
    let retry = status.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.unwrap() > Duration::ZERO);
}

#[tokio::test]
async fn a_watcher_that_falls_far_behind_is_sent_deltas_joined_with_their_range() {
    const DELTAS: usize = 1_800;
    let world = World::with(StoreOptions {
        retained_entries: 10_000,
        ..StoreOptions::default()
    })
    .await;
    world.a().message("m").await;
    let mut slow = world.slow_client().await.watch("m", "0").await;
    let begin = slow.event().await;
    slow.caught_up().await;
    for turn in 0..DELTAS {
        let delta = format!("{turn:0>300};");
        world.b().append("m", &delta).await.unwrap();
    }
    world.a().complete("m").await;

    let (rest, end) = rest(&mut slow).await;
    end.unwrap();
    let seen = [vec![begin], rest].concat();
    let log = world.b().events("m").await;
    assert!(log.iter().all(|event| event.first_sequence == 0));
    assert!(seen.len() < log.len() / 2, "{} events", seen.len());
    let (copy, stored) = (fold(&seen), fold(&log));
    assert_eq!(copy.head, stored.head);
    assert_eq!(copy.blocks, stored.blocks);
    // The replay that opens a watch is the log as it is.
    let mut late = world.slow_client().await.watch("m", "0").await;
    assert!(self::rest(&mut late).await.0 == log);
}

#[tokio::test]
async fn a_crowd_that_lags_shares_deltas_that_were_joined_once() {
    const CROWD: usize = 70;
    let world = World::start().await;
    world.a().message("m").await;
    let crowd = world.slow_client().await;
    let mut watches = Vec::new();
    for _ in 0..CROWD {
        let mut watch = crowd.watch("m", "$").await;
        watch.caught_up().await;
        watches.push(watch);
    }
    // Written all at once, they are read many at a time.
    const DELTAS: usize = 400;
    let mut stream = WriteStream::open(&world.b()).await;
    for turn in 0..DELTAS {
        let delta = format!("{turn:0>100};");
        stream.send(Write::AppendText(append("m", &delta))).await;
    }
    stream.sequences(DELTAS).await;
    world.a().complete("m").await;

    let log = world.b().events("m").await;
    let mut reading = JoinSet::new();
    for mut watch in watches {
        reading.spawn(async move { rest(&mut watch).await });
    }
    let mut joined = 0;
    while let Some(read) = reading.join_next().await {
        let (seen, end) = read.unwrap();
        end.unwrap();
        joined += seen
            .iter()
            .filter(|event| event.first_sequence != 0)
            .count();
        let copy = fold(&[vec![log[0].clone()], seen].concat());
        assert_eq!(copy.blocks, fold(&log).blocks);
    }
    assert!(joined >= CROWD, "{joined} events were joined");
}

#[tokio::test]
async fn a_watch_that_nobody_reads_lets_go_of_the_log_and_says_why_when_it_is_read() {
    let world = World::with_stall_timeout(Duration::from_millis(300)).await;
    let a = world.a();
    a.message("m").await;
    let slow = world.slow_client().await;
    let mut watch = slow.watch("m", "0").await;
    let mut session = slow.sessions.clone();
    let request = v1::WatchSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let mut session = session.watch_session(request).await.unwrap().into_inner();
    let first = watch.event().await;
    let delta = "x".repeat(10_000);
    for _ in 0..40 {
        a.append("m", &delta).await.unwrap();
    }
    world.redis.is_followed_by_nobody().await;

    a.publish("m", "later").await.unwrap();
    let (rest, end) = rest(&mut watch).await;
    assert_is_stall(end);
    let seen = [vec![first], rest].concat();
    assert!(are_dense(&seen));
    let mut next = soon("the end of the session's watch", session.next()).await;
    while let Some(Ok(_)) = next {
        next = soon("the end of the session's watch", session.next()).await;
    }
    assert_is_stall(next.unwrap().map(drop));

    // Nothing is lost to who resumes.
    let mut resumed = a.watch("m", &watch.cursor).await;
    let event = resumed.event().await;
    assert_eq!(first_sequence(&event), seen.last().unwrap().sequence + 1);
}

const FAST: usize = 100;
/// Read an event a second.
const SLOW: usize = 50;
/// Read nothing.
const STOPPED: usize = 50;
/// What those two take in unasked, so that they are soon behind.
const SLOW_WINDOW_BYTES: u32 = 8 * 1024;
/// 500 events a second, for three seconds.
const TICK: Duration = Duration::from_millis(20);
const TICK_EVENTS: usize = 10;
const TICKS: usize = 150;
/// Message start and start of the block, the deltas, and the end.
const LAST: u64 = (TICKS * TICK_EVENTS) as u64 + 3;
const GROWTH_MAX_KIB: usize = 64 * 1024;
/// The machine may run other tests meanwhile, which only ever adds to a run: the
/// quietest runs of a few are compared.
const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fast_watchers_do_not_notice_slow_and_stopped_ones() {
    let redis = Redis::start();
    let (mut quietest_alone, mut quietest_among) = (i64::MAX, i64::MAX);
    for round in 1..=ROUNDS {
        let alone = Scene::run(&redis, &format!("alone_{round}"), 0, 0).await;
        let among = Scene::run(&redis, &format!("among_{round}"), SLOW, STOPPED).await;
        println!("alone {alone:?}, among slow ones {among:?}");
        assert!(among.growth_kib <= GROWTH_MAX_KIB, "{among:?}");
        quietest_alone = quietest_alone.min(alone.p99_micros);
        quietest_among = quietest_among.min(among.p99_micros);
        if quietest_among <= 2 * quietest_alone {
            return;
        }
    }
    panic!("the fast ones had {quietest_alone} us alone, {quietest_among} us among slow ones");
}

/// What a run has shown.
#[derive(Debug)]
struct Outcome {
    /// Age of an event when it reached a fast watcher.
    p99_micros: i64,
    /// Of the service's memory.
    growth_kib: usize,
}

/// One service with a message that is written, and watchers.
struct Scene {
    service: Program,
    clients: Clients,
    message: String,
}

impl Scene {
    async fn run(redis: &Redis, message: &str, slow: usize, stopped: usize) -> Outcome {
        let flags = ["--stall-timeout", "1s", "--retained-events", "100000"];
        let service = Program::serve_on(redis, &flags).await;
        let clients = service.connect().await;
        clients.message(message).await;
        let scene = Self {
            service,
            clients,
            message: message.to_owned(),
        };
        let before = scene.service.peak_kib();
        let mut fast = JoinSet::new();
        for frames in scene.open_fast().await {
            fast.spawn(listen(frames));
        }
        let (over, is_over) = watch::channel(());
        let mut dawdling = JoinSet::new();
        for watch in scene.open_slow(slow).await {
            dawdling.spawn(dawdle(watch, is_over.clone()));
        }
        let unread = scene.open_slow(stopped).await;

        scene.write().await;
        let mut ages = soon("all events", fast.join_all()).await.concat();
        assert_eq!(ages.len() as u64, FAST as u64 * LAST);
        ages.sort();
        // The system counts in batches: the peak may seem to shrink a little.
        let growth_kib = scene.service.peak_kib().saturating_sub(before);
        drop(over);
        for (events, _) in dawdling.join_all().await {
            assert!(are_dense(&events));
        }
        for mut watch in unread {
            let (events, end) = rest(&mut watch).await;
            assert!(are_dense(&events));
            assert_is_stall(end);
        }
        Outcome {
            p99_micros: ages[ages.len() * 99 / 100],
            growth_kib,
        }
    }

    /// Opens fast watches, 25 on each of some connections.
    async fn open_fast(&self) -> Vec<Streaming<LightFrame>> {
        let mut watches = Vec::new();
        for _ in 0..FAST / 25 {
            let channel = Channel::from_shared(format!("http://{}", self.service.address));
            let channel = channel.unwrap().connect().await.unwrap();
            for _ in 0..25 {
                let request = v1::WatchMessageRequest {
                    message_id: self.message.clone(),
                    cursor: "0".into(),
                    ..Default::default()
                };
                let mut client = Grpc::new(channel.clone());
                client.ready().await.unwrap();
                let path = "/throughline.v1.MessageService/WatchMessage";
                let path = PathAndQuery::from_static(path);
                let codec = ProstCodec::<v1::WatchMessageRequest, LightFrame>::new();
                let answer = client.server_streaming(Request::new(request), path, codec);
                watches.push(answer.await.unwrap().into_inner());
            }
        }
        watches
    }

    async fn open_slow(&self, count: usize) -> Vec<Watch> {
        let address = format!("http://{}", self.service.address);
        let clients = Clients::of(slow_channel(&address, SLOW_WINDOW_BYTES).await);
        let mut watches = Vec::new();
        for _ in 0..count {
            watches.push(clients.watch(&self.message, "0").await);
        }
        watches
    }

    /// Writes deltas in a stream, and ends the message.
    async fn write(&self) {
        let append = v1::WriteMessageRequest {
            write: Some(Write::AppendText(v1::AppendTextRequest {
                message_id: self.message.clone(),
                delta: "one more token".into(),
                ..Default::default()
            })),
        };
        let (writes, receiver) = mpsc::channel(TICK_EVENTS);
        let writer = tokio::spawn(async move {
            let mut timer = interval(TICK);
            for _ in 0..TICKS {
                timer.tick().await;
                for _ in 0..TICK_EVENTS {
                    writes.send(append.clone()).await.unwrap();
                }
            }
        });
        let writes = ReceiverStream::new(receiver);
        let answers = self.clients.messages.clone().write_message(writes).await;
        let mut answers = answers.unwrap().into_inner();
        let mut count = 0;
        while soon("an answer", answers.message())
            .await
            .unwrap()
            .is_some()
        {
            count += 1;
        }
        assert_eq!(count, TICKS * TICK_EVENTS);
        writer.await.unwrap();
        self.clients.complete(&self.message).await;
    }
}

/// A frame of which only the cursor is read: a hundred watchers that read all of
/// it would themselves be what is slow.
#[derive(Clone, PartialEq, prost::Message)]
struct LightFrame {
    #[prost(string, tag = "1")]
    cursor: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    event: Option<Vec<u8>>,
}

/// Reads all events as they come; how old, in microseconds, was each?
async fn listen(mut frames: Streaming<LightFrame>) -> Vec<i64> {
    let mut ages = Vec::new();
    let mut last = 0;
    while let Some(frame) = soon("the next frame", frames.message()).await.unwrap() {
        let Some(event) = frame.event else {
            continue;
        };
        let (sequence, time) = frame.cursor.split_once('-').unwrap();
        let sequence: u64 = sequence.parse().unwrap();
        if sequence != last + 1 {
            // One that the machine has made slow is sent several as one.
            let event = v1::Event::decode(event.as_slice()).unwrap();
            assert_eq!(first_sequence(&event), last + 1, "nothing is lost");
        }
        let age = now().timestamp_micros() - time.parse::<i64>().unwrap();
        ages.extend((last..sequence).map(|_| age));
        last = sequence;
    }
    ages
}

/// Reads an event a second until all is over, then the rest at once.
async fn dawdle(
    mut watch: Watch,
    mut is_over: watch::Receiver<()>,
) -> (Vec<v1::Event>, Result<(), Status>) {
    const PAUSE: Duration = Duration::from_secs(1);
    let mut events = Vec::new();
    while timeout(PAUSE, is_over.changed()).await.is_err() {
        events.push(watch.event().await);
    }
    let (more, end) = rest(&mut watch).await;
    events.extend(more);
    (events, end)
}
