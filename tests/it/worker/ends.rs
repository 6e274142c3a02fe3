//! How an attempt is stopped from outside, and how soon a watcher sees what a model says.

use std::time::{Duration, Instant};

use throughline::proto::{
    self as v1, StopReason,
    TaskStatus::{Cancelled, Completed, Pending},
    Workflow::Simple,
    event::Payload,
    watch_message_response::Frame,
};
use tokio::time::timeout;

use super::{
    endpoint::{Act, say},
    stage::{Stage, request},
};
use crate::support::{Program, eventually, soon};

#[tokio::test]
async fn a_cancel_drops_the_models_stream_within_a_second() {
    for said in ["Half an ans", ""] {
        let stage = Stage::set(move |_, _| Act::Hang(said)).await;
        let task = stage.submit(Simple, "Hi").await;
        stage.model.was_asked(1).await;
        let clients = stage.clients();
        eventually("the text so far", || async {
            clients.get(&task.message_id).await.unwrap().text == said
        })
        .await;
        let asked_at = Instant::now();
        clients
            .cancel(&task.message_id, Duration::from_secs(10))
            .await
            .unwrap();
        let gone = || stage.model.asked()[0].gone;
        eventually("the end of the stream", || async { gone().is_some() }).await;
        assert!(gone().unwrap() - asked_at < Duration::from_secs(1));
        let ended = stage.ended(&task).await;
        assert_eq!(ended.result(), (Cancelled, StopReason::Cancelled, said));
        assert_eq!(ended.usage().model_calls, 1);
        assert_eq!(ended.message.state(), v1::MessageState::Cancelled);
    }
}

#[tokio::test]
async fn a_stop_lets_tasks_finish_and_gives_back_what_takes_longer() {
    let script = |_: &_, number| match number {
        0 => Act::Say("One two three four".into(), Duration::from_millis(50)),
        1 => Act::Hang("Half"),
        _ => say("Whole."),
    };
    let mut stage = Stage::with(&["--worker-grace", "1s"], script).await;
    let quick = stage.submit(Simple, "Hi").await;
    stage.model.was_asked(1).await;
    let slow = stage.submit(Simple, "Hi").await;
    stage.model.was_asked(2).await;
    soon("the stop", stage.worker.take().unwrap().stop()).await;
    let ended = stage.ended(&quick).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "One two three four")
    );
    let clients = stage.clients();
    let slow = clients.task(&slow.message_id, &slow.task_id).await;
    assert_eq!((slow.status(), slow.released), (Pending, 1));
    stage.hire(&[]);
    let ended = stage.ended(&slow).await;
    // The attempt that was given back does not count, and what it took does.
    assert_eq!(ended.result(), (Completed, StopReason::Done, "Whole."));
    assert_eq!(ended.usage().model_calls, 2);
}

#[tokio::test]
async fn a_failed_attempt_is_made_again_and_what_it_wrote_is_withdrawn() {
    let script = |_: &_, number| match number {
        0 => Act::Events(vec![super::endpoint::delta("Half an ans")]),
        _ => say("The whole answer."),
    };
    let stage = Stage::set(script).await;
    let task = v1::SubmitTaskRequest {
        max_attempts: 2,
        ..request(Simple, "Hi")
    };
    let ended = stage.ended(&stage.submit_with(task).await).await;
    assert_eq!(
        ended.result(),
        (Completed, StopReason::Done, "The whole answer.")
    );
    assert_eq!((ended.task.attempt, ended.usage().model_calls), (2, 2));
}

#[tokio::test]
async fn a_service_runs_a_worker_beside_it_and_stops_it_first() {
    let stage = Stage::without_worker(|_, number| match number {
        0 => say("Hello."),
        _ => Act::Hang("Half"),
    })
    .await;
    let flags = [
        "--with-worker",
        "--llm-model",
        "m",
        "--worker-grace",
        "200ms",
    ];
    let url = ["--llm-url", stage.model.url.as_str()];
    let mut program = Program::serve_on(&stage.world.redis, &[&flags[..], &url].concat()).await;
    let ended = stage.done(Simple, "Hi").await;
    assert_eq!(ended.result(), (Completed, StopReason::Done, "Hello."));
    let slow = stage.submit(Simple, "Hi").await;
    stage.model.was_asked(2).await;
    program.terminate();
    assert!(program.ended().await.success());
    let slow = stage.clients().task(&slow.message_id, &slow.task_id).await;
    assert_eq!((slow.status(), slow.released), (Pending, 1));
}

#[tokio::test]
async fn a_second_signal_cuts_the_worker_beside_a_service() {
    let stage = Stage::without_worker(|_, _| Act::Hang("Half")).await;
    // Longer than this test waits for anything.
    let flags = ["--with-worker", "--llm-model", "m", "--worker-grace", "10m"];
    let url = ["--llm-url", stage.model.url.as_str()];
    let mut program = Program::serve_on(&stage.world.redis, &[&flags[..], &url].concat()).await;
    stage.submit(Simple, "Hi").await;
    stage.model.was_asked(1).await;
    // Two that come before it looks are one to it.
    let ended = soon("the program's end", async {
        loop {
            program.terminate();
            let soon = timeout(Duration::from_millis(100), program.ended());
            if let Ok(ended) = soon.await {
                break ended;
            }
        }
    });
    assert!(ended.await.success());
}

/// From the model's first token to a watcher on another instance than the worker's.
/// It takes a few milliseconds. The bar is far above that, so that a busy machine does
/// not fail it, and below what waiting for any timer would take.
#[tokio::test]
async fn the_first_token_is_seen_at_once() {
    let stage = Stage::set(|_, _| Act::Say("One two three".into(), Duration::from_millis(5))).await;
    let mut latencies = Vec::new();
    for number in 0..100 {
        let task = stage.submit(Simple, "Hi").await;
        let mut watch = stage.world.a().watch(&task.message_id, "0").await;
        soon("the first token", async {
            loop {
                let event = watch.frame().await;
                if let Frame::Event(event) = event
                    && let Some(Payload::TextDelta(_)) = event.payload
                {
                    break;
                }
            }
        })
        .await;
        let seen = Instant::now();
        let sent = stage.model.asked()[number].first_token.unwrap();
        latencies.push(seen.saturating_duration_since(sent));
        stage.ended(&task).await;
    }
    latencies.sort();
    let (median, p90, p99) = (latencies[50], latencies[90], latencies[98]);
    println!("first token, model to watcher: p50 {median:?}, p90 {p90:?}, p99 {p99:?}");
    assert!(p90 < Duration::from_millis(100), "{latencies:?}");
}
