//! What workers say of their work when they end a task.

use throughline::proto::{self as v1, event::Payload};

use super::terminal;
use crate::support::{World, failure_of, fold, refusal, result_of, start_of, update_of};

use v1::{
    StopReason,
    TaskStatus::{Cancelled, Completed, Failed, Pending},
};

fn outcome(stop_reason: StopReason) -> Option<v1::TaskOutcome> {
    Some(v1::TaskOutcome {
        stop_reason: stop_reason.into(),
        usage: Some(v1::TaskUsage {
            model_calls: 8,
            input_tokens: 1 << 33,
            output_tokens: u64::MAX,
            tool_calls: u32::MAX,
        }),
    })
}

/// The task in the event that ended it.
fn ended(events: &[v1::Event]) -> Option<&v1::Task> {
    events.iter().find_map(|event| match &event.payload {
        Some(Payload::TaskCompleted(v1::TaskCompleted { task })) => task.as_ref(),
        Some(Payload::TaskFailed(v1::TaskFailed { task })) => task.as_ref(),
        Some(Payload::TaskCancelled(v1::TaskCancelled { task })) => task.as_ref(),
        _ => None,
    })
}

#[tokio::test]
async fn what_a_worker_says_of_its_work_is_in_the_last_event_of_the_task_and_stays_there() {
    for (status, reason) in [
        (Completed, StopReason::MaxIterations),
        (Failed, StopReason::Error),
        (Cancelled, StopReason::Cancelled),
    ] {
        let world = World::start().await;
        let clients = world.a();
        clients.started("t", "critic").await;
        let task = clients.claim("critic").await;
        assert_eq!(task.outcome, None);
        let update = v1::UpdateTaskRequest {
            outcome: outcome(reason),
            ..update_of(&task, status)
        };
        let answer = clients.update_task(update.clone()).await.unwrap();
        assert_eq!(answer.task.as_ref().unwrap().outcome, update.outcome);
        assert_eq!(world.b().task("m", "t").await.outcome, update.outcome);
        let events = clients.events("m").await;
        assert_eq!(ended(&events).unwrap().outcome, update.outcome);
        let again = world.b().update_task(update).await.unwrap();
        assert!(again.result.unwrap().deduplicated);
        assert_eq!(again.task, answer.task);
        assert_eq!(clients.events("m").await, events);
    }
}

#[tokio::test]
async fn an_update_that_says_something_else_of_the_work_is_no_repeat() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "critic").await;
    let task = clients.claim("critic").await;
    let done = v1::UpdateTaskRequest {
        outcome: outcome(StopReason::Done),
        ..result_of(&task, "an answer")
    };
    clients.update_task(done.clone()).await.unwrap();
    let said = done.outcome.unwrap();
    let usage = said.usage.unwrap();
    let others = [
        None,
        Some(v1::TaskOutcome::default()),
        outcome(StopReason::Budget),
        Some(v1::TaskOutcome {
            usage: None,
            ..said
        }),
        Some(v1::TaskOutcome {
            usage: Some(v1::TaskUsage {
                tool_calls: usage.tool_calls - 1,
                ..usage
            }),
            ..said
        }),
    ];
    for outcome in others {
        let other = v1::UpdateTaskRequest {
            outcome,
            ..done.clone()
        };
        let answer = world.b().update_task(other).await;
        assert_eq!(refusal(answer), terminal(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_message_that_ends_with_its_task_shows_how_the_work_ended() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let submit = v1::SubmitTaskRequest {
        session_id: "s".into(),
        task_description: "think it over".into(),
        workflow: v1::Workflow::Critic.into(),
        ..Default::default()
    };
    clients.submit(submit).await.unwrap();
    let task = world.b().claim("critic").await;
    let done = v1::UpdateTaskRequest {
        outcome: outcome(StopReason::Done),
        ..result_of(&task, "an answer")
    };
    clients.update_task(done.clone()).await.unwrap();
    let message = world.b().get(&task.message_id).await.unwrap();
    assert_eq!(message.state(), v1::MessageState::Completed);
    assert_eq!(message.tasks[0].outcome, done.outcome);
    let again = world.b().update_task(done).await.unwrap();
    assert!(again.result.unwrap().deduplicated);
}

#[tokio::test]
async fn of_attempts_that_failed_only_the_last_one_says_how_the_work_ended() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let start = v1::StartTaskRequest {
        max_attempts: 2,
        ..start_of("m", "t", "critic")
    };
    clients.start(start).await.unwrap();
    for (reason, status, kept) in [
        (StopReason::Length, Pending, None),
        (StopReason::Error, Failed, outcome(StopReason::Error)),
    ] {
        let task = world.b().claim("critic").await;
        assert_eq!(task.outcome, None);
        let failed = v1::UpdateTaskRequest {
            outcome: outcome(reason),
            ..failure_of(&task, "no luck")
        };
        let failed = clients.update_task(failed).await.unwrap().task.unwrap();
        assert_eq!((failed.status(), failed.outcome), (status, kept));
        assert_eq!(world.b().task("m", "t").await.outcome, kept);
    }
    let task = world.b().task("m", "t").await;
    let again = v1::UpdateTaskRequest {
        outcome: task.outcome,
        ..failure_of(&task, "no luck")
    };
    let again = clients.update_task(again).await.unwrap();
    assert!(again.result.unwrap().deduplicated);
    let events = clients.events("m").await;
    assert_eq!(ended(&events).unwrap().outcome, outcome(StopReason::Error));
    let told = events.iter().filter_map(|event| match &event.payload {
        Some(Payload::TaskProgress(progress)) => progress.task.as_ref(),
        _ => None,
    });
    assert!(told.into_iter().all(|task| task.outcome.is_none()));
    let folded = fold(&events).tasks.remove(0);
    assert_eq!(
        folded.outcome.unwrap().stop_reason,
        Some(throughline::domain::task::StopReason::Error)
    );
}
