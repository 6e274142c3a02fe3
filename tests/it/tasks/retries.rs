//! What becomes of tasks whose attempts fail, or that take too long.

use std::time::Duration;

use throughline::proto::{self as v1, event::Payload};
use tonic::Code;

use crate::support::{
    World, claim_of, failure_of, fold, invalid_field, refusal, renewal_of, start_of, update_of,
};

use v1::TaskStatus::{Failed, Pending, Processing};

fn duration(millis: u64) -> Option<prost_types::Duration> {
    Some(Duration::from_millis(millis).try_into().unwrap())
}

fn micros(time: Option<prost_types::Timestamp>) -> i64 {
    let time = time.unwrap();
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

#[tokio::test]
async fn an_attempt_that_fails_is_followed_by_another_one_after_a_while() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let mut task = world.a().claim("render").await;
    for (attempt, delay) in [(1, 1.0), (2, 2.0)] {
        assert_eq!(task.attempt, attempt);
        let failed = v1::UpdateTaskRequest {
            retry_delay: None,
            ..failure_of(&task, "no luck")
        };
        let failed = world.b().update_task(failed).await.unwrap().task.unwrap();
        assert_eq!((failed.status(), &*failed.error), (Pending, "no luck"));
        let retry = micros(failed.retry_time);
        let waits = (retry - micros(failed.update_time)) as f64 / 1e6;
        assert!((delay * 0.8..=delay * 1.2).contains(&waits), "{waits}");
        task = world.a().claim("render").await;
        assert!(micros(task.update_time) >= retry - 2_000);
        assert!(micros(task.update_time) < retry + 1_500_000);
        assert_eq!((task.retry_time, task.error.as_str()), (None, ""));
    }
    let delayed = v1::UpdateTaskRequest {
        retry_delay: duration(300),
        ..failure_of(&task, "no luck")
    };
    let failed = world.b().update_task(delayed).await.unwrap().task.unwrap();
    let waits = micros(failed.retry_time) - micros(failed.update_time);
    assert_eq!(waits, 300_000);
    assert_eq!(world.a().claim("render").await.attempt, 4);
}

#[tokio::test]
async fn after_the_last_attempt_a_task_has_failed_for_good() {
    let world = World::start().await;
    world.a().message("m").await;
    let start = v1::StartTaskRequest {
        max_attempts: 2,
        ..start_of("m", "t", "render")
    };
    world.a().start(start).await.unwrap();
    for _ in 0..2 {
        let task = world.b().claim("render").await;
        let failed = failure_of(&task, "out of paint");
        world.a().update_task(failed).await.unwrap();
    }
    let task = world.a().task("m", "t").await;
    assert_eq!((task.status(), task.attempt), (Failed, 2));
    assert_eq!(task.error, "ATTEMPTS_EXHAUSTED: out of paint");
    assert!(task.end_time.is_some());
    let message = world.a().get("m").await.unwrap();
    assert_eq!(message.blocks[0].state(), v1::BlockState::Sealed);
    assert_eq!(message.blocks[0].error, task.error);
    assert_eq!(message.state(), v1::MessageState::Streaming, "it goes on");
    assert!(world.b().finds_nothing("render").await);
    let events = world.a().events("m").await;
    let failures = events
        .iter()
        .filter(|event| matches!(event.payload, Some(Payload::TaskFailed(_))));
    assert_eq!(failures.count(), 1);
    assert_eq!(fold(&events).tasks[0].error, task.error);
}

#[tokio::test]
async fn a_worker_may_say_that_another_attempt_is_no_use() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    let failed = v1::UpdateTaskRequest {
        error: "not a picture".into(),
        ..update_of(&task, Failed)
    };
    let failed = world.b().update_task(failed).await.unwrap().task.unwrap();
    assert_eq!((failed.status(), &*failed.error), (Failed, "not a picture"));
    assert!(world.b().finds_nothing("render").await);
}

#[tokio::test]
async fn a_task_that_takes_too_long_fails_whether_it_waits_or_is_worked_on() {
    let world = World::start().await;
    world.a().message("m").await;
    for claimed in [false, true] {
        let start = v1::StartTaskRequest {
            timeout: duration(1_000),
            ..start_of("m", &format!("t{claimed}"), "render")
        };
        let mut task = world.a().start(start).await.unwrap();
        let deadline = micros(task.deadline);
        assert_eq!(deadline - micros(task.create_time), 1_000_000);
        if claimed {
            let claimed = world.b().try_claim(claim_of("render")).await.unwrap();
            assert_eq!(micros(claimed.lease_expire_time), deadline);
            task = claimed.task.unwrap();
        }
        let failed = world.b().task_becomes(&task, Failed).await;
        assert!(
            failed.error.starts_with("DEADLINE_EXCEEDED: "),
            "{failed:?}"
        );
        assert!(micros(failed.end_time) >= deadline);
        assert!(micros(failed.end_time) < deadline + 2_000_000);
        assert!(world.b().finds_nothing("render").await);
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_lost_however_often_it_is_renewed() {
    let world = World::start().await;
    world.a().message("m").await;
    let start = v1::StartTaskRequest {
        attempt_timeout: duration(1_000),
        ..start_of("m", "t", "render")
    };
    world.a().start(start).await.unwrap();
    let task = world.b().claim("render").await;
    let end = micros(task.update_time) + 1_000_000;
    loop {
        let renewed = world.a().renew(vec![renewal_of(&task)]).await.unwrap();
        match renewed[0].status() {
            v1::RenewalStatus::Ok => assert_eq!(micros(renewed[0].lease_expire_time), end),
            status => break assert_eq!(status, v1::RenewalStatus::Lost),
        }
    }
    let next = world.b().claim("render").await;
    assert_eq!((next.status(), next.attempt), (Processing, 2));
    assert!(micros(next.update_time) < end + 2_000_000);
}

#[tokio::test]
async fn only_a_claimed_task_that_failed_can_be_tried_again() {
    let world = World::start().await;
    let unclaimed = world.a().started("t", "render").await;
    let retried = failure_of(&unclaimed, "no luck");
    let retried = world.a().update_task(retried).await.unwrap_err();
    assert_eq!(invalid_field(&retried), "retryable");
    let task = world.a().claim("render").await;
    let well = v1::UpdateTaskRequest {
        error: String::new(),
        status: v1::TaskStatus::Completed.into(),
        ..failure_of(&task, "")
    };
    let well = world.a().update_task(well).await.unwrap_err();
    assert_eq!(invalid_field(&well), "retryable");
    let unclaimed = v1::UpdateTaskRequest {
        attempt: 0,
        ..update_of(&task, Failed)
    };
    let lost = (Code::Aborted, "TASK_LEASE_LOST".to_owned());
    assert_eq!(refusal(world.a().update_task(unclaimed).await), lost);
}
