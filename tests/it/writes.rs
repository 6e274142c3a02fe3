//! Which writes are carried out, and which check refuses first.

use throughline::proto as v1;
use tonic::Code;

use crate::support::{
    Clients, Rpc, World, named, object, open, reason, refusal, text_block, textual_blocks,
};

type Append = v1::AppendTextRequest;

fn append(message: &str) -> Append {
    Append {
        message_id: message.into(),
        delta: "x".into(),
        ..Default::default()
    }
}

/// Message `ended` and, with a sealed block, a placeholder and a text of five
/// bytes, message `open`. Both know request id `known`.
async fn prepare(clients: &Clients) {
    clients.message("open").await;
    clients.create("ended", v1::Role::Assistant).await.unwrap();
    for message in ["open", "ended"] {
        let known = Append {
            request_id: "known".into(),
            delta: "hello".into(),
            ..append(message)
        };
        clients.append_with(known).await.unwrap();
    }
    clients
        .add("open", named("sealed", text_block("done")))
        .await
        .unwrap();
    clients.start_task("open", "t").await.unwrap();
    clients.complete("ended").await;
}

#[tokio::test]
async fn of_all_that_is_wrong_with_a_write_the_first_check_answers() {
    let world = World::start().await;
    let clients = world.a();
    prepare(&clients).await;
    let placeholder = clients.get("open").await.unwrap().blocks[2]
        .block_id
        .clone();

    // Each request fails its own check and the ones below.
    let nothing_right = Append {
        delta: String::new(),
        expected_offset: Some(99),
        fence: 7,
        ..append("unknown")
    };
    let unknown = Append {
        expected_offset: Some(99),
        fence: 7,
        request_id: "known".into(),
        ..append("unknown")
    };
    let reused = Append {
        expected_offset: Some(99),
        fence: 7,
        request_id: "known".into(),
        ..append("ended")
    };
    let terminal = Append {
        expected_offset: Some(99),
        fence: 7,
        ..append("ended")
    };
    let fenced = Append {
        expected_offset: Some(99),
        fence: 7,
        block_id: "sealed".into(),
        ..append("open")
    };
    let misplaced = Append {
        expected_offset: Some(99),
        block_id: "sealed".into(),
        ..append("open")
    };
    let sealed = Append {
        expected_offset: Some(4),
        block_id: "sealed".into(),
        ..append("open")
    };
    let placeholder = Append {
        block_id: placeholder,
        ..append("open")
    };
    for (request, code, reason) in [
        (nothing_right, Code::InvalidArgument, "INVALID_FIELD"),
        (unknown, Code::NotFound, "MESSAGE_NOT_FOUND"),
        (reused, Code::InvalidArgument, "REQUEST_ID_REUSED"),
        (terminal, Code::FailedPrecondition, "MESSAGE_TERMINAL"),
        (fenced, Code::Aborted, "WRITER_FENCED"),
        (misplaced, Code::Aborted, "OFFSET_MISMATCH"),
        (sealed, Code::FailedPrecondition, "BLOCK_SEALED"),
        (placeholder, Code::FailedPrecondition, "BLOCK_PLACEHOLDER"),
    ] {
        let answer = clients.append_with(request.clone()).await;
        assert_eq!(refusal(answer), (code, reason.into()), "{request:?}");
    }
}

#[tokio::test]
async fn a_write_to_a_message_that_does_not_exist_is_not_found_and_makes_no_key() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let before = world.redis.contents().await;

    macro_rules! refused {
        ($($request:expr),* $(,)?) => {$({
            let request = $request;
            let status = request.clone().send(&clients).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "{request:?}");
            assert_eq!(reason(&status), "MESSAGE_NOT_FOUND", "{request:?}");
        })*};
    }
    let message_id = || "unknown".to_owned();
    refused!(
        append("unknown"),
        Append {
            expected_offset: Some(0),
            ..append("unknown")
        },
        Append {
            block_id: "b".into(),
            request_id: "r".into(),
            ..append("unknown")
        },
        v1::AddContentRequest {
            message_id: message_id(),
            block: Some(text_block(&"x".repeat(20_000))),
            request_id: "r".into(),
            ..Default::default()
        },
        v1::UpdateContentRequest {
            message_id: message_id(),
            block: Some(named("b", text_block("x"))),
            ..Default::default()
        },
        v1::PublishEventRequest {
            message_id: message_id(),
            name: "noticed".into(),
            ..Default::default()
        },
        v1::EndMessageRequest {
            message_id: message_id(),
            ..Default::default()
        },
        v1::StartTaskRequest {
            message_id: message_id(),
            task_type: "search".into(),
            ..Default::default()
        },
        v1::UpdateTaskRequest {
            message_id: message_id(),
            task_id: "t".into(),
            ..Default::default()
        },
        v1::CancelTaskRequest {
            message_id: message_id(),
            task_id: "t".into(),
            ..Default::default()
        },
        v1::DeleteMessageRequest {
            message_id: message_id(),
        },
    );
    assert_eq!(world.redis.contents().await, before);
}

