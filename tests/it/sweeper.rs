//! What happens by itself, against what is written at the same moment: five
//! instances sweep, and each message ends once.

use std::time::Duration;

use throughline::proto::{self as v1, MessageState, event::Payload};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    support::{Clients, WRITER_GRACE, World, eventually, fold, refusal},
    write_stream::append,
    writer_lease::ends,
};

const RACES: usize = 500;
const TTL: Duration = Duration::from_millis(300);
/// So long that who sweeps knows of it before, and is there in time.
const CANCEL_GRACE: Duration = Duration::from_millis(700);

/// Two different instances for each race.
fn instances(world: &World, race: usize) -> (Clients, Clients) {
    (world.either(race), world.either(race + 1 + race % 4))
}

/// A moment at which a call has to be made to arrive at about `moment`, another
/// one in each race.
fn around(moment: Instant, race: usize) -> Instant {
    let spread = Duration::from_millis(120);
    let part = u32::try_from(race * 37 % 100).unwrap();
    moment - spread * 3 / 4 + spread * part / 100
}

/// The message has ended once, and its log adds up to it.
async fn assert_ended_once(clients: &Clients, message: &str) -> v1::Message {
    eventually("the end of the message", || async {
        clients.get(message).await.unwrap().state() != MessageState::Streaming
    })
    .await;
    let events = clients.events(message).await;
    assert_eq!(ends(&events), 1, "{message}");
    let last = events.last().unwrap();
    assert!(matches!(last.payload, Some(Payload::MessageEnd(_))));
    let ended = clients.get(message).await.unwrap();
    let folded = fold(&events);
    assert_eq!(folded.head.to_string(), ended.cursor);
    let text: String = folded
        .text_blocks()
        .filter_map(|block| block.content.as_ref()?.text())
        .collect();
    assert_eq!(text, ended.text);
    ended
}

/// A writer that renews and ends at about the moment at which it is given up.
async fn race_for_the_writer(clients: (Clients, Clients), race: usize) -> MessageState {
    let (one, other) = clients;
    let message = format!("m{race}");
    one.create(&message, v1::Role::Assistant).await.unwrap();
    one.append(&message, "a").await.unwrap();
    let fence = one.acquire(&message, "w", TTL).await.unwrap().fence;
    let lost = Instant::now() + TTL + WRITER_GRACE;
    let renew = |delta: &'static str| v1::AppendTextRequest {
        fence,
        ..append(&message, delta)
    };
    let renewal = async {
        sleep_until(around(lost, race)).await;
        match race % 3 {
            0 => other.acquire(&message, "w", TTL).await.map(drop),
            _ => other.append_with(renew("b")).await.map(drop),
        }
    };
    let end = async {
        sleep_until(around(lost, race * 7 + 13)).await;
        let request = v1::EndMessageRequest {
            message_id: message.clone(),
            fence,
            ..Default::default()
        };
        one.messages.clone().end_message(request).await
    };
    let (renewed, ended) = tokio::join!(renewal, end);
    let was_appended = renewed.is_ok() && !race.is_multiple_of(3);
    for refused in [renewed, ended.as_ref().map(drop).map_err(Clone::clone)] {
        if refused.is_err() {
            assert_eq!(refusal(refused).1, "MESSAGE_TERMINAL");
        }
    }
    let message = assert_ended_once(&other, &message).await;
    let expected = match ended {
        Ok(_) => (MessageState::Completed, v1::EndReason::Client),
        Err(_) => (MessageState::Interrupted, v1::EndReason::WriterLost),
    };
    assert_eq!((message.state(), message.end_reason()), expected);
    let text = if was_appended { "ab" } else { "a" };
    assert_eq!(message.text, text);
    message.state()
}

