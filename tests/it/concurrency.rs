//! Many writers on one message, through both instances: nothing is lost,
//! nothing is numbered twice.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use throughline::{
    proto::{
        self as v1, EventType, MessageState, event::Payload, write_ack::Outcome,
        write_message_request::Write,
    },
    store::StoreOptions,
    wire::message::message_to_v1,
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::{
    support::{Clients, World, eventually, fold, named, open, refusal, text_block},
    write_stream::WriteStream,
};

const WRITERS: usize = 4;

/// Two instances that retain the whole log of every test, with message `m`.
async fn world() -> World {
    let world = World::with(StoreOptions {
        retained_entries: 10_000,
        ..StoreOptions::default()
    })
    .await;
    world.a().message("m").await;
    world
}

/// Each delta is unique, and its end is seen.
fn delta(writer: usize, turn: usize) -> String {
    format!("{writer}.{turn};")
}

fn append(message: &str, delta: &str, request: &str) -> v1::AppendTextRequest {
    v1::AppendTextRequest {
        message_id: message.into(),
        delta: delta.into(),
        request_id: request.into(),
        ..Default::default()
    }
}

/// What an append was answered: the sequence and offset of its delta.
type Acked = (u64, u64, String);

fn acked(response: v1::AppendTextResponse, delta: String) -> Acked {
    let result = response.result.unwrap();
    (result.sequence, response.offset, delta)
}

/// The deltas of a log, as their writers should have been answered.
fn deltas(events: &[v1::Event]) -> BTreeSet<Acked> {
    let deltas = events.iter().filter_map(|event| match &event.payload {
        Some(Payload::TextDelta(delta)) => {
            Some((event.sequence, delta.offset, delta.delta.clone()))
        }
        _ => None,
    });
    deltas.collect()
}

async fn all<T: 'static>(tasks: JoinSet<Vec<T>>) -> Vec<T> {
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The message as events from the first one on make it.
fn state_of(events: &[v1::Event]) -> v1::Message {
    let folded = fold(events);
    let contents = folded.text_blocks().filter_map(|b| b.content.as_ref());
    let text: String = contents.filter_map(|content| content.text()).collect();
    message_to_v1(folded, text, false)
}

