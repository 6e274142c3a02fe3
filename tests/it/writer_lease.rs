//! AcquireWriter: one writer at a time, and what becomes of a message without.

use std::time::Duration;

use throughline::{
    proto::{self as v1, write_ack::Outcome, write_message_request::Write},
    store::StoreOptions,
    wire::event::time_of,
};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    notices::notice,
    support::{
        Clients, Rpc, WRITER_GRACE, World, eventually, fold, refusal, renewal_of, text_block,
    },
    write_stream::{WriteStream, append},
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn fenced(fence: u64, delta: &str) -> v1::AppendTextRequest {
    v1::AppendTextRequest {
        fence,
        ..append("m", delta)
    }
}

fn takeover(writer: &str) -> v1::AcquireWriterRequest {
    v1::AcquireWriterRequest {
        message_id: "m".into(),
        writer_id: writer.into(),
        takeover: true,
        ..Default::default()
    }
}

/// Waits until the message has ended by itself: its events, checked.
async fn interrupted(clients: &Clients, message: &str) -> Vec<v1::Event> {
    eventually("the end of the message", || async {
        clients.get(message).await.unwrap().state() != v1::MessageState::Streaming
    })
    .await;
    let ended = clients.get(message).await.unwrap();
    assert_eq!(ended.state(), v1::MessageState::Interrupted);
    assert_eq!(ended.end_reason(), v1::EndReason::WriterLost);
    assert_eq!(ended.error, "the writer was lost");
    let events = clients.events(message).await;
    assert_eq!(fold(&events).head.to_string(), ended.cursor);
    events
}

/// How many of these events end a message.
pub(crate) fn ends(events: &[v1::Event]) -> usize {
    let is_end = |event: &&v1::Event| event.event_type() == v1::EventType::MessageEnd;
    events.iter().filter(is_end).count()
}

/// From the last text to the end.
fn time_to_interrupt(events: &[v1::Event]) -> Duration {
    let time = |event: Option<&v1::Event>| time_of(event.unwrap()).unwrap();
    let is_text = |event: &&v1::Event| event.event_type() == v1::EventType::TextDelta;
    let written = time(events.iter().rev().find(is_text));
    (time(events.last()) - written).to_std().unwrap()
}

#[tokio::test]
async fn with_a_writer_all_others_are_fenced() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    // Both know the message as one that anybody may write.
    for clients in [&a, &b] {
        clients.append("m", "before ").await.unwrap();
    }
    let fence = b.acquire("m", "w", LONG).await.unwrap().fence;
    let before = a.events("m").await;
    macro_rules! assert_fenced {
        ($($request:ident { $($field:ident: $value:expr),* }),* $(,)?) => {$(
            for fence in [0, fence - 1, fence + 1] {
                for clients in [&a, &b] {
                    let request = v1::$request {
                        message_id: "m".into(),
                        fence,
                        $($field: $value,)*
                        ..Default::default()
                    };
                    let refused = refusal(request.send(clients).await);
                    assert_eq!(refused, (Code::Aborted, "WRITER_FENCED".into()));
                }
            }
        )*};
    }
    assert_fenced!(
        AppendTextRequest { delta: "x".into() },
        AppendTextRequest {
            delta: "x".into(),
            request_id: "r".into()
        },
        AppendTextRequest {
            delta: "x".into(),
            expected_offset: Some(14)
        },
        AddContentRequest {
            block: Some(text_block("x"))
        },
        PublishEventRequest {
            name: "noticed".into()
        },
        StartTaskRequest {
            task_type: "search".into()
        },
        EndMessageRequest {
            error: String::new()
        },
    );
    let mut stream = WriteStream::open(&a).await;
    stream.send(Write::AppendText(append("m", "x"))).await;
    match stream.ack().await.outcome {
        Some(Outcome::Error(error)) => assert_eq!(error.reason, "WRITER_FENCED"),
        other => panic!("a refusal was expected, not {other:?}"),
    }
    assert_eq!(a.events("m").await, before, "nothing was written");

    for clients in [&a, &b] {
        clients.append_with(fenced(fence, "x")).await.unwrap();
    }
    stream.send(Write::AppendText(fenced(fence, "y"))).await;
    stream.sequences(1).await;
    let text = a.get("m").await.unwrap().text;
    assert_eq!(text, "before before xxy");
}

#[tokio::test]
async fn a_writer_gets_its_lease_again_and_others_only_by_taking_it() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let first = a.acquire("m", "w1", LONG).await.unwrap();
    let again = b.acquire("m", "w1", LONG).await.unwrap();
    assert_eq!(again.fence, first.fence);
    assert!(again.lease_expire_time.unwrap().seconds >= first.lease_expire_time.unwrap().seconds);

    let refused = b.acquire("m", "w2", LONG).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(info.reason, "WRITER_PRESENT");
    assert_eq!(info.metadata["writer_id"], "w1");

    a.append_with(fenced(first.fence, "one ")).await.unwrap();
    let second = b.acquire_with(takeover("w2")).await.unwrap();
    assert!(second.fence > first.fence);
    assert_eq!(second.message.unwrap().text, "one ");
    let refused = refusal(a.append_with(fenced(first.fence, "x")).await);
    assert_eq!(refused, (Code::Aborted, "WRITER_FENCED".into()));
    a.append_with(fenced(second.fence, "two")).await.unwrap();
    assert_eq!(a.get("m").await.unwrap().text, "one two");
}

