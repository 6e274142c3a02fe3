//! Watches as server-sent events.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use throughline::proto::{self as v1, EventType};
use tokio::task::JoinSet;

use super::http::{Event, Events, begin, begin_slowly, get, send};
use crate::support::{World, eventually, soon};

const STREAM: &str = "/api/v1/sessions/s/messages/m/stream";
/// The reason of what is refused while Redis is not there.
const OUTAGE: &str = "STORE_UNAVAILABLE";
const WATCHERS: usize = 100;
const DELTAS: usize = 300;

/// Names of the events that the log of a message holds.
fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// Watches to the end, and is cut after every so many events, each time to come
/// back to the other instance with the last id it saw.
async fn watch_with_cuts(world: Arc<World>, patience: usize) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    let mut turn = patience;
    loop {
        let last_id = seen.last().map(|event| event.id.clone());
        let service = &world.services[turn % 2];
        let line = format!("GET {STREAM}?last_id=0");
        let headers = last_id.as_deref().map(|id| ("last-event-id", id));
        let (answer, stream) = begin(service, &line, headers.as_slice(), b"").await;
        if answer.status == 204 {
            return seen;
        }
        let mut events = Events::reading(stream);
        for _ in 0..patience {
            let event = events.event().await;
            match event.name.as_str() {
                "caught_up" => {}
                "end" => return seen,
                _ => seen.push(event),
            }
        }
        turn += 1;
    }
}

fn number(event: &Event, field: &str) -> u64 {
    event.data[field].as_str().unwrap().parse().unwrap()
}

fn first_sequence(event: &Event) -> u64 {
    match event.data["firstSequence"].is_null() {
        true => number(event, "sequence"),
        false => number(event, "firstSequence"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_that_are_cut_and_resumed_elsewhere_lose_and_double_nothing() {
    let world = Arc::new(World::start().await);
    world.a().message("m").await;
    let mut native = world.b().watch("m", "0").await;
    let mut watching = JoinSet::new();
    for number in 0..WATCHERS / 2 {
        watching.spawn(watch_with_cuts(world.clone(), 20 + number));
    }
    for turn in 0..DELTAS {
        world
            .either(turn)
            .append("m", &format!("{turn};"))
            .await
            .unwrap();
    }
    world.a().complete("m").await;
    // They have all of it behind them when they come.
    for number in WATCHERS / 2..WATCHERS {
        watching.spawn(watch_with_cuts(world.clone(), 20 + number));
    }

    let is_last = |event: &v1::Event| event.event_type() == EventType::MessageEnd;
    let log = native.events_until(is_last).await;
    assert_eq!(log.len(), DELTAS + 3);
    while let Some(seen) = watching.join_next().await {
        let seen = seen.unwrap();
        let mut place = 0;
        for event in &seen {
            // Who lags may be sent several deltas as one.
            assert_eq!(first_sequence(event), place + 1);
            place = number(event, "sequence");
            assert_eq!(event.id, log[place as usize - 1].cursor);
            assert_eq!(event.data["cursor"], json!(event.id));
        }
        assert_eq!(place, (DELTAS + 3) as u64);
        let text: String = seen
            .iter()
            .filter_map(|event| event.data["textDelta"]["delta"].as_str())
            .collect();
        assert_eq!(text, world.a().get("m").await.unwrap().text);
    }
}

#[tokio::test]
async fn a_stream_without_a_place_begins_with_a_snapshot_and_ends_with_its_message() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().append("m", "one").await.unwrap();
    let mut events = Events::open(&world.services[1], STREAM, None).await;
    let snapshot = events.event().await;
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(snapshot.data["text"], "one");
    assert_eq!(snapshot.data["cursor"], json!(snapshot.id));
    assert_eq!(events.event().await.name, "caught_up");
    world.a().append("m", "two").await.unwrap();
    world.a().complete("m").await;
    let rest = events.rest().await;
    assert_eq!(names(&rest), ["text_delta", "message_end", "end"]);
    assert_eq!(
        rest[2].data,
        json!({"reason": "WATCH_END_REASON_MESSAGE_ENDED", "state": "MESSAGE_STATE_COMPLETED"})
    );
}

#[tokio::test]
async fn who_comes_back_to_a_stream_that_has_ended_is_told_not_to() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().complete("m").await;
    let rest = Events::open(&world.services[0], &format!("{STREAM}?last_id=0"), None)
        .await
        .rest()
        .await;
    let last = rest.last().unwrap();
    assert_eq!(last.name, "end");
    let line = format!("GET {STREAM}?last_id=0");
    let headers = [("last-event-id", last.id.as_str())];
    let again = send(&world.services[1], &line, &headers, b"").await;
    assert_eq!(again.status, 204);
    assert!(again.body.is_empty());
}

#[tokio::test]
async fn the_end_of_a_message_is_not_that_of_its_session() {
    const SESSION: &str = "/api/v1/sessions/s/stream";
    let world = World::start().await;
    world.a().message("m").await;
    let mut events = Events::open(&world.services[0], SESSION, None).await;
    let snapshot = events.event().await;
    assert_eq!(snapshot.name, "snapshot");
    assert_eq!(events.event().await.name, "caught_up");
    drop(events);
    world.a().delete("m").await.unwrap();
    let mut events = Events::open(&world.services[1], SESSION, Some(&snapshot.id)).await;
    loop {
        let event = events.event().await;
        if event.name == "caught_up" {
            break;
        }
        assert_eq!(event.name, "end");
    }
    world.a().create("n", v1::Role::User).await.unwrap();
    assert_eq!(events.event().await.name, "message_start");
}

#[tokio::test]
async fn an_empty_last_event_id_is_none() {
    let world = World::start().await;
    world.a().message("m").await;
    let path = format!("{STREAM}?last_id=0");
    let mut events = Events::open(&world.services[0], &path, Some("")).await;
    assert_eq!(events.event().await.name, "message_start");
}

#[tokio::test]
async fn a_place_that_is_gone_is_answered_with_a_gap_and_a_snapshot() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut events = Events::open(&world.services[0], STREAM, Some("9-9")).await;
    let gap = events.event().await;
    assert_eq!((gap.name.as_str(), gap.id.as_str()), ("gap", "9-9"));
    assert_eq!(gap.data["reason"], "GAP_REASON_AHEAD_OF_HEAD");
    assert_eq!(events.event().await.name, "snapshot");
}

