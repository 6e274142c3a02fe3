//! Instances and Redis are killed in mid-stream: what was acknowledged stays,
//! watches go on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use throughline::proto::{self as v1, event::Payload, watch_message_response::Frame};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Clients, Program, Redis, eventually, soon};

const WRITERS: usize = 4;
const WATCHERS: usize = 8;

/// What the tests know of the writers and watchers at work.
#[derive(Default)]
struct Progress {
    written: AtomicUsize,
    failed: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    /// Waits until there is more of it.
    async fn more(counter: &AtomicUsize, much: usize) {
        let enough = counter.load(Relaxed) + much;
        eventually("progress", async || counter.load(Relaxed) >= enough).await;
    }
}

/// Instances that retain all that a test writes.
async fn serve(redis: &Redis, instances: usize) -> Vec<Program> {
    let mut programs = Vec::new();
    for _ in 0..instances {
        programs.push(Program::serve_on(redis, &["--retained-events", "1000000"]).await);
    }
    programs
}

/// Message `m` on some instances, with writers and watchers at work.
struct Scene {
    clients: Vec<Clients>,
    progress: Arc<Progress>,
    writers: JoinSet<()>,
    watchers: JoinSet<Vec<v1::Event>>,
}

impl Scene {
    async fn of(programs: &[Program]) -> Self {
        let mut clients = Vec::new();
        for program in programs {
            clients.push(program.connect().await);
        }
        clients[0].message("m").await;
        let mut scene = Self {
            clients,
            progress: Arc::default(),
            writers: JoinSet::new(),
            watchers: JoinSet::new(),
        };
        for writer in 0..WRITERS {
            let (clients, progress) = (scene.clients.clone(), scene.progress.clone());
            scene.writers.spawn(write(clients, writer, progress));
        }
        scene
    }

    /// Lets the writers finish, ends the message, and compares what was
    /// acknowledged with what is there and with what the watchers saw.
    async fn check(self) {
        self.progress.is_over.store(true, Relaxed);
        soon("the end of all writers", self.writers.join_all()).await;
        let last = self.clients.last().unwrap();
        last.complete("m").await;

        let events = last.events("m").await;
        let mut deltas = BTreeSet::new();
        let mut text = String::new();
        for (event, sequence) in events.iter().zip(1..) {
            assert_eq!(event.sequence, sequence);
            if let Some(Payload::TextDelta(delta)) = &event.payload {
                assert_eq!(delta.offset, text.len() as u64);
                text.push_str(&delta.delta);
                let is_new = deltas.insert(&delta.delta);
                assert!(is_new, "{} is there twice", delta.delta);
            }
        }
        // Each writer went on when its delta was acknowledged, and all differ.
        assert_eq!(deltas.len(), self.progress.written.load(Relaxed));
        assert_eq!(last.get("m").await.unwrap().text, text);
        for seen in soon("the end of all watches", self.watchers.join_all()).await {
            assert!(seen == events, "a watcher saw all events once, in order");
        }
    }
}

/// Writes deltas one after the other, each until it is acknowledged.
async fn write(clients: Vec<Clients>, writer: usize, progress: Arc<Progress>) {
    let mut instance = 0;
    for turn in 0.. {
        if progress.is_over.load(Relaxed) {
            return;
        }
        let request = v1::AppendTextRequest {
            message_id: "m".into(),
            delta: format!("{writer}.{turn};"),
            request_id: format!("{writer}.{turn}"),
            ..Default::default()
        };
        while let Err(status) = clients[instance].append_with(request.clone()).await {
            assert!(is_passing(&status), "{status:?}");
            progress.failed.fetch_add(1, Relaxed);
            instance = (instance + 1) % clients.len();
        }
        progress.written.fetch_add(1, Relaxed);
    }
}

/// The instance or its Redis is away; anything else would be a fault.
fn is_passing(status: &Status) -> bool {
    match status.get_details_error_info() {
        Some(info) => {
            let reasons = ["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"];
            status.code() == Code::Unavailable && reasons.contains(&info.reason.as_str())
        }
        // What the client makes of a connection that breaks.
        None => {
            let codes = [Code::Unavailable, Code::Unknown, Code::Cancelled];
            codes.contains(&status.code())
        }
    }
}

/// Watches to the end, on the next instance where one dies.
async fn watch_across_crashes(clients: Vec<Clients>) -> Vec<v1::Event> {
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    for instance in (0..clients.len()).cycle() {
        let request = v1::WatchMessageRequest {
            message_id: "m".into(),
            cursor: cursor.clone(),
            ..Default::default()
        };
        let Ok(mut watch) = clients[instance].watch_with(request).await else {
            continue;
        };
        loop {
            match watch.next().await {
                Ok(Some(Frame::Event(event))) => seen.push(event),
                Ok(Some(Frame::CaughtUp(_) | Frame::Heartbeat(_))) => {}
                Ok(Some(Frame::End(_))) => return seen,
                Ok(other) => panic!("an event was expected, not {other:?}"),
                Err(status) => {
                    assert!(is_passing(&status), "{status:?}");
                    break;
                }
            }
        }
        cursor = watch.cursor;
    }
    seen
}

/// Watches to the end; nothing may cut it.
async fn watch_uncut(instance: Clients) -> Vec<v1::Event> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_loses_nothing_and_its_watchers_resume_elsewhere() {
    let redis = Redis::start();
    let mut programs = serve(&redis, 3).await;
    let mut scene = Scene::of(&programs).await;
    for _ in 0..WATCHERS {
        let clients = scene.clients.clone();
        scene.watchers.spawn(watch_across_crashes(clients));
    }

    for mut program in programs.drain(..2) {
        Progress::more(&scene.progress.written, 100).await;
        program.kill().await;
    }
    Progress::more(&scene.progress.written, 100).await;
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_loses_nothing_and_open_watches_go_on() {
    let mut redis = Redis::start();
    let programs = serve(&redis, 2).await;
    let mut scene = Scene::of(&programs).await;
    for watcher in 0..WATCHERS {
        let instance = scene.clients[watcher % 2].clone();
        scene.watchers.spawn(watch_uncut(instance));
    }

    for _ in 0..3 {
        Progress::more(&scene.progress.written, 100).await;
        redis.kill();
        Progress::more(&scene.progress.failed, WRITERS).await;
        redis.restart();
    }
    Progress::more(&scene.progress.written, 100).await;
    scene.check().await;
}
