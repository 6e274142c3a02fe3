//! Which writes are carried out, and which check refuses first.

use throughline::proto as v1;
use tonic::Code;

use crate::support::{
    Clients, Rpc, World, named, open, reason, refusal, text_block, textual_blocks,
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
