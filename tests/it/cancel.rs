//! RequestCancel: state that every writer sees, and an end if none obeys.

use std::time::Duration;

use throughline::proto::{
    self as v1, event::Payload, write_ack::Outcome, write_message_request::Write,
    write_message_response::Response,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    notices::notice,
    support::{Clients, World, eventually, fold, text_block},
    write_stream::{WriteStream, append},
    writer_lease::ends,
};

const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// What a stream answers to an append.
async fn append_on(stream: &mut WriteStream, request: v1::AppendTextRequest) -> v1::WriteResult {
    stream.send(Write::AppendText(request)).await;
    match stream.ack().await.outcome {
        Some(Outcome::Result(result)) => result,
        other => panic!("a result was expected, not {other:?}"),
    }
}

/// Waits until the service has cancelled the message.
async fn cancelled(clients: &Clients, message: &str) -> v1::Message {
    eventually("the end of the message", || async {
        clients.get(message).await.unwrap().state() != v1::MessageState::Streaming
    })
    .await;
    let ended = clients.get(message).await.unwrap();
    assert_eq!(ended.state(), v1::MessageState::Cancelled);
    assert_eq!(ended.end_reason(), v1::EndReason::CancelRequested);
    let events = clients.events(message).await;
    assert_eq!(ends(&events), 1);
    assert_eq!(fold(&events).head.to_string(), ended.cursor);
    ended
}

/// The deadlines of the requests in the log.
async fn deadlines(clients: &Clients) -> Vec<(prost_types::Timestamp, v1::CancelRequested)> {
    let requests = clients.events("m").await.into_iter().filter_map(|event| {
        match (event.time, event.payload) {
            (Some(time), Some(Payload::CancelRequested(request))) => Some((time, request)),
            _ => None,
        }
    });
    requests.collect()
}

#[tokio::test]
async fn a_request_to_cancel_is_an_event_and_state() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let mut watch = a.watch("m", "$").await;
    watch.caught_up().await;
    let request = v1::RequestCancelRequest {
        message_id: "m".into(),
        reason: "the user left".into(),
        ..Default::default()
    };
    let answer = b.cancel_with(request).await.unwrap();
    assert_eq!(answer.state(), v1::MessageState::Streaming);
    let result = answer.result.unwrap();
    assert!(result.cancel_requested && !result.deduplicated);

    let event = watch.event().await;
    assert_eq!(event.cursor, result.cursor);
    assert_eq!(event.event_type(), v1::EventType::CancelRequested);
    let [(time, request)] = &deadlines(&a).await[..] else {
        panic!("one request was expected")
    };
    assert_eq!(request.reason, "the user left");
    let deadline = request.deadline.unwrap();
    assert_eq!(deadline.seconds, time.seconds + 10, "10 s are the default");
    assert!(a.get("m").await.unwrap().cancel_requested);
    let mut watch = b.watch("m", "").await;
    assert!(watch.snapshot().await.cancel_requested);
}

#[tokio::test]
async fn every_later_answer_to_a_write_says_that_a_cancel_was_requested() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    // Both know the message as one that nobody wants to cancel.
    for clients in [&a, &b] {
        clients.append("m", "x").await.unwrap();
    }
    let numbered = v1::AppendTextRequest {
        request_id: "r".into(),
        ..append("m", "x")
    };
    a.append_with(numbered.clone()).await.unwrap();
    let placed = v1::AppendTextRequest {
        expected_offset: Some(2),
        ..append("m", "x")
    };
    a.start_task("m", "t").await.unwrap();
    a.cancel("m", LONG).await.unwrap();

    for clients in [&a, &b] {
        let mut results = Vec::new();
        for request in [
            numbered.clone(),
            placed.clone(),
            append("m", "y"),
            append("m", "y"),
        ] {
            let block_id = clients.get("m").await.unwrap().blocks[0].block_id.clone();
            let request = v1::AppendTextRequest {
                block_id,
                ..request
            };
            // The id of the block is part of what was sent.
            let request = match request.request_id.as_str() {
                "" => request,
                _ => numbered.clone(),
            };
            results.push(clients.append_with(request).await.unwrap().result);
        }
        let added = clients.add("m", text_block("z")).await.unwrap();
        results.push(added.result);
        results.push(Some(clients.publish("m", "noticed").await.unwrap()));
        for _ in 0..3 {
            results.push(clients.append("m", "tail").await.unwrap().result);
        }
        let update = v1::UpdateTaskRequest {
            message_id: "m".into(),
            task_id: "t".into(),
            progress: Some(0.5),
            ..Default::default()
        };
        results.push(clients.update_task(update).await.unwrap().result);
        let found = clients.create("m", v1::Role::Assistant).await.unwrap();
        results.push(found.result);
        for (number, result) in results.into_iter().enumerate() {
            assert!(result.unwrap().cancel_requested, "write {number}");
        }
    }
    let mut stream = WriteStream::open(&b).await;
    for _ in 0..3 {
        assert!(
            append_on(&mut stream, append("m", "x"))
                .await
                .cancel_requested
        );
    }
    assert!(append_on(&mut stream, numbered).await.cancel_requested);
    assert!(a.complete("m").await.cancel_requested);
    assert!(a.complete("m").await.cancel_requested, "also of a repeat");
    let ended = a.get("m").await.unwrap();
    assert_eq!(ended.end_reason(), v1::EndReason::Client);
}