#[tokio::test]
async fn an_ended_message_takes_no_write_of_any_kind() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", named("b", open(text_block("x"))))
        .await
        .unwrap();
    clients.start_task("m", "t").await.unwrap();
    clients.complete("m").await;
    let before = world.redis.contents().await;

    macro_rules! refused {
        ($($request:expr),* $(,)?) => {$({
            let request = $request;
            let status = request.clone().send(&clients).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{request:?}");
            assert_eq!(reason(&status), "MESSAGE_TERMINAL", "{request:?}");
        })*};
    }
    let message_id = || "m".to_owned();
    refused!(
        append("m"),
        Append {
            block_id: "b".into(),
            ..append("m")
        },
        v1::AddContentRequest {
            message_id: message_id(),
            block: Some(text_block("x")),
            ..Default::default()
        },
        v1::UpdateContentRequest {
            message_id: message_id(),
            block: Some(named("b", text_block("x"))),
            ..Default::default()
        },
        v1::PublishEventRequest {
            message_id: message_id(),
            name: "noticed".into(),
            ..Default::default()
        },
        v1::EndMessageRequest {
            message_id: message_id(),
            state: v1::MessageState::Failed.into(),
            ..Default::default()
        },
        v1::StartTaskRequest {
            message_id: message_id(),
            task_type: "search".into(),
            ..Default::default()
        },
        v1::UpdateTaskRequest {
            message_id: message_id(),
            task_id: "t".into(),
            progress: Some(0.5),
            ..Default::default()
        },
    );
    assert_eq!(world.redis.contents().await, before);
}

#[tokio::test]
async fn an_end_repeated_is_ok_and_another_end_is_refused() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    let states = [
        v1::MessageState::Completed,
        v1::MessageState::Failed,
        v1::MessageState::Cancelled,
    ];
    a.session("s").await;
    for state in states {
        let message = format!("m{}", state as i32);
        a.create(&message, v1::Role::Assistant).await.unwrap();
        let first = a.end(&message, state).await.unwrap();
        assert!(!first.deduplicated);
        let second = b.end(&message, state).await.unwrap();
        assert!(second.deduplicated);
        assert_eq!(
            (second.sequence, &second.cursor),
            (first.sequence, &first.cursor)
        );
        for other in states.into_iter().filter(|other| *other != state) {
            let status = b.end(&message, other).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(reason(&status), "MESSAGE_TERMINAL");
        }
        assert_eq!(a.events(&message).await.len(), 2);
        assert_eq!(b.get(&message).await.unwrap().state(), state);
    }
}

#[tokio::test]
async fn a_message_that_fails_says_why_in_an_error_event_just_before_its_end() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let request = v1::EndMessageRequest {
        message_id: "m".into(),
        state: v1::MessageState::Failed.into(),
        error: "the model is overloaded".into(),
        ..Default::default()
    };
    clients.messages.clone().end_message(request).await.unwrap();
    let events = clients.events("m").await;
    let types: Vec<_> = events.iter().map(|event| event.event_type()).collect();
    use v1::EventType::{Error, MessageEnd, MessageStart};
    assert_eq!(types, [MessageStart, Error, MessageEnd]);
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.error, "the model is overloaded");
    assert_eq!(message.end_reason(), v1::EndReason::Client);
    assert!(message.end_time.is_some());
}

#[tokio::test]
async fn an_end_seals_what_is_open() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for block in textual_blocks("not yet JSON") {
        clients.add("m", open(block)).await.unwrap();
    }
    clients.complete("m").await;
    for block in clients.get("m").await.unwrap().blocks {
        assert_eq!(block.state(), v1::BlockState::Sealed);
    }
    let keys = world.redis.keys().await;
    assert!(!keys.iter().any(|key| key.contains(":text:")), "{keys:?}");
}