/// The log adds up to what GetMessage answers, field by field.
async fn assert_log_is_state(clients: &Clients, message: &str) -> Vec<v1::Event> {
    let events = clients.events(message).await;
    let folded = state_of(&events);
    let stored = clients.get(message).await.unwrap();
    for (stored, folded) in stored.blocks.iter().zip(&folded.blocks) {
        assert_eq!(stored, folded);
    }
    assert!(stored == folded, "state is the fold of the log");
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_are_all_written_once() {
    let world = world().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let instances = [world.a(), world.b()];
        writers.spawn(async move {
            let mut answers = Vec::new();
            for turn in 0..2_000 / WRITERS {
                let delta = delta(writer, turn);
                let instance = &instances[(writer + turn) % 2];
                answers.push(acked(instance.append("m", &delta).await.unwrap(), delta));
            }
            answers
        });
    }
    let answers = all(writers).await;
    let answered: BTreeSet<Acked> = answers.iter().cloned().collect();
    assert_eq!(answered.len(), 2_000, "no place was given twice");

    let events = assert_log_is_state(&world.a(), "m").await;
    assert_eq!(deltas(&events), answered);
    let text: String = answered.into_iter().map(|(_, _, delta)| delta).collect();
    assert_eq!(world.b().get("m").await.unwrap().text, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_sent_twice_to_different_instances_are_written_once() {
    let world = world().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (a, b) = (world.a(), world.b());
        writers.spawn(async move {
            let mut answers = Vec::new();
            for turn in 0..2_000 / WRITERS {
                let delta = delta(writer, turn);
                let request = append("m", &delta, &format!("{writer}.{turn}"));
                let (one, two) =
                    tokio::join!(a.append_with(request.clone()), b.append_with(request));
                let (one, two) = (one.unwrap(), two.unwrap());
                let repeats = [&one, &two].map(|r| r.result.as_ref().unwrap().deduplicated);
                assert!(repeats[0] != repeats[1], "one of both wrote: {repeats:?}");
                // The repeat gets the first answer.
                assert_eq!(one.block_id, two.block_id);
                assert_eq!(acked(one, delta.clone()), acked(two.clone(), delta.clone()));
                answers.push(acked(two, delta));
            }
            answers
        });
    }
    let answered: BTreeSet<Acked> = all(writers).await.into_iter().collect();
    let events = assert_log_is_state(&world.b(), "m").await;
    assert_eq!(deltas(&events), answered);
    assert_eq!(answered.len(), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_structure_and_appends_do_not_lose_each_other() {
    const TURNS: usize = 100;
    let world = world().await;
    world.a().start_task("m", "t").await.unwrap();

    // Each answers with the sequence it was given and what it has written.
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let instances = [world.a(), world.b()];
        writers.spawn(async move {
            let mut answers = Vec::new();
            for turn in 0..TURNS {
                let delta = delta(writer, turn);
                let response = instances[turn % 2].append("m", &delta).await.unwrap();
                answers.push((response.result.unwrap().sequence, delta));
            }
            answers
        });
    }
    let b = world.b();
    writers.spawn(async move {
        let mut answers = Vec::new();
        for turn in 0..TURNS {
            let name = format!("custom-{turn}");
            answers.push((b.publish("m", &name).await.unwrap().sequence, name));
        }
        answers
    });
    let a = world.a();
    writers.spawn(async move {
        let mut answers = Vec::new();
        for turn in 0..TURNS {
            let text = format!("block {turn}");
            let response = a.add("m", text_block(&text)).await.unwrap();
            answers.push((response.result.unwrap().sequence, text));
        }
        answers
    });
    let b = world.b();
    writers.spawn(async move {
        let mut answers = Vec::new();
        for turn in 0..TURNS {
            let status = format!("step {turn}");
            let request = v1::UpdateTaskRequest {
                message_id: "m".into(),
                task_id: "t".into(),
                status: v1::TaskStatus::Processing.into(),
                status_text: Some(status.clone()),
                ..Default::default()
            };
            let response = b.update_task(request).await.unwrap();
            answers.push((response.result.unwrap().sequence, status));
        }
        answers
    });

    let answers = all(writers).await;
    let answered: BTreeSet<(u64, String)> = answers.iter().cloned().collect();
    assert_eq!(answered.len(), (WRITERS + 3) * TURNS);
    let events = assert_log_is_state(&world.a(), "m").await;
    assert_eq!(written(&events), answered);
}

/// What the writers above wrote: a log has besides the start of the message and
/// of the task, and the blocks that were opened for text.
fn written(events: &[v1::Event]) -> BTreeSet<(u64, String)> {
    let written = events.iter().filter_map(|event| {
        let what = match event.payload.clone()? {
            Payload::TextDelta(delta) => delta.delta,
            Payload::Custom(custom) => custom.name,
            Payload::TaskProgress(progress) => progress.task?.status_text,
            Payload::ContentAdded(added) => match added.block?.content? {
                v1::content_block::Content::Text(text) => match text.source? {
                    v1::text_content::Source::Text(text) if !text.is_empty() => text,
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        };
        Some((event.sequence, what))
    });
    written.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_races_appends_comes_after_all_that_were_acknowledged() {
    let world = world().await;
    for round in 0..20 {
        let message = format!("m{round}");
        world
            .a()
            .create(&message, v1::Role::Assistant)
            .await
            .unwrap();
        let written = AtomicUsize::new(0);
        let race = async |writer: usize| {
            let mut answers = Vec::new();
            for turn in 0.. {
                let delta = delta(writer, turn);
                match world.either(writer).append(&message, &delta).await {
                    Ok(response) => answers.push(acked(response, delta)),
                    Err(status) => {
                        let why = refusal::<()>(Err(status));
                        assert_eq!(why, (Code::FailedPrecondition, "MESSAGE_TERMINAL".into()));
                        break;
                    }
                }
                written.fetch_add(1, Ordering::Relaxed);
            }
            answers
        };
        let end = async |instance: Clients, state: MessageState| {
            eventually("some text is written", async || {
                written.load(Ordering::Relaxed) > 3 * round
            })
            .await;
            instance.end(&message, state).await
        };
        let (one, two, three, four, completed, failed) = tokio::join!(
            race(0),
            race(1),
            race(2),
            race(3),
            end(world.a(), MessageState::Completed),
            end(world.b(), MessageState::Failed),
        );

        let events = assert_log_is_state(&world.a(), &message).await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type(), EventType::MessageEnd);
        let ends = events
            .iter()
            .filter(|e| e.event_type() == EventType::MessageEnd);
        assert_eq!(ends.count(), 1);
        let (won, lost) = match completed {
            Ok(won) => (won, refusal(failed)),
            Err(status) => (failed.unwrap(), refusal::<()>(Err(status))),
        };
        assert_eq!(won.sequence, last.sequence);
        assert_eq!(lost, (Code::FailedPrecondition, "MESSAGE_TERMINAL".into()));
        let answered = [one, two, three, four].concat().into_iter().collect();
        assert_eq!(deltas(&events), answered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_text_that_is_being_written_is_read_as_it_was_at_its_cursor() {
    const TURNS: usize = 60;
    let world = world().await;
    let long_block = |turn: usize| {
        let text = format!("{turn:04}").repeat(5_000);
        open(named("long", text_block(&text)))
    };
    world.a().add("m", long_block(0)).await.unwrap();

    let mut writers = JoinSet::new();
    let a = world.a();
    writers.spawn(async move {
        for turn in 0..4 * TURNS {
            a.append("m", &delta(0, turn)).await.unwrap();
        }
    });
    let b = world.b();
    writers.spawn(async move {
        for turn in 1..TURNS {
            let request = v1::UpdateContentRequest {
                message_id: "m".into(),
                block: Some(long_block(turn)),
                ..Default::default()
            };
            b.clone().messages.update_content(request).await.unwrap();
            b.publish("m", "rewritten").await.unwrap();
        }
    });
    let mut read = Vec::new();
    while !writers.is_empty() {
        read.push(world.either(read.len()).get("m").await.unwrap());
        writers.try_join_next().transpose().unwrap();
    }

    let events = world.a().events("m").await;
    for message in read {
        let until = events.partition_point(|event| event.sequence <= message.sequence);
        assert!(
            message == state_of(&events[..until]),
            "at {}",
            message.cursor
        );
    }
}

#[tokio::test]
async fn who_comes_second_to_open_a_block_is_not_held_up_by_those_who_write_to_it() {
    const STREAMS: usize = 8;
    const WRITES: usize = 6_000;
    const WINDOW: usize = 200;
    let world = world().await;
    let mut writers = JoinSet::new();
    for number in 0..STREAMS {
        let clients = world.either(number);
        writers.spawn(async move {
            let mut stream = WriteStream::open(&clients).await;
            for turn in 0..WRITES + WINDOW {
                if turn < WRITES {
                    let append = append("m", &delta(number, turn), "");
                    stream.send(Write::AppendText(append)).await;
                }
                if turn >= WINDOW {
                    let outcome = stream.ack().await.outcome.unwrap();
                    assert!(matches!(outcome, Outcome::Result(_)), "{outcome:?}");
                }
            }
        });
    }
    writers.join_all().await;
    let message = world.a().get("m").await.unwrap();
    assert_eq!(message.blocks.len(), 1);
    assert_eq!(message.text.matches(';').count(), STREAMS * WRITES);
}