#[tokio::test]
async fn a_live_stream_of_writes_hears_of_it_within_a_second_and_of_the_end_after_the_grace() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    b.start_task("m", "t").await.unwrap();
    let mut stream = WriteStream::open(&a).await;
    assert!(
        !append_on(&mut stream, append("m", "x"))
            .await
            .cancel_requested
    );

    let begin = Instant::now();
    b.cancel("m", SECOND).await.unwrap();
    let told = notice(&mut stream).await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    let expected = v1::WriteNotice {
        message_id: "m".into(),
        cancel_requested: true,
        ..Default::default()
    };
    assert_eq!(told, expected);
    assert!(
        append_on(&mut stream, append("m", "y"))
            .await
            .cancel_requested
    );

    let ended = notice(&mut stream).await;
    let took = begin.elapsed();
    assert!((SECOND..2 * SECOND).contains(&took), "{took:?}");
    assert_eq!(ended.ended(), v1::MessageState::Cancelled);
    let message = cancelled(&b, "m").await;
    assert_eq!(message.text, "xy");
    assert_eq!(message.tasks[0].status(), v1::TaskStatus::Cancelled);
}

#[tokio::test]
async fn a_producer_that_restarts_hears_of_it_in_its_first_answer() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let fence = a.acquire("m", "w", LONG).await.unwrap().fence;
    let mut stream = WriteStream::open(&a).await;
    let written = v1::AppendTextRequest {
        fence,
        ..append("m", "x")
    };
    append_on(&mut stream, written.clone()).await;
    drop(stream);
    b.cancel("m", LONG).await.unwrap();

    let granted = b.acquire("m", "w", LONG).await.unwrap();
    assert!(granted.message.unwrap().cancel_requested);
    let mut stream = WriteStream::open(&b).await;
    assert!(append_on(&mut stream, written).await.cancel_requested);
    // Once told, it is not told again: what comes next is another answer.
    let next = timeout(SECOND / 5, stream.acks.message()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn a_request_that_comes_after_the_end_is_answered_with_it() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.end("m", v1::MessageState::Failed).await.unwrap();
    let before = a.events("m").await;
    let answer = world.b().cancel("m", LONG).await.unwrap();
    assert_eq!(answer.state(), v1::MessageState::Failed);
    assert!(answer.result.unwrap().deduplicated);
    assert_eq!(a.events("m").await, before);
    assert!(!a.get("m").await.unwrap().cancel_requested);
}

#[tokio::test]
async fn another_request_changes_nothing_unless_it_brings_the_end_forward() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let request = v1::RequestCancelRequest {
        message_id: "m".into(),
        request_id: "r".into(),
        ..Default::default()
    };
    let first = a.cancel_with(request.clone()).await.unwrap();
    let mut repeated = b.cancel_with(request.clone()).await.unwrap();
    let result = repeated.result.as_mut().unwrap();
    assert!(std::mem::take(&mut result.deduplicated));
    assert_eq!(repeated, first);
    let reused = v1::RequestCancelRequest {
        reason: "another".into(),
        ..request
    };
    let refused = crate::support::refusal(b.cancel_with(reused).await);
    assert_eq!(refused.1, "REQUEST_ID_REUSED");

    let later = b.cancel("m", LONG).await.unwrap();
    assert!(later.result.unwrap().deduplicated);
    assert_eq!(deadlines(&a).await.len(), 1);
    let sooner = b.cancel("m", Duration::ZERO).await.unwrap();
    assert!(!sooner.result.unwrap().deduplicated);
    let begin = Instant::now();
    cancelled(&a, "m").await;
    assert!(begin.elapsed() < SECOND);
}

/// Writes without a pause, until a write is refused: why, and the sequence of the
/// last that was not.
async fn flood(clients: Clients) -> (String, u64) {
    const WINDOW: u64 = 200;
    let mut stream = WriteStream::open(&clients).await;
    for _ in 0..WINDOW {
        stream.send(Write::AppendText(append("m", "text "))).await;
    }
    let mut last = 0;
    loop {
        match stream.acks.message().await.unwrap().unwrap().response {
            Some(Response::Ack(ack)) => match ack.outcome.unwrap() {
                Outcome::Result(result) => last = result.sequence,
                Outcome::Error(error) => return (error.reason, last),
            },
            Some(Response::Notice(_)) => continue,
            None => panic!("a response says something"),
        }
        stream.send(Write::AppendText(append("m", "text "))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_never_stop_writing_are_ended_all_the_same() {
    let world = World::of(2).await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let mut floods = JoinSet::new();
    for number in 0..4 {
        floods.spawn(flood(world.either(number)));
    }
    let begin = Instant::now();
    b.cancel("m", SECOND / 2).await.unwrap();
    let floods = timeout(5 * SECOND, floods.join_all()).await;
    let took = begin.elapsed();
    let mut written = 0;
    for (refused, last) in floods.expect("somebody ends it") {
        let known = ["MESSAGE_TERMINAL", "WRITER_FENCED"];
        assert!(known.contains(&refused.as_str()), "{refused}");
        written = written.max(last);
    }
    assert!(took < 3 * SECOND, "{took:?}");
    eventually("the end of the message", || async {
        a.get("m").await.unwrap().state() == v1::MessageState::Cancelled
    })
    .await;
    let message = a.get("m").await.unwrap();
    assert_eq!(message.end_reason(), v1::EndReason::CancelRequested);
    assert!(message.sequence > written);
    println!("{written} events, ended after {took:?}");
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_nothing() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    let mut stream = WriteStream::open(&a).await;
    append_on(&mut stream, append("m", "x")).await;
    drop(stream);
    let written = world.b().append("m", "y").await.unwrap();
    assert!(!written.result.unwrap().cancel_requested);
    let message = a.get("m").await.unwrap();
    assert_eq!(message.state(), v1::MessageState::Streaming);
    assert!(!message.cancel_requested);
}
