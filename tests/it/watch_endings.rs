//! What happens to a watch while it is open.

use throughline::proto::{
    self as v1, EventType, GapReason, WatchEndReason, watch_message_response::Frame,
};

use tonic::Code;

use crate::{
    support::{Watch, World, eventually},
    watch_starts::Backup,
};

/// A watch of message `m` that has caught up.
async fn open_watch(world: &World) -> Watch {
    world.a().message("m").await;
    world.a().append("m", "a").await.unwrap();
    let mut watch = world.b().watch("m", "").await;
    watch.snapshot().await;
    watch.caught_up().await;
    watch
}

#[tokio::test]
async fn a_watch_ends_when_its_message_ends() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    world.a().end("m", v1::MessageState::Failed).await.unwrap();
    assert_eq!(watch.event().await.event_type(), EventType::MessageEnd);
    let end = watch.end().await;
    assert_eq!(end.reason(), WatchEndReason::MessageEnded);
    assert_eq!(end.state(), v1::MessageState::Failed);
}

#[tokio::test]
async fn a_watch_ends_when_its_message_is_deleted() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    world.a().delete("m").await.unwrap();
    assert_eq!(watch.end().await.reason(), WatchEndReason::Deleted);
}

#[tokio::test]
async fn a_watch_ends_when_its_message_expires() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    for key in world.redis.keys().await {
        if key.contains("message:m") {
            let _: i64 = world.redis.run(&["PEXPIRE", &key, "1"]).await;
        }
    }
    assert_eq!(watch.end().await.reason(), WatchEndReason::Expired);
}

#[tokio::test]
async fn a_watched_message_does_not_expire() {
    let world = World::with(throughline::store::StoreOptions {
        message_ttl: std::time::Duration::from_millis(1_500),
        ..Default::default()
    })
    .await;
    world.a().session("s").await;
    world.a().create("unwatched", v1::Role::User).await.unwrap();
    let mut watch = open_watch(&world).await;
    eventually("the message that nobody watches expires", || async {
        world.a().get("unwatched").await.is_err()
    })
    .await;
    assert_eq!(world.a().get("m").await.unwrap().text, "a");
    world.a().append("m", "b").await.unwrap();
    assert_eq!(watch.event().await.sequence, 4);
}

#[tokio::test]
async fn a_watched_message_does_not_expire_between_two_heartbeats() {
    let short = throughline::store::StoreOptions {
        message_ttl: std::time::Duration::from_millis(1_500),
        ..Default::default()
    };
    let world = World::exactly(short, std::time::Duration::from_secs(600)).await;
    world.a().session("s").await;
    let _watch = open_watch(&world).await;
    // Younger than what is watched, so that it outlives that which nobody keeps.
    world.a().create("unwatched", v1::Role::User).await.unwrap();
    eventually("the message that nobody watches expires", || async {
        world.a().get("unwatched").await.is_err()
    })
    .await;
    assert_eq!(world.a().get("m").await.unwrap().text, "a");
}

#[tokio::test]
async fn a_watch_ends_when_its_instance_drains_and_resumes_on_another() {
    let mut world = World::start().await;
    let mut watch = open_watch(&world).await;
    world.services.remove(1).stop().await;
    assert_eq!(watch.end().await.reason(), WatchEndReason::ServerDraining);
    world.a().append("m", "b").await.unwrap();
    let mut watch = world.a().watch("m", &watch.cursor).await;
    assert_eq!(watch.event().await.sequence, 4);
}

#[tokio::test]
async fn a_watch_of_a_message_that_is_created_anew_gets_an_end_or_a_gap() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    // The key is replaced so that the farewell of the first life is lost.
    for key in world.redis.keys().await {
        let _: i64 = world.redis.run(&["DEL", &key]).await;
    }
    world.a().message("m").await;
    world.a().append("m", "second life").await.unwrap();
    match watch.frame().await {
        // It was looked after between the two lives.
        Frame::End(end) => assert_eq!(end.reason(), WatchEndReason::Expired),
        Frame::Gap(gap) => {
            assert_eq!(gap.reason(), GapReason::HistoryChanged);
            assert_eq!(watch.snapshot().await.text, "second life");
            world.a().append("m", "!").await.unwrap();
            assert_eq!(watch.event().await.sequence, 4);
        }
        other => panic!("an end or a gap was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_watch_whose_log_is_damaged_is_told() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    let log = "stream:session:s:message:m";
    let _: i64 = world.redis.run(&["DEL", log]).await;
    assert_eq!(watch.next().await.unwrap_err().code(), Code::DataLoss);
}

#[tokio::test]
async fn an_open_watch_notices_a_history_that_was_lost() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    let before = Backup::take(&world).await;
    world.a().append("m", "lost").await.unwrap();
    assert_eq!(watch.event().await.sequence, 4);
    before.restore(&world).await;
    assert_eq!(watch.gap().await, GapReason::AheadOfHead);
    assert_eq!(watch.snapshot().await.text, "a");
    world.a().append("m", "b").await.unwrap();
    assert_eq!(watch.event().await.sequence, 4);
}