#[tokio::test]
async fn a_stream_of_writes_hears_at_once_that_another_writer_took_the_lease() {
    let world = World::start().await;
    let (a, b) = (world.a(), world.b());
    a.message("m").await;
    let fence = a.acquire("m", "w1", LONG).await.unwrap().fence;
    let mut stream = WriteStream::open(&a).await;
    stream.send(Write::AppendText(fenced(fence, "x"))).await;
    stream.sequences(1).await;

    let begin = Instant::now();
    let fence = b.acquire_with(takeover("w2")).await.unwrap().fence;
    let told = notice(&mut stream).await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    let expected = v1::WriteNotice {
        message_id: "m".into(),
        fenced: true,
        ..Default::default()
    };
    assert_eq!(told, expected);

    // It goes on hearing: of the next one, and of the end.
    let fence = a
        .acquire_with(takeover("w3"))
        .await
        .unwrap()
        .fence
        .max(fence);
    assert_eq!(notice(&mut stream).await, expected);
    let end = v1::EndMessageRequest {
        message_id: "m".into(),
        fence,
        ..Default::default()
    };
    b.messages.clone().end_message(end).await.unwrap();
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut stream).await.ended(), state);
}

#[tokio::test]
async fn a_message_whose_producer_was_killed_is_interrupted_once_by_one_of_five_instances() {
    const MESSAGES: usize = 40;
    let world = World::of(5).await;
    world.a().session("s").await;
    let mut producers = Vec::new();
    for number in 0..MESSAGES {
        let message = format!("m{number}");
        let clients = world.either(number);
        clients.create(&message, v1::Role::Assistant).await.unwrap();
        clients.start_task(&message, "t").await.unwrap();
        let fence = clients.acquire(&message, "w", SHORT).await.unwrap().fence;
        let stream = WriteStream::open(&clients).await;
        let append = v1::AppendTextRequest {
            fence,
            ..append(&message, "partial")
        };
        stream.send(Write::AppendText(append)).await;
        producers.push((message, stream));
    }
    for (_, stream) in &mut producers {
        stream.sequences(1).await;
    }
    let mut watch = world.b().watch("m0", "0").await;
    let mut messages = Vec::new();
    for (message, stream) in producers {
        drop(stream);
        messages.push(message);
    }
    let mut latest = Duration::ZERO;
    for (number, message) in messages.iter().enumerate() {
        let events = interrupted(&world.either(number), message).await;
        assert_eq!(ends(&events), 1);
        latest = latest.max(time_to_interrupt(&events));
        let ended = world.a().get(message).await.unwrap();
        assert_eq!(ended.text, "partial");
        assert_eq!(ended.tasks[0].status(), v1::TaskStatus::Cancelled);
    }
    println!("interrupted at most {latest:?} after the last write");
    assert!(latest >= SHORT + WRITER_GRACE);
    assert!(latest < SHORT + WRITER_GRACE + Duration::from_secs(1));
    assert_eq!(watch.end_of_message().await, v1::EndReason::WriterLost);
    let due: u64 = world.redis.run(&["ZCARD", "due"]).await;
    assert_eq!(due, 0, "nothing is left to be done");
}

#[tokio::test]
async fn writes_renew_the_lease_and_so_does_to_acquire_it_again() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.create("silent", v1::Role::Assistant).await.unwrap();
    let fence = a.acquire("m", "w", SHORT).await.unwrap().fence;
    let begin = Instant::now();
    while begin.elapsed() < 2 * (SHORT + WRITER_GRACE) {
        world.b().append_with(fenced(fence, "x")).await.unwrap();
        a.acquire("silent", "w", SHORT).await.unwrap();
        sleep(SHORT / 3).await;
    }
    for message in ["m", "silent"] {
        let state = a.get(message).await.unwrap().state();
        assert_eq!(state, v1::MessageState::Streaming);
    }
    // It ends as soon as nobody writes any more.
    interrupted(&a, "m").await;
    interrupted(&a, "silent").await;
}

#[tokio::test]
async fn a_lease_that_has_run_out_can_be_renewed_or_taken_until_the_grace_is_over() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    let first = a.acquire("m", "w1", SHORT).await.unwrap();
    sleep(SHORT + WRITER_GRACE / 4).await;
    a.append_with(fenced(first.fence, "late ")).await.unwrap();
    sleep(SHORT + WRITER_GRACE / 4).await;
    let second = world.b().acquire("m", "w2", LONG).await.unwrap();
    assert!(second.fence > first.fence);
    assert_eq!(second.message.unwrap().text, "late ");
    sleep(WRITER_GRACE).await;
    let state = a.get("m").await.unwrap().state();
    assert_eq!(state, v1::MessageState::Streaming);
}

