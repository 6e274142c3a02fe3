//! Redis kills all connections of the service again and again, under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use throughline::{
    proto::{self as v1, WatchEndReason, event::Payload, watch_frame, watch_message_response},
    store::StoreOptions,
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};

use crate::support::{Clients, Rpc, World, fold, soon};

const KILLING: Duration = Duration::from_secs(20);
const KILL_INTERVAL: Duration = Duration::from_millis(200);
const APPENDERS: usize = 4;
/// What a client does between two calls.
const PAUSE: Duration = Duration::from_millis(5);

/// How clients retry, as docs/service_config.json tells them.
#[derive(Clone, Copy)]
struct Retries {
    attempts: usize,
    first_delay: Duration,
}

impl Retries {
    fn promised() -> Self {
        let config = include_str!("../../docs/service_config.json");
        let config: serde_json::Value = serde_json::from_str(config).unwrap();
        let policy = &config["methodConfig"][0]["retryPolicy"];
        let delay = policy["initialBackoff"].as_str().unwrap();
        Self {
            attempts: serde_json::from_value(policy["maxAttempts"].clone()).unwrap(),
            first_delay: humantime::parse_duration(delay).unwrap(),
        }
    }
}

/// A client of both instances that retries, and counts how its calls ended.
#[derive(Clone)]
struct Caller {
    instances: [Clients; 2],
    retries: Retries,
    succeeded: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Caller {
    fn of(world: &World) -> Self {
        Self {
            instances: [world.a(), world.b()],
            retries: Retries::promised(),
            succeeded: Arc::default(),
            failed: Arc::default(),
            is_over: Arc::default(),
        }
    }

    /// Makes a call until it succeeds or was tried often enough. Anything but
    /// UNAVAILABLE would be a fault.
    async fn call<F, T>(&self, call: impl Fn(Clients) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut delay = self.retries.first_delay;
        for attempt in 0..self.retries.attempts {
            if attempt > 0 {
                sleep(delay).await;
                delay *= 2;
            }
            match call(self.instances[attempt % 2].clone()).await {
                Ok(answer) => {
                    self.succeeded.fetch_add(1, Relaxed);
                    return Some(answer);
                }
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        }
        self.failed.fetch_add(1, Relaxed);
        None
    }

    /// Makes a call of the table of RPCs.
    async fn send(&self, request: impl Rpc) -> bool {
        let send = |clients| {
            let request = request.clone();
            async move { request.send(&clients).await }
        };
        self.call(send).await.is_some()
    }

    /// After a pause: is there more to do?
    async fn goes_on(&self) -> bool {
        sleep(PAUSE).await;
        !self.is_over.load(Relaxed)
    }
}

/// Appends to message `m`. Returns what was acknowledged.
async fn append(caller: Caller, appender: usize) -> Vec<(u64, String)> {
    let mut acknowledged = Vec::new();
    let mut turn = 0;
    while caller.goes_on().await {
        let request = v1::AppendTextRequest {
            message_id: "m".into(),
            delta: format!("{appender}.{turn};"),
            request_id: format!("{appender}.{turn}"),
            ..Default::default()
        };
        let append = |clients: Clients| {
            let request = request.clone();
            async move { clients.append_with(request).await }
        };
        if let Some(answer) = caller.call(append).await {
            acknowledged.push((answer.result.unwrap().sequence, request.delta));
        }
        turn += 1;
    }
    acknowledged
}

/// Starts tasks of message `t` and completes them. Returns how many.
async fn do_tasks(caller: Caller) -> usize {
    let mut turn = 0;
    while caller.goes_on().await {
        let task = format!("task_{turn}");
        let start = v1::StartTaskRequest {
            message_id: "t".into(),
            task_id: task.clone(),
            task_type: "search".into(),
            request_id: format!("start.{turn}"),
            ..Default::default()
        };
        let complete = v1::UpdateTaskRequest {
            message_id: "t".into(),
            task_id: task,
            status: v1::TaskStatus::Completed.into(),
            request_id: format!("complete.{turn}"),
            ..Default::default()
        };
        if caller.send(start).await {
            caller.send(complete).await;
        }
        turn += 1;
    }
    turn
}

/// Creates sessions, with a message each, and reads them.
async fn make_sessions(caller: Caller) -> usize {
    let mut turn = 0;
    while caller.goes_on().await {
        let session = format!("s_{turn}");
        let create = v1::CreateSessionRequest {
            session_id: session.clone(),
            user_id: "user_1".into(),
            ..Default::default()
        };
        let message = v1::CreateMessageRequest {
            session_id: session.clone(),
            message_id: format!("in_{session}"),
            role: v1::Role::User.into(),
            ..Default::default()
        };
        let get = v1::GetMessageRequest {
            message_id: message.message_id.clone(),
            ..Default::default()
        };
        if caller.send(create).await && caller.send(message).await {
            caller.send(get).await;
        }
        turn += 1;
    }
    turn
}

/// Watches message `m` to its end; nothing may cut it.
async fn watch(instance: Clients) -> Vec<v1::Event> {
    use watch_message_response::Frame;
    let mut watch = instance.watch("m", "0").await;
    let mut seen = Vec::new();
    loop {
        match watch.frame().await {
            Frame::Event(event) => seen.push(event),
            Frame::CaughtUp(_) => {}
            Frame::End(_) => return seen,
            other => panic!("an event was expected, not {other:?}"),
        }
    }
}

/// What a session watch has sent of a message.
#[derive(Default)]
struct Seen {
    /// How far the snapshot reached that came first.
    snapshot: u64,
    events: Vec<v1::Event>,
}

/// Watches session `s` until both of its messages have ended, from where it was
/// if it is cut.
async fn watch_session(caller: Caller) -> BTreeMap<String, Seen> {
    use watch_frame::Frame;
    let mut logs: BTreeMap<String, Seen> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut token = String::new();
    while ended.len() < 2 {
        let request = v1::WatchSessionRequest {
            session_id: "s".into(),
            resume_token: token.clone(),
        };
        let open = |mut clients: Clients| {
            let request = request.clone();
            async move { clients.sessions.watch_session(request).await }
        };
        let Some(frames) = caller.call(open).await else {
            continue;
        };
        let mut frames = frames.into_inner();
        while ended.len() < 2 {
            let frame = match soon("the next frame", frames.message()).await {
                Ok(frame) => frame.expect("the watch goes on"),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    break;
                }
            };
            token = frame.resume_token;
            let log = logs.entry(frame.message_id.clone()).or_default();
            match frame.frame.unwrap().frame.unwrap() {
                Frame::Event(event) => log.events.push(event),
                Frame::End(end) => {
                    assert_eq!(end.reason(), WatchEndReason::MessageEnded);
                    ended.insert(frame.message_id);
                }
                Frame::Snapshot(message) => {
                    assert_eq!(log.snapshot, 0, "one snapshot is enough");
                    log.snapshot = message.sequence;
                }
                Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    logs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_retry_hardly_notice_that_all_connections_to_redis_are_killed() {
    let world = World::with(StoreOptions {
        retained_entries: 1_000_000,
        ..StoreOptions::default()
    })
    .await;
    world.a().message("m").await;
    world.a().create("t", v1::Role::Assistant).await.unwrap();
    let caller = Caller::of(&world);
    let mut watchers = JoinSet::new();
    for turn in 0..4 {
        watchers.spawn(watch(world.either(turn)));
    }
    let session = tokio::spawn(watch_session(caller.clone()));
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        appenders.spawn(append(caller.clone(), appender));
    }
    let mut others = JoinSet::new();
    others.spawn(do_tasks(caller.clone()));
    others.spawn(make_sessions(caller.clone()));

    let begin = Instant::now();
    let mut killed = 0;
    while begin.elapsed() < KILLING {
        sleep(KILL_INTERVAL).await;
        let kill = ["CLIENT", "KILL", "TYPE", "normal"];
        killed += world.redis.run::<usize>(&kill).await;
    }
    caller.is_over.store(true, Relaxed);
    let acknowledged = soon("the end of the appenders", appenders.join_all())
        .await
        .concat();
    soon("the end of the others", others.join_all()).await;
    for message in ["m", "t"] {
        let end = v1::EndMessageRequest {
            message_id: message.into(),
            request_id: "end".into(),
            ..Default::default()
        };
        assert!(caller.send(end).await);
    }
    let (succeeded, failed) = (caller.succeeded.load(Relaxed), caller.failed.load(Relaxed));
    println!("{killed} connections killed, {succeeded} calls succeeded, {failed} failed");
    assert!(
        failed * 100 < succeeded,
        "{failed} of {succeeded} calls failed"
    );

    let log = world.b().events("m").await;
    is_exact(&world, &log, &acknowledged).await;
    for seen in soon("the end of all watches", watchers.join_all()).await {
        assert!(seen == log, "a watcher saw all events once, in order");
    }
    let logs = soon("the end of the session's watch", session)
        .await
        .unwrap();
    for message in ["m", "t"] {
        let (log, seen) = (world.b().events(message).await, &logs[message]);
        let after = usize::try_from(seen.snapshot).unwrap();
        assert!(seen.events == log[after..], "{message} was seen whole");
    }
}

/// The log is dense, adds up to the message, and holds what was acknowledged
/// where that was said; nothing is there twice.
async fn is_exact(world: &World, log: &[v1::Event], acknowledged: &[(u64, String)]) {
    let mut text = String::new();
    let mut places = BTreeMap::new();
    for event in log {
        if let Some(Payload::TextDelta(delta)) = &event.payload {
            assert_eq!(delta.offset, text.len() as u64);
            text.push_str(&delta.delta);
            let before = places.insert(delta.delta.clone(), event.sequence);
            assert_eq!(before, None, "{} is there twice", delta.delta);
        }
    }
    for (sequence, delta) in acknowledged {
        assert_eq!(places.get(delta), Some(sequence), "{delta}");
    }
    let stored = world.a().get("m").await.unwrap();
    assert_eq!(fold(log).head.to_string(), stored.cursor);
    assert!(stored.text == text, "the text is that of the log");
}