#[tokio::test]
async fn a_silent_stream_sends_comments() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut events = Events::open(&world.services[0], STREAM, None).await;
    events.event().await;
    events.event().await;
    let append = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.a().append("m", "x").await.unwrap();
    };
    let (event, ()) = tokio::join!(events.event(), append);
    assert_eq!(event.name, "content_added");
    assert!(events.comments > 0);
}

#[tokio::test]
async fn a_heartbeat_says_where_to_resume_before_the_first_event() {
    let world = World::start().await;
    world.a().session("s").await;
    let path = format!("{STREAM}?last_id=$&wait_for_create=true");
    let mut events = Events::open(&world.services[0], &path, None).await;
    let place = events.heartbeat().await;
    drop(events);
    world.a().create("m", v1::Role::Assistant).await.unwrap();
    let mut events = Events::open(&world.services[1], &path, Some(&place)).await;
    assert_eq!(events.event().await.name, "message_start");
}

#[tokio::test]
async fn a_heartbeat_says_how_far_a_watch_has_come_that_wants_little() {
    let world = World::start().await;
    world.a().message("m").await;
    let path = format!("{STREAM}?last_id=0&event_types=message_end");
    let mut events = Events::open(&world.services[0], &path, None).await;
    let last = world.a().append("m", "x").await.unwrap();
    let last = last.result.unwrap().cursor;
    soon("the watch comes to the last event", async {
        while events.heartbeat().await != last {}
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_of_a_session_says_where_to_resume() {
    let world = World::start().await;
    world.a().message("m").await;
    let path = "/api/v1/sessions/s/stream";
    let mut events = Events::open(&world.services[0], path, None).await;
    let place = events.heartbeat().await;
    drop(events);
    world.a().append("m", "one").await.unwrap();
    let mut events = Events::open(&world.services[1], path, Some(&place)).await;
    assert_eq!(events.event().await.name, "content_added");
}

/// A token names each message that is open.
#[tokio::test]
async fn a_session_of_many_open_messages_is_resumed_over_http_2_as_well() {
    let world = World::start().await;
    world.a().session("s").await;
    for number in 0..300 {
        let id = format!("{number:036}");
        world.a().create(&id, v1::Role::Assistant).await.unwrap();
    }
    let path = "/api/v1/sessions/s/stream";
    let mut events = Events::open(&world.services[0], path, None).await;
    let caught_up = loop {
        let event = events.event().await;
        if event.name == "caught_up" {
            break event;
        }
    };
    assert!(caught_up.id.len() > 16 * 1024);
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--head", "--http2-prior-knowledge", "-H"])
        .arg(format!("last-event-id: {}", caught_up.id))
        .arg(format!("http://{}{path}", world.services[1].address))
        .output()
        .await
        .unwrap();
    let head = String::from_utf8(output.stdout).unwrap();
    assert!(head.starts_with("HTTP/2 200"), "{head}");
}

#[tokio::test]
async fn a_message_is_not_found_in_another_session() {
    let world = World::start().await;
    world.a().message("m").await;
    for path in [
        "/api/v1/sessions/other/messages/m/stream",
        "/api/v1/sessions/s/messages/other/stream",
        "/api/v1/sessions/other/stream",
    ] {
        let answer = get(&world, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.reason().ends_with("_NOT_FOUND"), "{path}");
    }
}

#[tokio::test]
async fn a_session_streams_all_its_messages_and_resumes_on_another_instance() {
    let world = World::start().await;
    world.a().message("m").await;
    let path = "/api/v1/sessions/s/stream";
    let mut events = Events::open(&world.services[0], path, None).await;
    while events.event().await.name != "caught_up" {}
    world.a().append("m", "one").await.unwrap();
    let opened = events.event().await;
    assert_eq!(opened.name, "content_added");
    assert_eq!(opened.data["messageId"], "m");
    drop(events);

    world.b().append("m", "two").await.unwrap();
    world.b().create("n", v1::Role::User).await.unwrap();
    world.b().complete("m").await;
    let mut events = Events::open(&world.services[1], path, Some(&opened.id)).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = events.event().await;
        if event.name != "caught_up" {
            seen.push((event.data["messageId"].clone(), event.name));
        }
    }
    let of = |message: &str| -> Vec<_> {
        let of = seen.iter().filter(|(id, _)| id == message);
        of.map(|(_, name)| name.as_str()).collect()
    };
    assert_eq!(of("m"), ["text_delta", "text_delta", "message_end", "end"]);
    assert_eq!(of("n"), ["message_start"]);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_ended_and_resumes_where_it_was() {
    let world = World::with_stall_timeout(Duration::from_millis(300)).await;
    let a = world.a();
    a.message("m").await;
    let line = format!("GET {STREAM}?last_id=0");
    let (answer, unread) = begin_slowly(&world.services[0], &line).await;
    assert_eq!(answer.status, 200);
    let delta = "x".repeat(100_000);
    for _ in 0..100 {
        a.append("m", &delta).await.unwrap();
    }
    world.redis.is_followed_by_nobody().await;

    // The end of all else may be under way already.
    a.append("m", "later").await.unwrap();
    let mut events = Events::reading(unread);
    let seen = events.rest().await;
    let (problem, seen) = seen.split_last().unwrap();
    assert_eq!(problem.name, "problem");
    assert_eq!(problem.data["reason"], "SLOW_WATCHER");

    let last = seen
        .iter()
        .rfind(|event| event.name == "text_delta")
        .unwrap();
    let mut resumed = Events::open(&world.services[0], STREAM, Some(&last.id)).await;
    let sequence = |event: &Event| -> u64 {
        let first = event.data["firstSequence"].as_str();
        let first = first.or(event.data["sequence"].as_str()).unwrap();
        first.parse().unwrap()
    };
    let last: u64 = last.data["sequence"].as_str().unwrap().parse().unwrap();
    assert_eq!(sequence(&resumed.event().await), last + 1);
}

#[tokio::test]
async fn an_event_source_is_told_of_an_outage_in_a_stream_that_it_comes_back_to() {
    let mut world = World::start().await;
    world.a().message("m").await;
    world.redis.kill();
    let service = &world.services[0];
    let line = format!("GET {STREAM}?last_id=0");
    let event_source = [("accept", "text/event-stream")];
    let refused = send(service, &line, &[], b"").await;
    assert_eq!((refused.status, refused.reason().as_str()), (503, OUTAGE));
    let (answer, stream) = begin(service, &line, &event_source, b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let told = Events::reading(stream).rest().await;
    let [problem] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(problem.name, "problem");
    assert_eq!(problem.data["reason"], OUTAGE);

    world.redis.restart();
    eventually("a stream", async || {
        let (answer, stream) = begin(service, &line, &event_source, b"").await;
        assert_eq!(answer.status, 200);
        Events::reading(stream).event().await.name == "message_start"
    })
    .await;
    // What will not pass is said as to everybody.
    let line = "GET /api/v1/sessions/s/messages/other/stream";
    let missing = send(service, line, &event_source, b"").await;
    assert_eq!(missing.status, 404);
}
