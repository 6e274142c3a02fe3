//! How long things are kept.

use std::time::Duration;

use throughline::{
    domain::{Time, ids::MessageId},
    proto as v1,
    store::{Append, Appended, Delta, Store, StoreOptions},
};
use tonic::Code;

use crate::support::{Clients, Rpc, World, eventually, image_block, object, refusal};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A session with a message that has a log, open text and content out of line.
async fn prepare(clients: &Clients) {
    clients.message("m").await;
    clients
        .add("m", image_block(vec![1; 20_000]))
        .await
        .unwrap();
    clients.append("m", "hello").await.unwrap();
}

/// What is left of each key's life, in whole hours, rounded up, but for those that
/// are of no message or session.
async fn lives(world: &World) -> Vec<(String, u64)> {
    let mut lives = Vec::new();
    let mut keys = world.redis.keys().await;
    keys.retain(|key| key != "due" && !key.starts_with("queue:"));
    for key in keys {
        let left = world.redis.ttl(&key).await;
        let kind = match key.split_once(':') {
            Some(("content", _)) => "content".to_owned(),
            _ if key.contains(":text:") => "text".to_owned(),
            _ => key,
        };
        lives.push((kind, left.as_secs_f64().div_euclid(3_600.0) as u64 + 1));
    }
    lives.sort();
    lives
}

/// Lets everything have an hour left.
async fn age(world: &World) {
    for key in world.redis.keys().await {
        let _: i64 = world.redis.run(&["EXPIRE", &key, "3600"]).await;
    }
}

fn hours(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    let hours = expected
        .iter()
        .map(|(key, hours)| ((*key).to_owned(), *hours));
    hours.collect()
}

#[tokio::test]
async fn messages_live_for_a_day_and_content_and_sessions_for_a_week() {
    let world = World::start().await;
    prepare(&world.a()).await;
    let expected = hours(&[
        ("content", 7 * 24),
        ("message:m", 24),
        ("session:s", 7 * 24),
        ("session:s:messages", 7 * 24),
        ("stream:session:s", 7 * 24),
        ("stream:session:s:message:m", 24),
        ("text", 24),
        ("user:user_1:sessions", 7 * 24),
    ]);
    assert_eq!(lives(&world).await, expected);
}

#[tokio::test]
async fn a_write_lets_its_message_live_on() {
    let world = World::start().await;
    prepare(&world.a()).await;
    let expected = hours(&[
        ("content", 7 * 24),
        ("message:m", 24),
        ("session:s", 1),
        ("session:s:messages", 1),
        ("stream:session:s", 1),
        ("stream:session:s:message:m", 24),
        ("text", 24),
        ("user:user_1:sessions", 1),
    ]);
    // An instance lets a message live on at most once a minute when it appends:
    // this one has not written it yet.
    age(&world).await;
    world.b().append("m", " world").await.unwrap();
    assert_eq!(lives(&world).await, expected, "append");

    age(&world).await;
    world.b().publish("m", "noticed").await.unwrap();
    assert_eq!(lives(&world).await, expected, "publish");

    age(&world).await;
    world.a().start_task("m", "t").await.unwrap();
    assert_eq!(lives(&world).await, expected, "start of a task");

    age(&world).await;
    world.a().complete("m").await;
    let mut sealed = expected;
    sealed.retain(|(key, _)| key != "text");
    assert_eq!(lives(&world).await, sealed, "end");
}

#[tokio::test]
async fn a_look_lets_nothing_live_on() {
    let world = World::start().await;
    prepare(&world.a()).await;
    age(&world).await;
    let clients = world.b();
    clients.get("m").await.unwrap();
    clients.events("m").await;
    let list = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    list.send(&clients).await.unwrap();
    for (key, hours) in lives(&world).await {
        assert_eq!(hours, 1, "{key}");
    }
}

#[tokio::test]
async fn a_change_of_a_session_lets_it_live_on() {
    let world = World::start().await;
    prepare(&world.a()).await;
    let session_lives = async || {
        let mut lives = lives(&world).await;
        lives.retain(|(key, _)| {
            key.starts_with("session:") || key.starts_with("user:") || key == "stream:session:s"
        });
        lives
    };
    let expected = hours(&[
        ("session:s", 7 * 24),
        ("session:s:messages", 7 * 24),
        ("stream:session:s", 7 * 24),
        ("user:user_1:sessions", 7 * 24),
    ]);
    age(&world).await;
    world.b().create("n", v1::Role::User).await.unwrap();
    assert_eq!(session_lives().await, expected, "a new message");

    age(&world).await;
    let update = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: "s".into(),
            metadata: Some(object(serde_json::json!({ "title": "S" }))),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["metadata".into()],
        }),
    };
    update.send(&world.a()).await.unwrap();
    assert_eq!(session_lives().await, expected, "an update");

    age(&world).await;
    let close = v1::CloseSessionRequest {
        session_id: "s".into(),
    };
    close.send(&world.b()).await.unwrap();
    assert_eq!(session_lives().await, expected, "its close");
}