#[tokio::test]
async fn every_write_answers_with_the_place_of_its_last_event() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let mut results = vec![
        clients.append("m", "a").await.unwrap().result,
        clients.append("m", "b").await.unwrap().result,
        clients.add("m", text_block("c")).await.unwrap().result,
        clients.start_task("m", "t").await.unwrap().result,
    ];
    results.push(Some(clients.publish("m", "noticed").await.unwrap()));
    results.push(Some(clients.complete("m").await));
    let events = clients.events("m").await;
    // Both opening a text block and starting a task are two events.
    let last = [3, 4, 5, 7, 8, 11];
    for (result, sequence) in results.into_iter().flatten().zip(last) {
        assert_eq!(result.sequence, sequence);
        assert_eq!(result.cursor, events[sequence as usize - 1].cursor);
        assert!(!result.deduplicated && !result.cancel_requested);
    }
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.sequence, 11);
    assert_eq!(message.cursor, events[10].cursor);
}

#[tokio::test]
async fn a_message_is_created_once_and_found_after_that() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.append("m", "hello").await.unwrap();
    let before = world.redis.contents().await;

    let repeat = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::Assistant.into(),
        metadata: Some(object(serde_json::json!({ "other": true }))),
        blocks: vec![text_block(&"other".repeat(10_000))],
        complete: true,
        ..Default::default()
    };
    let found = world.b().messages.create_message(repeat).await;
    let found = found.unwrap().into_inner();
    let (message, result) = (found.message.unwrap(), found.result.unwrap());
    assert!(!found.created && result.deduplicated);
    assert_eq!(message.text, "hello");
    assert_eq!(message.state(), v1::MessageState::Streaming);
    assert_eq!(result.cursor, message.cursor);
    assert_eq!(world.redis.contents().await, before, "nothing changes");
}

#[tokio::test]
async fn a_message_id_belongs_to_one_session_and_role() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.session("other").await;
    let message = clients.get("m").await.unwrap();
    let before = world.redis.keys().await;

    let exists = (Code::AlreadyExists, "MESSAGE_EXISTS".to_owned());
    let another_role = clients.create("m", v1::Role::User).await;
    assert_eq!(refusal(another_role), exists);
    let another_session = v1::CreateMessageRequest {
        session_id: "other".into(),
        message_id: "m".into(),
        role: v1::Role::Assistant.into(),
        ..Default::default()
    };
    let answer = clients
        .clone()
        .messages
        .create_message(another_session)
        .await;
    assert_eq!(refusal(answer), exists);
    assert_eq!(clients.get("m").await.unwrap(), message);
    // The announcement stays, which is made first and which watchers pass over.
    let mut keys = world.redis.keys().await;
    keys.retain(|key| key != "stream:session:other");
    assert_eq!(keys, before);
}

#[tokio::test]
async fn a_message_without_an_id_gets_one() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let created = clients.create("", v1::Role::User).await.unwrap();
        assert!(created.created);
        ids.push(created.message.unwrap().message_id);
    }
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let id = uuid::Uuid::parse_str(&id).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
}

#[tokio::test]
async fn a_message_can_be_created_whole() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let request = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        blocks: vec![
            text_block("What is "),
            open(text_block("this?")),
            named("long", text_block(&"x".repeat(20_000))),
        ],
        parent_message_id: "before".into(),
        complete: true,
        ..Default::default()
    };
    let created = clients.clone().messages.create_message(request).await;
    let created = created.unwrap().into_inner();
    let message = world.b().get("m").await.unwrap();
    assert_eq!(created.message.as_ref(), Some(&message));
    assert!(message.text.starts_with("What is this?xx"));
    assert_eq!(message.parent_message_id, "before");
    assert_eq!(message.state(), v1::MessageState::Completed);
    assert_eq!(created.result.unwrap().sequence, message.sequence);
    let events = clients.events("m").await;
    assert_eq!(events.len() as u64, message.sequence);
    assert!(
        events.windows(2).all(|pair| pair[0].time == pair[1].time),
        "one commit has one time"
    );
}

#[tokio::test]
async fn a_closed_session_takes_no_new_message_and_lets_the_others_be_written() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let close = v1::CloseSessionRequest {
        session_id: "s".into(),
    };
    clients.clone().sessions.close_session(close).await.unwrap();

    let new = world.b().create("new", v1::Role::User).await;
    let closed = (Code::FailedPrecondition, "SESSION_CLOSED".to_owned());
    assert_eq!(refusal(new), closed);
    let found = world.b().create("m", v1::Role::Assistant).await.unwrap();
    assert!(!found.created, "a repeat is no new message");
    world.b().append("m", "still here").await.unwrap();
    world.b().complete("m").await;
    assert_eq!(clients.get("m").await.unwrap().text, "still here");
}

#[tokio::test]
async fn a_message_in_an_unknown_session_is_refused_and_makes_no_key() {
    let world = World::start().await;
    let answer = world.a().create("m", v1::Role::User).await;
    let unknown = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    assert_eq!(refusal(answer), unknown);
    assert!(world.redis.contents().await.is_empty());
}
