//! Watching a session: every event of every message.

use std::collections::BTreeMap;

use throughline::proto::{self as v1, EventType, WatchEndReason, watch_frame::Frame};
use tonic::{Code, Streaming};

use crate::support::{Clients, Cut, Proxy, World, fold, invalid_field, refusal, soon};

/// An open watch of session `s` that keeps the last token it saw.
struct SessionWatch {
    frames: Streaming<v1::WatchSessionResponse>,
    token: String,
}

impl SessionWatch {
    async fn open(clients: &Clients, token: &str) -> Self {
        let request = v1::WatchSessionRequest {
            session_id: "s".into(),
            resume_token: token.into(),
        };
        let response = clients
            .sessions
            .clone()
            .watch_session(request)
            .await
            .unwrap();
        Self {
            frames: response.into_inner(),
            token: token.to_owned(),
        }
    }

    /// The next frame that is no heartbeat, and which message it is about.
    async fn next(&mut self) -> (String, Frame) {
        soon("a frame that is no heartbeat", self.read()).await
    }

    async fn read(&mut self) -> (String, Frame) {
        loop {
            let frame = self.frames.message().await;
            let frame = frame.unwrap().expect("the watch goes on");
            self.token = frame.resume_token;
            match frame.frame.unwrap().frame.unwrap() {
                Frame::Heartbeat(_) => {}
                other => return (frame.message_id, other),
            }
        }
    }

    async fn caught_up(&mut self) {
        let (message, frame) = self.next().await;
        assert!(matches!(frame, Frame::CaughtUp(_)), "{message} {frame:?}");
    }

    async fn event(&mut self) -> v1::Event {
        match self.next().await {
            (message, Frame::Event(event)) => {
                assert_eq!(message, event.message_id);
                event
            }
            (message, other) => panic!("an event was expected, not {message} {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_watch_sees_new_messages_from_their_first_event_on() {
    let world = World::start().await;
    world.a().session("s").await;
    let mut watch = SessionWatch::open(&world.b(), "").await;
    watch.caught_up().await;
    for message in ["m1", "m2"] {
        world.a().create(message, v1::Role::User).await.unwrap();
        world.a().append(message, "hello").await.unwrap();
        world.a().complete(message).await;
        let mut types = Vec::new();
        for sequence in 1..=4 {
            let event = watch.event().await;
            assert_eq!(
                (event.message_id.as_str(), event.sequence),
                (message, sequence)
            );
            types.push(event.event_type());
        }
        assert_eq!(types[0], EventType::MessageStart);
        assert_eq!(types[3], EventType::MessageEnd);
        let (ended, frame) = watch.next().await;
        assert!(
            matches!(frame, Frame::End(_)) && ended == message,
            "{frame:?}"
        );
    }
}

#[tokio::test]
async fn a_session_watch_begins_with_a_snapshot_of_each_message_being_written() {
    let world = World::start().await;
    world.a().session("s").await;
    for message in ["done", "open"] {
        world.a().create(message, v1::Role::User).await.unwrap();
        world.a().append(message, message).await.unwrap();
    }
    world.a().complete("done").await;
    let mut watch = SessionWatch::open(&world.b(), "").await;
    match watch.next().await {
        (message, Frame::Snapshot(snapshot)) => {
            assert_eq!((message.as_str(), snapshot.text.as_str()), ("open", "open"));
        }
        other => panic!("a snapshot was expected, not {other:?}"),
    }
    watch.caught_up().await;
    world.a().append("open", "!").await.unwrap();
    assert_eq!(watch.event().await.sequence, 4);
}

#[tokio::test]
async fn a_message_that_came_and_went_while_a_watcher_was_away_is_sent_whole() {
    let world = World::start().await;
    world.a().session("s").await;
    let mut watch = SessionWatch::open(&world.a(), "").await;
    watch.caught_up().await;
    let token = watch.token.clone();
    drop(watch);
    world.a().create("m", v1::Role::User).await.unwrap();
    world.a().append("m", "away").await.unwrap();
    world.a().complete("m").await;
    let mut watch = SessionWatch::open(&world.b(), &token).await;
    for sequence in 1..=4 {
        assert_eq!(watch.event().await.sequence, sequence);
    }
    watch.caught_up().await;
    let (_, frame) = watch.next().await;
    assert!(matches!(frame, Frame::End(_)), "{frame:?}");
}

#[tokio::test]
async fn a_message_of_another_session_is_not_sent() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().session("other").await;
    let request = v1::WatchSessionRequest {
        session_id: "other".into(),
        ..Default::default()
    };
    let response = world
        .b()
        .sessions
        .clone()
        .watch_session(request)
        .await
        .unwrap();
    let mut watch = SessionWatch {
        frames: response.into_inner(),
        token: String::new(),
    };
    watch.caught_up().await;
    for message in ["m", "own"] {
        let request = v1::CreateMessageRequest {
            session_id: "other".into(),
            message_id: message.into(),
            role: v1::Role::User.into(),
            ..Default::default()
        };
        let created = world.a().messages.clone().create_message(request).await;
        assert_eq!(created.is_ok(), message == "own");
    }
    world.a().append("m", "secret").await.unwrap();
    assert_eq!(watch.event().await.message_id, "own");
}

#[tokio::test]
async fn fifty_messages_through_two_instances_survive_a_hundred_cuts() {
    const MESSAGES: usize = 50;
    const DELTAS: usize = 40;
    let world = World::start().await;
    world.a().session("s").await;
    let mut watch = SessionWatch::open(&world.a(), "").await;
    watch.caught_up().await;
    let writers: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let clients = [world.a(), world.b()];
            tokio::spawn(async move {
                let message = format!("m{number}");
                clients[0]
                    .create(&message, v1::Role::Assistant)
                    .await
                    .unwrap();
                for turn in 0..DELTAS {
                    let delta = format!("{turn} ");
                    clients[turn % 2].append(&message, &delta).await.unwrap();
                }
                clients[1].complete(&message).await;
            })
        })
        .collect();