#[tokio::test]
async fn content_never_lives_shorter_than_its_message() {
    let world = World::with(StoreOptions {
        message_ttl: 10 * DAY,
        content_ttl: HOUR,
        ..StoreOptions::default()
    })
    .await;
    prepare(&world.a()).await;
    let lives = lives(&world).await;
    let life = |key: &str| lives.iter().find(|(kind, _)| kind == key).unwrap().1;
    assert_eq!(life("message:m"), 240);
    assert_eq!(life("content"), 240);
}

#[tokio::test]
async fn a_message_expires_with_all_that_belongs_to_it() {
    let world = World::with(StoreOptions {
        message_ttl: Duration::from_millis(300),
        content_ttl: Duration::from_millis(300),
        ..StoreOptions::default()
    })
    .await;
    prepare(&world.a()).await;
    eventually("the end of the message", async || {
        let keys = world.redis.keys().await;
        !keys
            .iter()
            .any(|key| key.contains(":m") && !key.ends_with(":messages"))
    })
    .await;
    let keys = world.redis.keys().await;
    assert!(
        !keys.iter().any(|key| key.starts_with("content:")),
        "{keys:?}"
    );
    let unknown = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
    assert_eq!(refusal(world.a().get("m").await), unknown);
    assert_eq!(refusal(world.a().append("m", "x").await), unknown);
    // The id is free again.
    let again = world.b().create("m", v1::Role::User).await.unwrap();
    assert!(again.created);
    assert_eq!(again.message.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_log_keeps_about_the_last_1_000_writes() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for _ in 0..1_500 {
        clients.append("m", "x").await.unwrap();
    }
    let events = clients.events("m").await;
    assert!((1_000..=1_200).contains(&events.len()), "{}", events.len());
    let last = events.last().unwrap();
    assert_eq!(last.sequence, 1_502);
    let first = &events[0];
    assert_eq!(first.sequence, 1_503 - events.len() as u64, "no hole");
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.text.len(), 1_500, "the message itself is whole");
    let trimmed = v1::ListEventsRequest {
        message_id: "m".into(),
        cursor: "2".into(),
        ..Default::default()
    };
    let gone = (Code::OutOfRange, "CURSOR_OUT_OF_RANGE".to_owned());
    assert_eq!(refusal(trimmed.send(&clients).await), gone);
}

#[tokio::test]
async fn a_log_is_bounded_however_many_events_its_entries_hold() {
    const RETAINED: u32 = 10;
    /// Redis forgets a node of so many entries at a time, and is asked to once in so
    /// many events.
    const MORE: u32 = 100 + 64;
    let world = World::retaining(RETAINED).await;
    let options = StoreOptions {
        retained_entries: RETAINED,
        ..StoreOptions::default()
    };
    let store = Store::connect(&world.redis.url(), options).await.unwrap();
    for deltas in [1, 7, 64] {
        let id = format!("of_{deltas}");
        world.a().message(&id).await;
        world.a().append(&id, "x").await.unwrap();
        let message = MessageId::parse(&id).unwrap();
        for _ in 0..2 * (RETAINED + MORE) {
            let delta = || Delta {
                text: "x",
                request: None,
            };
            let append = Append {
                message: &message,
                block: None,
                deltas: (0..deltas).map(|_| delta()).collect(),
                time: Time::UNIX_EPOCH,
                expected_offset: None,
                fence: 0,
                attempt: None,
                owner: None,
            };
            let appended = store.append(&[append]).await.pop().unwrap();
            assert!(matches!(appended, Ok(Appended::Done { .. })));
        }
        let log = format!("stream:session:s:message:{id}");
        let entries: u32 = world.redis.run(&["XLEN", &log]).await;
        assert!(entries >= RETAINED, "{entries} entries of {deltas} events");
        assert!(
            entries <= RETAINED + MORE,
            "{entries} entries of {deltas} events"
        );
    }
}
