//! Where a watch begins: every row of the table of starts.

use std::time::Duration;

use throughline::proto::{self as v1, EventType, GapReason, watch_message_response::Frame};
use tonic::Code;

use crate::support::{Clients, World, invalid_field, refusal};

/// A message `m` with three deltas: events 1 (start), 2 (block), 3, 4, 5.
async fn three_deltas(clients: &Clients) {
    clients.message("m").await;
    for delta in ["a", "b", "c"] {
        clients.append("m", delta).await.unwrap();
    }
}

async fn sequences(world: &World, cursor: &str, last: u64) -> Vec<u64> {
    let mut watch = world.b().watch("m", cursor).await;
    let events = watch.events_until(|event| event.sequence == last).await;
    events.iter().map(|event| event.sequence).collect()
}

async fn refused(world: &World, request: v1::WatchMessageRequest) -> (Code, String) {
    match world.a().watch_with(request).await {
        Err(status) => refusal::<()>(Err(status)),
        Ok(mut watch) => refusal(watch.next().await),
    }
}

#[tokio::test]
async fn without_a_cursor_a_watch_begins_with_a_snapshot_and_goes_on_exactly_after_it() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let mut watch = world.b().watch("m", "").await;
    let snapshot = watch.snapshot().await;
    assert_eq!((snapshot.text.as_str(), snapshot.sequence), ("abc", 5));
    assert_eq!(snapshot.cursor, watch.cursor);
    watch.caught_up().await;
    world.a().append("m", "d").await.unwrap();
    let event = watch.event().await;
    assert_eq!(event.sequence, 6);
    assert_eq!(event.cursor, watch.cursor);
}

#[tokio::test]
async fn from_0_a_watch_gets_every_event_that_is_retained() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    assert_eq!(sequences(&world, "0", 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn from_0_a_trimmed_log_begins_with_a_gap() {
    let world = World::retaining(10).await;
    three_deltas(&world.a()).await;
    trim(&world).await;
    let mut watch = world.b().watch("m", "0").await;
    assert_eq!(watch.gap().await, GapReason::Trimmed);
    let first = watch.event().await;
    assert!(first.sequence > 5, "what was trimmed does not come");
    let next = watch.event().await;
    assert_eq!(next.sequence, first.sequence + 1);

    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        cursor: "0".into(),
        fail_on_gap: true,
        ..Default::default()
    };
    let expected = (Code::OutOfRange, "CURSOR_OUT_OF_RANGE".to_owned());
    assert_eq!(refused(&world, request).await, expected);
}

/// Writes until the first events are gone.
async fn trim(world: &World) {
    for _ in 0..300 {
        world.a().append("m", ".").await.unwrap();
    }
    let first = &world.a().events("m").await[0];
    assert!(first.sequence > 5, "redis has trimmed the log");
}

#[tokio::test]
async fn from_dollar_a_watch_gets_only_what_comes_later() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let mut watch = world.b().watch("m", "$").await;
    watch.caught_up().await;
    world.a().append("m", "d").await.unwrap();
    assert_eq!(watch.event().await.sequence, 6);
}

#[tokio::test]
async fn from_a_cursor_in_the_log_a_watch_gets_exactly_the_events_after_it() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let events = world.a().events("m").await;
    for event in &events[..4] {
        let after: Vec<u64> = (event.sequence + 1..=5).collect();
        assert_eq!(sequences(&world, &event.cursor, 5).await, after);
    }
}

#[tokio::test]
async fn from_the_head_a_watch_gets_what_comes_next() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let head = world.a().get("m").await.unwrap().cursor;
    let mut watch = world.b().watch("m", &head).await;
    watch.caught_up().await;
    assert_eq!(watch.cursor, head);
    world.a().append("m", "d").await.unwrap();
    assert_eq!(watch.event().await.sequence, 6);
}

#[tokio::test]
async fn a_bare_sequence_is_a_cursor_without_the_check() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    assert_eq!(sequences(&world, "3", 5).await, [4, 5]);
}

#[tokio::test]
async fn a_cursor_amid_events_that_were_committed_together_resumes_amid_them() {
    let world = World::start().await;
    world.a().message("m").await;
    // CONTENT_ADDED and TASK_STARTED are one entry of the log.
    world.a().start_task("m", "t").await.unwrap();
    world.a().append("m", "x").await.unwrap();
    let events = world.a().events("m").await;
    assert_eq!(events[1].event_type(), EventType::ContentAdded);
    assert_eq!(sequences(&world, &events[1].cursor, 5).await, [3, 4, 5]);
}

/// A gap for this reason, a snapshot, and the tail; or a refusal, if asked for.
async fn assert_gap(world: &World, cursor: &str, reason: GapReason) {
    let mut watch = world.b().watch("m", cursor).await;
    assert_eq!(watch.gap().await, reason, "from {cursor}");
    let snapshot = watch.snapshot().await;
    assert_eq!(snapshot.cursor, world.a().get("m").await.unwrap().cursor);
    watch.caught_up().await;
    world.a().append("m", "!").await.unwrap();
    assert_eq!(watch.event().await.sequence, snapshot.sequence + 1);

    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        cursor: cursor.into(),
        fail_on_gap: true,
        ..Default::default()
    };
    let expected = (Code::OutOfRange, "CURSOR_OUT_OF_RANGE".to_owned());
    assert_eq!(refused(world, request).await, expected);
}

#[tokio::test]
async fn from_a_trimmed_cursor_a_watch_begins_with_gap_and_snapshot() {
    let world = World::retaining(10).await;
    three_deltas(&world.a()).await;
    let cursor = world.a().events("m").await[2].cursor.clone();
    trim(&world).await;
    assert_gap(&world, &cursor, GapReason::Trimmed).await;
    assert_gap(&world, "3", GapReason::Trimmed).await;
}