/// An end by the client at about the moment at which the service cancels.
async fn race_for_the_end(clients: (Clients, Clients), race: usize) -> MessageState {
    let (one, other) = clients;
    let message = format!("m{race}");
    one.create(&message, v1::Role::Assistant).await.unwrap();
    one.append(&message, "a").await.unwrap();
    let cancelled = other.cancel(&message, CANCEL_GRACE).await;
    assert_eq!(cancelled.unwrap().state(), MessageState::Streaming);
    sleep_until(around(Instant::now() + CANCEL_GRACE, race)).await;
    let (ended, again) = tokio::join!(
        one.end(&message, MessageState::Completed),
        other.cancel(&message, Duration::ZERO),
    );
    let again = again.unwrap();
    let message = assert_ended_once(&other, &message).await;
    let expected = match ended {
        Ok(_) => (MessageState::Completed, v1::EndReason::Client),
        Err(_) => (MessageState::Cancelled, v1::EndReason::CancelRequested),
    };
    if ended.is_err() {
        assert_eq!(refusal(ended).1, "MESSAGE_TERMINAL");
    }
    assert_eq!((message.state(), message.end_reason()), expected);
    assert!([MessageState::Streaming, message.state()].contains(&again.state()));
    message.state()
}

/// An end by the client and a request to cancel, at the same moment.
async fn race_with_a_request(clients: (Clients, Clients), race: usize) -> bool {
    let (one, other) = clients;
    let message = format!("r{race}");
    one.create(&message, v1::Role::Assistant).await.unwrap();
    let (ended, cancelled) = tokio::join!(
        one.end(&message, MessageState::Completed),
        other.cancel(&message, Duration::from_secs(60)),
    );
    ended.unwrap();
    let lost = cancelled.unwrap().state() == MessageState::Completed;
    let message = assert_ended_once(&other, &message).await;
    assert_eq!(message.state(), MessageState::Completed);
    assert_eq!(message.cancel_requested, !lost);
    lost
}

/// Runs the races, many at a time.
async fn run<T, F>(world: &World, race: impl Fn((Clients, Clients), usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    const AT_A_TIME: usize = 125;
    let mut outcomes = Vec::new();
    for first in (0..RACES).step_by(AT_A_TIME) {
        let numbers = first..first + AT_A_TIME;
        let races: JoinSet<T> = numbers
            .map(|number| race(instances(world, number), number))
            .collect();
        outcomes.extend(races.join_all().await);
    }
    outcomes
}

/// Both ends of a race have been won, or it was none.
fn assert_was_race<T: PartialEq + std::fmt::Debug>(outcomes: &[T]) {
    let first = &outcomes[0];
    let count = outcomes.iter().filter(|outcome| *outcome == first).count();
    println!("{first:?}: {count} of {}", outcomes.len());
    assert!(count < outcomes.len(), "always {first:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_and_ends_that_race_with_five_sweepers_leave_one_end() {
    let world = World::of(5).await;
    world.a().session("s").await;
    let outcomes = run(&world, race_for_the_writer).await;
    assert_was_race(&outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_that_race_with_ends_leave_one_end() {
    let world = World::of(5).await;
    world.a().session("s").await;
    assert_was_race(&run(&world, race_for_the_end).await);
    run(&world, race_with_a_request).await;
}

#[tokio::test]
async fn a_hint_that_is_wrong_costs_a_look_and_no_more() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().acquire("m", "w", 10 * TTL).await.unwrap();
    world.a().create("free", v1::Role::Assistant).await.unwrap();
    let before = world.redis.contents().await;
    for message in ["m", "free", "nobody"] {
        let _: u64 = world.redis.run(&["ZADD", "due", "1", message]).await;
    }
    eventually("the first look", || async {
        let due: Vec<String> = world.redis.run(&["ZRANGE", "due", "0", "-1"]).await;
        due == ["m"]
    })
    .await;
    eventually("the time of the message", || async {
        world.redis.contents().await == before
    })
    .await;
}

#[tokio::test]
async fn what_comes_due_while_redis_is_down_happens_when_it_is_back() {
    let mut world = World::start().await;
    let a = world.a();
    a.message("m").await;
    a.append("m", "partial").await.unwrap();
    a.acquire("m", "w", TTL).await.unwrap();
    world.redis.kill();
    sleep(TTL + WRITER_GRACE).await;
    world.redis.restart();
    let back = Instant::now();
    eventually("an answer", || async { a.get("m").await.is_ok() }).await;
    let ended = assert_ended_once(&a, "m").await;
    assert_eq!(ended.state(), MessageState::Interrupted);
    assert_eq!(ended.text, "partial");
    println!("after {:?}", back.elapsed());
}
