//! Watchers that are cut and resume on the other instance: every event once, in
//! order, or a declared gap and a snapshot.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use throughline::{
    proto::{self as v1, event::Payload, watch_message_response::Frame},
    store::StoreOptions,
};
use tokio::{
    sync::watch::{self, Receiver},
    task::JoinSet,
};

use crate::support::{Clients, Watch, World, eventually, first_sequence, soon, text_block};

/// Chance that can be had again (xorshift64).
struct Random(u64);

impl Random {
    /// A new one for every test. Its seed is shown where the test fails, and
    /// can be set for another run.
    fn new() -> Self {
        let seed = env::var("THROUGHLINE_TEST_SEED").map_or_else(
            |_| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64,
            |seed| seed.parse().unwrap(),
        );
        println!("to have the same chance again: THROUGHLINE_TEST_SEED={seed}");
        Self(seed)
    }

    /// Another one for the `n`th of many.
    fn of(&self, n: usize) -> Self {
        Self(self.0.wrapping_add((n as u64 + 1) << 32))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_are_cut_and_resume_elsewhere_see_every_event_once() {
    const WATCHERS: usize = 200;
    const WRITES: usize = 200;
    let world = World::with(StoreOptions {
        retained_entries: 10_000,
        ..StoreOptions::default()
    })
    .await;
    world.a().message("m").await;
    let random = Random::new();
    let seen = Arc::new(AtomicUsize::new(0));
    let mut watchers = JoinSet::new();
    for n in 0..WATCHERS {
        let instances = [world.a(), world.b()];
        watchers.spawn(see_all(instances, random.of(n), seen.clone()));
    }

    for turn in 0..WRITES {
        // Not far ahead of the watchers: most cuts shall hit the live end.
        eventually("the watchers follow", async || {
            seen.load(Ordering::Relaxed) >= turn.saturating_sub(20) * WATCHERS
        })
        .await;
        write_something(&world.either(turn), turn).await;
    }
    world.a().complete("m").await;
    let events = world.b().events("m").await;
    for (n, seen) in watchers.join_all().await.into_iter().enumerate() {
        assert!(seen == events, "watcher {n} saw all events once, in order");
    }
}

/// Writes that cause one event, or two in one entry of the log.
async fn write_something(instance: &Clients, turn: usize) {
    match turn % 8 {
        5 => drop(instance.publish("m", "custom").await.unwrap()),
        // The text after it opens another block.
        7 => drop(instance.add("m", text_block("block")).await.unwrap()),
        _ => drop(instance.append("m", &format!("{turn};")).await.unwrap()),
    }
}

/// Watches from the first event to the end, cut again and again.
async fn see_all(
    instances: [Clients; 2],
    mut random: Random,
    total: Arc<AtomicUsize>,
) -> Vec<v1::Event> {
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    for turn in random.below(2).. {
        let mut watch = instances[turn % 2].watch("m", &cursor).await;
        let cut = seen.len() + random.below(40);
        while seen.len() < cut {
            match watch.frame().await {
                Frame::Event(event) => seen.push(event),
                Frame::CaughtUp(_) => continue,
                Frame::End(_) => return seen,
                other => panic!("an event was expected, not {other:?}"),
            }
            total.fetch_add(1, Ordering::Relaxed);
        }
        if !watch.cursor.is_empty() {
            cursor = watch.cursor;
        }
    }
    seen
}

/// What a watcher makes of the frames it gets.
#[derive(Default)]
struct Copy {
    sequence: u64,
    text: String,
    gaps: usize,
    is_in_gap: bool,
}

impl Copy {
    /// Takes in the next frame; false where it is the last one.
    fn take(&mut self, frame: Frame) -> bool {
        let is_snapshot = matches!(frame, Frame::Snapshot(_));
        assert_eq!(is_snapshot, self.is_in_gap, "a gap leads to a snapshot");
        self.is_in_gap = false;
        match frame {
            Frame::Event(event) => self.apply(event),
            Frame::Snapshot(message) => {
                assert!(message.sequence > self.sequence);
                self.sequence = message.sequence;
                self.text = message.text;
            }
            Frame::Gap(gap) => {
                assert_eq!(gap.reason(), v1::GapReason::Trimmed);
                self.gaps += 1;
                self.is_in_gap = true;
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
            Frame::End(end) => {
                assert_eq!(end.reason(), v1::WatchEndReason::MessageEnded);
                return false;
            }
        }
        true
    }

    fn apply(&mut self, event: v1::Event) {
        let first = first_sequence(&event);
        assert_eq!(first, self.sequence + 1, "there is no silent hole");
        self.sequence = event.sequence;
        if let Some(Payload::TextDelta(delta)) = event.payload {
            assert_eq!(delta.offset, self.text.len() as u64);
            self.text.push_str(&delta.delta);
        }
    }
}

async fn next(watch: &mut Watch) -> Frame {
    watch.next().await.unwrap().expect("a watch has an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_are_overtaken_by_retention_are_told_of_every_gap() {
    const WATCHERS: usize = 20;
    const TRIES: usize = 200;
    let world = World::retaining(10).await;
    // Redis trims nodes of a stream as a whole, by default of 100 entries.
    let set = ["CONFIG", "SET", "stream-node-max-entries", "10"];
    world.redis.run::<()>(&set).await;
    world.a().message("m").await;
    let random = Random::new();
    let trying = Arc::new(());
    let (written, head) = watch::channel(1);
    let mut watchers = JoinSet::new();
    for n in 0..WATCHERS {
        let instances = [world.a(), world.b()];
        let (trying, head, random) = (trying.clone(), head.clone(), random.of(n));
        watchers.spawn(async move {
            let mut follower = Follower {
                instances,
                head,
                random,
                copy: Copy::default(),
                cursor: String::new(),
            };
            for turn in 0..TRIES / WATCHERS {
                follower.try_once(turn).await;
            }
            drop(trying);
            follower.read_to_end().await
        });
    }

    for turn in 0.. {
        let delta = format!("{turn};");
        let response = world.either(turn).append("m", &delta).await.unwrap();
        written.send_replace(response.result.unwrap().sequence);
        if Arc::strong_count(&trying) == 1 {
            break;
        }
    }
    world.a().complete("m").await;
    let message = world.b().get("m").await.unwrap();
    let copies = watchers.join_all().await;
    for copy in &copies {
        assert_eq!(copy.sequence, message.sequence);
        assert!(copy.text == message.text, "the copy is the message");
    }
    // Otherwise the test has tried something else than it meant to.
    let gaps: usize = copies.iter().map(|copy| copy.gaps).sum();
    assert!(gaps > TRIES / 10, "only {gaps} watches fell behind");
    let exact = copies.iter().filter(|copy| copy.gaps < TRIES / WATCHERS);
    assert!(exact.count() > 0, "all watches fell behind all the time");
}

struct Follower {
    instances: [Clients; 2],
    head: Receiver<u64>,
    random: Random,
    copy: Copy,
    cursor: String,
}

impl Follower {
    /// Stays away while the log goes on, resumes, and reads a little.
    async fn try_once(&mut self, turn: usize) {
        let until = self.copy.sequence + self.random.below(60) as u64;
        let moved_on = self.head.wait_for(|head| *head >= until);
        soon("the log's going on", moved_on).await.unwrap();
        let mut watch = self.open(turn).await;
        let mut left = 1 + self.random.below(30);
        while left > 0 || self.copy.is_in_gap {
            assert!(self.copy.take(next(&mut watch).await));
            left = left.saturating_sub(1);
        }
        self.cursor = watch.cursor;
    }

    async fn read_to_end(mut self) -> Copy {
        let mut watch = self.open(0).await;
        while self.copy.take(next(&mut watch).await) {}
        self.copy
    }

    async fn open(&mut self, turn: usize) -> Watch {
        // The first watch begins with a snapshot, as after a gap.
        self.copy.is_in_gap = self.cursor.is_empty();
        self.instances[turn % 2].watch("m", &self.cursor).await
    }
}

#[tokio::test]
async fn a_watcher_that_reads_too_slowly_gets_a_gap_and_a_snapshot() {
    let world = World::retaining(10).await;
    world.a().message("m").await;
    let mut watch = world.slow_client().await.watch("m", "").await;
    let mut copy = Copy {
        is_in_gap: true,
        ..Copy::default()
    };
    copy.take(next(&mut watch).await);

    // More than connection and instance hold for a watcher.
    let padding = "x".repeat(12_000).into();
    let data = prost_types::Struct {
        fields: [("padding".to_owned(), padding)].into(),
    };
    for _ in 0..500 {
        let request = v1::PublishEventRequest {
            message_id: "m".into(),
            name: "large".into(),
            data: Some(data.clone()),
            ..Default::default()
        };
        world.b().messages.publish_event(request).await.unwrap();
    }
    world.a().complete("m").await;
    while copy.take(next(&mut watch).await) {}
    assert_eq!(copy.sequence, world.a().get("m").await.unwrap().sequence);
    assert_eq!(copy.gaps, 1);
}

#[tokio::test]
async fn a_watch_of_a_new_life_is_given_no_events_of_an_earlier_one() {
    let world = World::start().await;
    world.a().message("m").await;
    // The instance follows the first life, and holds its last events.
    let mut before = world.a().watch("m", "0").await;
    for delta in 0..20 {
        world.b().append("m", &format!("{delta};")).await.unwrap();
    }
    before.events_until(|event| event.sequence == 22).await;

    for key in world.redis.keys().await {
        let _: i64 = world.redis.run(&["DEL", &key]).await;
    }
    world.b().message("m").await;
    world.b().append("m", "anew").await.unwrap();
    let mut watch = world.a().watch("m", "").await;
    assert_eq!(watch.snapshot().await.text, "anew");
    world.b().append("m", "!").await.unwrap();
    let event = watch.event().await;
    assert_eq!(event.sequence, 4);
    assert!(matches!(event.payload, Some(Payload::TextDelta(delta)) if delta.delta == "!"));
}

#[tokio::test]
async fn watchers_that_come_back_at_once_share_their_reads() {
    const WATCHERS: usize = 200;
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.append("m", "all that was missed").await.unwrap();
    let before = world.redis.calls("fcall_ro").await;

    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let a = a.clone();
        watchers.spawn(async move {
            let mut watch = a.watch("m", "0").await;
            for sequence in 1..=3 {
                assert_eq!(watch.event().await.sequence, sequence);
            }
        });
    }
    watchers.join_all().await;

    let reads = world.redis.calls("fcall_ro").await - before;
    assert!(reads < WATCHERS / 2, "{reads} reads");
}