#[tokio::test]
async fn heartbeats_carry_the_cursor_to_resume_from() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    let cursor = watch.cursor.clone();
    for _ in 0..3 {
        let frame = watch.next().await.unwrap().unwrap();
        assert!(matches!(
            frame,
            v1::watch_message_response::Frame::Heartbeat(_)
        ));
        assert_eq!(watch.cursor, cursor);
    }
}

#[tokio::test]
async fn a_filter_lets_only_its_types_through_and_still_ends() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut watch = world
        .b()
        .watch_with(v1::WatchMessageRequest {
            message_id: "m".into(),
            cursor: "0".into(),
            event_types: vec![EventType::Custom.into()],
            ..Default::default()
        })
        .await
        .unwrap();
    watch.caught_up().await;
    world.a().append("m", "a").await.unwrap();
    world.a().publish("m", "wanted").await.unwrap();
    assert_eq!(watch.event().await.event_type(), EventType::Custom);
    world.a().complete("m").await;
    assert_eq!(watch.end().await.reason(), WatchEndReason::MessageEnded);
}

#[tokio::test]
async fn a_filter_of_unknown_types_is_refused() {
    let world = World::start().await;
    world.a().message("m").await;
    for unknown in [0, 99] {
        let request = v1::WatchMessageRequest {
            message_id: "m".into(),
            event_types: vec![unknown],
            ..Default::default()
        };
        let Err(status) = world.a().watch_with(request).await else {
            panic!("{unknown} was accepted");
        };
        assert_eq!(crate::support::invalid_field(&status), "event_types");
    }
}

#[tokio::test]
async fn a_watcher_that_fell_out_of_retention_gets_gap_and_snapshot() {
    let world = World::retaining(10).await;
    let mut watch = open_watch(&world).await;
    // More than HTTP/2 buffers for a client that does not read, and more than
    // the hub and the log retain.
    let delta = "x".repeat(16 * 1024);
    for _ in 0..600 {
        world.a().append("m", &delta).await.unwrap();
    }
    world.a().complete("m").await;
    let mut text = "a".to_owned();
    let mut gaps = 0;
    let mut last = 3;
    loop {
        use v1::event::Payload;
        match watch.frame().await {
            Frame::Event(event) => {
                assert_eq!(event.sequence, last + 1, "no silent hole");
                last = event.sequence;
                if let Some(Payload::TextDelta(delta)) = event.payload {
                    text.push_str(&delta.delta);
                }
            }
            Frame::Gap(gap) => {
                assert_eq!(gap.reason(), GapReason::Trimmed);
                gaps += 1;
            }
            Frame::Snapshot(message) => {
                last = message.sequence;
                text = message.text;
            }
            Frame::CaughtUp(_) => {}
            Frame::End(_) => break,
            Frame::Heartbeat(_) => {}
        }
    }
    assert_eq!(gaps, 1);
    assert_eq!(last, world.a().get("m").await.unwrap().sequence);
    // 9.6 MB do not fit into a snapshot, which says so.
    assert!(world.a().get("m").await.unwrap().text_truncated);
    assert!(text.len() > 1_000_000);
}

#[tokio::test]
async fn watchers_share_the_connections_to_redis() {
    let world = World::start().await;
    let mut watches = vec![open_watch(&world).await];
    let connections = || async {
        let list: String = world.redis.run(&["CLIENT", "LIST"]).await;
        list.lines().count()
    };
    let before = connections().await;
    for message in 0..20 {
        let message = format!("m{message}");
        world.a().create(&message, v1::Role::User).await.unwrap();
        for _ in 0..5 {
            let mut watch = world.b().watch(&message, "0").await;
            watch.event().await;
            watch.caught_up().await;
            watches.push(watch);
        }
    }
    // Each lane opens its connection with its first log.
    assert!(connections().await <= before + 4, "100 watchers, 20 logs");
}

#[tokio::test]
async fn a_watch_of_another_instance_sees_what_this_one_writes_in_order() {
    let world = World::start().await;
    let mut watch = open_watch(&world).await;
    for turn in 0..200 {
        world.either(turn).append("m", "x").await.unwrap();
    }
    for sequence in 4..204 {
        assert_eq!(watch.event().await.sequence, sequence);
    }
}