    let mut logs: BTreeMap<String, Vec<v1::Event>> = BTreeMap::new();
    let (mut ended, mut cuts, mut since_cut) = (0, 0, 0);
    while ended < MESSAGES {
        match watch.next().await {
            (message, Frame::Event(event)) => logs.entry(message).or_default().push(event),
            (message, Frame::End(end)) => {
                assert_eq!(end.reason(), WatchEndReason::MessageEnded, "{message}");
                ended += 1;
            }
            (_, Frame::CaughtUp(_)) => {}
            other => panic!("{other:?}"),
        }
        since_cut += 1;
        if cuts < 100 && since_cut >= 15 {
            (cuts, since_cut) = (cuts + 1, 0);
            watch = SessionWatch::open(&world.either(cuts), &watch.token).await;
        }
    }
    assert_eq!(cuts, 100);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(logs.len(), MESSAGES);
    for (message, events) in logs {
        let stored = world.a().get(&message).await.unwrap();
        let folded = fold(&events);
        assert_eq!(folded.head.to_string(), stored.cursor);
        assert_eq!(events, world.b().events(&message).await);
    }
}

#[tokio::test]
async fn a_message_that_is_created_anew_is_sent_from_its_first_event_on() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut watch = SessionWatch::open(&world.b(), "").await;
    let (_, frame) = watch.next().await;
    assert!(matches!(frame, Frame::Snapshot(_)), "{frame:?}");
    watch.caught_up().await;
    for life in 0..3 {
        if life == 2 {
            // What expires stays in the index for a while.
            let _: i64 = world.redis.run(&["DEL", "message:m"]).await;
            let log = "stream:session:s:message:m";
            let _: i64 = world.redis.run(&["DEL", log]).await;
            let index = "session:s:messages";
            let _: String = world
                .redis
                .run(&["ZINCRBY", index, "-3600000000", "m"])
                .await;
        } else {
            world.a().delete("m").await.unwrap();
        }
        let (ended, frame) = watch.next().await;
        assert!(matches!(frame, Frame::End(_)) && ended == "m", "{frame:?}");
        world.a().create("m", v1::Role::User).await.unwrap();
        let event = watch.event().await;
        assert_eq!((event.message_id.as_str(), event.sequence), ("m", 1));
    }
}

#[tokio::test]
async fn a_session_has_caught_up_when_what_was_behind_is_gone() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut watch = SessionWatch::open(&world.b(), "").await;
    watch.next().await;
    watch.caught_up().await;
    world.a().delete("m").await.unwrap();
    let mut again = SessionWatch::open(&world.a(), &watch.token).await;
    let (ended, frame) = again.next().await;
    assert!(matches!(frame, Frame::End(_)) && ended == "m", "{frame:?}");
    again.caught_up().await;
}

#[tokio::test]
async fn a_session_watch_ends_when_the_session_is_deleted() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut watch = SessionWatch::open(&world.b(), "").await;
    watch.next().await;
    watch.caught_up().await;
    let request = v1::DeleteSessionRequest {
        session_id: "s".into(),
    };
    world
        .a()
        .sessions
        .clone()
        .delete_session(request)
        .await
        .unwrap();
    let mut reasons = BTreeMap::new();
    while !reasons.contains_key("") {
        match watch.next().await {
            (message, Frame::End(end)) => reasons.insert(message, end.reason()),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(reasons[""], WatchEndReason::Deleted);
}

#[tokio::test]
async fn a_session_watch_refuses_what_it_does_not_know() {
    let world = World::start().await;
    let watch = |session: &str, token: &str| {
        let request = v1::WatchSessionRequest {
            session_id: session.into(),
            resume_token: token.into(),
        };
        let mut sessions = world.a().sessions.clone();
        async move {
            let mut frames = sessions.watch_session(request).await?.into_inner();
            frames.message().await
        }
    };
    let expected = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    assert_eq!(refusal(watch("nobody", "").await), expected);
    let status = watch("s", "not a token").await.unwrap_err();
    assert_eq!(invalid_field(&status), "resume_token");
}

#[tokio::test]
async fn a_message_that_is_being_created_when_the_watch_begins_is_seen() {
    let mut world = World::start().await;
    world.a().message("other").await;
    // It is announced, and its creator gets no further.
    let cut = Cut {
        marker: "_commit".into(),
        after: 0,
        answer_only: false,
    };
    let proxy = Proxy::start(world.redis.port, cut).await;
    world.add_instance_at(&proxy.url).await;
    let creator = world.clients[2].clone();
    creator.create("m", v1::Role::User).await.unwrap_err();

    let mut watch = SessionWatch::open(&world.b(), "").await;
    let (message, frame) = watch.next().await;
    assert!(matches!(frame, Frame::Snapshot(_)), "{message} {frame:?}");
    world.a().create("m", v1::Role::User).await.unwrap();
    let event = watch.event().await;
    assert_eq!((&*event.message_id, event.sequence), ("m", 1));
}