#[tokio::test]
async fn the_next_writer_can_repeat_the_last_write_of_the_one_before() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    let first = a.acquire("m", "w1", LONG).await.unwrap().fence;
    let last = |fence| v1::AppendTextRequest {
        request_id: "last".into(),
        ..fenced(fence, "text")
    };
    a.append_with(last(first)).await.unwrap();
    let second = a.acquire_with(takeover("w2")).await.unwrap().fence;
    assert_ne!(first, second);
    let repeated = world.b().append_with(last(second)).await.unwrap();
    assert!(repeated.result.unwrap().deduplicated);
    assert_eq!(a.get("m").await.unwrap().text, "text");
}

#[tokio::test]
async fn workers_of_its_tasks_do_not_keep_a_lost_writer_alive() {
    let world = World::start().await;
    let a = world.a();
    a.started("t", "render").await;
    a.acquire("m", "w", SHORT).await.unwrap();
    let lost = Instant::now();
    let task = a.claim("render").await;
    let mut progress = 0.0;
    while a.get("m").await.unwrap().state() == v1::MessageState::Streaming {
        progress += 0.01;
        let news = v1::TaskRenewal {
            progress: Some(progress),
            ..renewal_of(&task)
        };
        a.renew(vec![news]).await.unwrap();
        a.renew(vec![renewal_of(&task)]).await.unwrap();
        assert!(lost.elapsed() < SHORT + WRITER_GRACE + Duration::from_secs(1));
        sleep(SHORT / 5).await;
    }
    interrupted(&a, "m").await;
}

#[tokio::test]
async fn what_others_write_does_not_keep_a_lost_writer_alive() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.acquire("m", "w", SHORT).await.unwrap();
    let lost = Instant::now();
    let mut grace = 600;
    while a.get("m").await.unwrap().state() == v1::MessageState::Streaming {
        // Each brings the end forward, and is an event.
        grace -= 1;
        a.cancel("m", Duration::from_secs(grace)).await.unwrap();
        assert!(lost.elapsed() < SHORT + WRITER_GRACE + Duration::from_secs(1));
        sleep(SHORT / 5).await;
    }
    assert!(grace < 599, "{grace}");
    interrupted(&a, "m").await;
}

#[tokio::test]
async fn a_live_lease_keeps_its_message_alive() {
    let ttl = Duration::from_millis(800);
    let world = World::with(StoreOptions {
        message_ttl: ttl,
        ..StoreOptions::default()
    })
    .await;
    let a = world.a();
    a.message("m").await;
    a.append("m", "text").await.unwrap();
    a.create("left", v1::Role::Assistant).await.unwrap();
    a.acquire("m", "w", 4 * ttl).await.unwrap();
    eventually("the end of the other message", || async {
        a.get("left").await.is_err()
    })
    .await;
    sleep(2 * ttl).await;
    assert_eq!(a.get("m").await.unwrap().text, "text");
    interrupted(&a, "m").await;
}

#[tokio::test]
async fn a_message_that_has_ended_or_is_gone_has_no_writer() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.acquire("m", "w", SHORT).await.unwrap();
    a.delete("m").await.unwrap();
    assert_eq!(world.redis.run::<u64>(&["ZCARD", "due"]).await, 0);
    let refused = refusal(a.acquire("m", "w", SHORT).await);
    assert_eq!(refused, (Code::NotFound, "MESSAGE_NOT_FOUND".into()));
    a.message("m").await;
    a.complete("m").await;
    let refused = refusal(a.acquire("m", "w", SHORT).await);
    let terminal = (Code::FailedPrecondition, "MESSAGE_TERMINAL".into());
    assert_eq!(refused, terminal);
}

#[tokio::test]
async fn writers_and_watchers_are_told_when_everything_is_flushed() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    let fence = a.acquire("m", "w", SHORT).await.unwrap().fence;
    let mut stream = WriteStream::open(&a).await;
    stream.send(Write::AppendText(fenced(fence, "x"))).await;
    stream.sequences(1).await;
    let mut watch = world.b().watch("m", "").await;
    watch.snapshot().await;
    let _: String = world.redis.run(&["FLUSHALL"]).await;

    assert!(notice(&mut stream).await.gone);
    watch.end().await;
    stream.send(Write::AppendText(fenced(fence, "y"))).await;
    match stream.ack().await.outcome {
        Some(Outcome::Error(error)) => assert_eq!(error.reason, "MESSAGE_NOT_FOUND"),
        other => panic!("a refusal was expected, not {other:?}"),
    }
    // And all goes on, with a message of the same id as well.
    a.message("m").await;
    let refused = refusal(a.append_with(fenced(fence, "x")).await);
    assert_eq!(refused, (Code::Aborted, "WRITER_FENCED".into()));
    let again = a.acquire("m", "w", SHORT).await.unwrap();
    assert!(again.fence > fence);
    interrupted(&a, "m").await;
}