#[tokio::test]
async fn from_a_cursor_ahead_of_the_head_a_watch_begins_with_gap_and_snapshot() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    assert_gap(&world, "1000", GapReason::AheadOfHead).await;
    assert_gap(&world, "1000-1700000000000000", GapReason::AheadOfHead).await;
}

#[tokio::test]
async fn from_a_cursor_of_an_earlier_life_a_watch_begins_with_gap_and_snapshot() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let cursor = world.a().events("m").await[3].cursor.clone();
    world.a().delete("m").await.unwrap();
    three_deltas(&world.a()).await;
    assert_gap(&world, &cursor, GapReason::HistoryChanged).await;
}

#[tokio::test]
async fn from_a_cursor_that_a_failover_lost_a_watch_begins_with_gap_and_snapshot() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let before = Backup::take(&world).await;
    let lost = world
        .a()
        .append("m", "lost")
        .await
        .unwrap()
        .result
        .unwrap()
        .cursor;
    before.restore(&world).await;
    assert_gap(&world, &lost, GapReason::AheadOfHead).await;
    // By now another event has the sequence of the lost one.
    assert_gap(&world, &lost, GapReason::HistoryChanged).await;
}

/// What Redis held at a moment, as a replica that lagged behind holds it.
pub struct Backup(Vec<(String, Vec<u8>)>);

impl Backup {
    pub async fn take(world: &World) -> Self {
        let mut keys = Vec::new();
        for key in world.redis.keys().await {
            let dump: Vec<u8> = world.redis.run(&["DUMP", &key]).await;
            keys.push((key, dump));
        }
        Self(keys)
    }

    pub async fn restore(&self, world: &World) {
        let client = redis::Client::open(world.redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for (key, dump) in &self.0 {
            let mut restore = redis::cmd("RESTORE");
            restore.arg(key).arg(0).arg(dump.as_slice()).arg("REPLACE");
            let () = restore.query_async(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_malformed_cursor_is_refused_and_replays_nothing() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    for cursor in [
        "x",
        "-1",
        "1-",
        "01",
        "0-0",
        "1-x",
        "1 ",
        "18446744073709551615",
        "+",
    ] {
        let request = v1::WatchMessageRequest {
            message_id: "m".into(),
            cursor: cursor.into(),
            ..Default::default()
        };
        let Err(status) = world.a().watch_with(request).await else {
            panic!("{cursor} was accepted");
        };
        assert_eq!(invalid_field(&status), "cursor");
    }
}

#[tokio::test]
async fn a_watch_of_an_ended_message_sends_what_is_missing_and_ends_at_once() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let head = world.a().complete("m").await.cursor;

    let mut watch = world.b().watch("m", "3").await;
    let events = watch
        .events_until(|e| e.event_type() == EventType::MessageEnd)
        .await;
    assert_eq!(events.len(), 3);
    let end = watch.end().await;
    assert_eq!(end.reason(), v1::WatchEndReason::MessageEnded);
    assert_eq!(end.state(), v1::MessageState::Completed);

    let mut watch = world.b().watch("m", "").await;
    assert_eq!(watch.snapshot().await.text, "abc");
    watch.end().await;

    for cursor in [head.as_str(), "$"] {
        let mut watch = world.b().watch("m", cursor).await;
        watch.caught_up().await;
        watch.end().await;
        assert_eq!(watch.cursor, head);
    }
}

#[tokio::test]
async fn a_watch_of_an_unknown_message_is_not_found() {
    let world = World::start().await;
    for cursor in ["", "0", "$", "7"] {
        let request = v1::WatchMessageRequest {
            message_id: "nobody".into(),
            cursor: cursor.into(),
            ..Default::default()
        };
        let expected = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
        assert_eq!(refused(&world, request).await, expected);
    }
}

#[tokio::test]
async fn a_watch_can_wait_for_a_message_to_be_created() {
    for cursor in ["0", "$"] {
        let world = World::start().await;
        world.a().session("s").await;
        let request = v1::WatchMessageRequest {
            message_id: "m".into(),
            cursor: cursor.into(),
            wait_for_create: true,
            ..Default::default()
        };
        let mut watch = world.b().watch_with(request).await.unwrap();
        let frame = watch.next().await.unwrap().unwrap();
        assert!(matches!(frame, Frame::Heartbeat(_)), "{frame:?}");
        assert_eq!(watch.cursor, "0", "all is to come");
        world.a().create("m", v1::Role::Assistant).await.unwrap();
        let first = watch.event().await;
        assert_eq!(first.event_type(), EventType::MessageStart, "{cursor}");
    }
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_it_was_asked_to() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        max_wait: Some(prost_types::Duration {
            seconds: 0,
            nanos: 500_000_000,
        }),
        ..Default::default()
    };
    let mut watch = world.b().watch_with(request).await.unwrap();
    watch.snapshot().await;
    watch.caught_up().await;
    let end = loop {
        match watch.next().await {
            Ok(Some(Frame::Heartbeat(_))) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_watch_ends_at_the_deadline_of_its_call() {
    let world = World::start().await;
    three_deltas(&world.a()).await;
    let mut request = tonic::Request::new(v1::WatchMessageRequest {
        message_id: "m".into(),
        ..Default::default()
    });
    request.set_timeout(Duration::from_millis(100));
    let response = world
        .b()
        .messages
        .clone()
        .watch_message(request)
        .await
        .unwrap();
    let mut watch = crate::support::Watch::new(response.into_inner());
    watch.snapshot().await;
    watch.caught_up().await;
    let status = loop {
        match watch.next().await {
            Ok(frame) => assert!(matches!(frame, Some(Frame::Heartbeat(_))), "{frame:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
