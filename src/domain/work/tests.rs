//! How tasks go on by themselves, and how they do not.

use std::time::Duration;

use super::*;
use crate::domain::{
    claim::Worker,
    command::Command,
    event::Event,
    ids::{BlockId, Label},
    testing::{at, message},
};

fn id() -> TaskId {
    TaskId::parse("t").unwrap()
}

fn start() -> StartTask {
    let label = Label::parse("render").unwrap();
    StartTask {
        id: id(),
        kind: label.clone(),
        params: Metadata::new(),
        max_attempts: 2,
        block: BlockId::parse("b").unwrap(),
        content_kind: None,
        metadata: Metadata::new(),
        queue: label,
        timeout: None,
        attempt_timeout: None,
        workflow: None,
        max_iterations: 0,
        ends_message: false,
    }
}

fn apply(message: &mut Message, changes: &[Change], seconds: u64) {
    for change in changes {
        message.apply(&Event {
            sequence: message.head.sequence + 1,
            time: at(seconds),
            change: change.clone(),
        });
    }
}

fn started(start: &StartTask) -> Message {
    let mut message = message();
    let changes = message.start_task(start, at(0)).unwrap();
    apply(&mut message, &changes, 0);
    message
}

fn worker() -> Worker {
    Worker {
        name: Label::parse("w").unwrap(),
        lease: Duration::from_secs(30),
    }
}

fn claim(message: &mut Message, seconds: u64) {
    let offer = message.offer(&id()).unwrap();
    let changes = message.grant(offer, &worker(), at(seconds));
    apply(message, &changes, seconds);
}

fn settle(message: &mut Message, seconds: u64) {
    let changes = message.settle(at(seconds));
    apply(message, &changes, seconds);
}

#[test]
fn a_task_that_waits_is_offered_once_more_after_twice_the_time() {
    let message = started(&start());
    for (now, look) in [(0, 2), (1, 3), (2, 4), (4, 8), (8, 16), (100, 200)] {
        assert_eq!(message.due_time(at(now)), Some(at(look)), "{now}");
    }
}

#[test]
fn a_lease_that_runs_out_is_followed_by_another_attempt_or_the_end() {
    let mut message = started(&start());
    for (attempt, begin) in [(1, 0), (2, 100)] {
        claim(&mut message, begin);
        assert_eq!(message.task(&id()).unwrap().attempt, attempt);
        assert_eq!(message.due_time(at(begin)), Some(at(begin + 30)));
        assert!(message.offers().next().is_none());
        assert!(message.settle(at(begin + 29)).is_empty());
        settle(&mut message, begin + 30);
    }
    let task = message.task(&id()).unwrap();
    assert_eq!(task.status, TaskStatus::Failed);
    assert!(task.error.starts_with(ATTEMPTS_EXHAUSTED));
    assert_eq!(message.due_time(at(200)), None);
}

#[test]
fn what_is_given_back_does_not_count() {
    let mut message = started(&start());
    for attempt in 1..10 {
        claim(&mut message, attempt);
        let back = UpdateTask {
            id: id(),
            status: Some(TaskStatus::Pending),
            progress: None,
            status_text: None,
            content: None,
            error: String::new(),
            attempt: u32::try_from(attempt).unwrap(),
            retry: None,
            outcome: None,
        };
        let changes = message.update_task(&back, at(attempt)).unwrap();
        apply(&mut message, &changes, attempt);
    }
    assert_eq!(message.offers().count(), 1);
    assert!(!message.task(&id()).unwrap().is_last_attempt());
}

#[test]
fn the_delay_doubles_with_each_failure_up_to_a_minute() {
    let retry = Retry { delay: None };
    let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    for (failures, expected) in (1..).zip(seconds) {
        for micros in [0, 1, 500, 999] {
            let now = at(0) + Duration::from_micros(micros);
            let delay = retry.delay_after(failures, now).as_secs_f64();
            let expected = f64::from(expected);
            assert!(delay >= expected * 0.8 && delay <= expected * 1.2);
        }
    }
    let delay = Some(Duration::from_secs(7));
    let given = Retry { delay }.delay_after(5, at(0));
    assert_eq!(Some(given), delay);
}

#[test]
fn a_task_that_its_message_was_made_for_takes_it_along() {
    let mut message = started(&StartTask {
        ends_message: true,
        timeout: Some(Duration::from_secs(10)),
        ..start()
    });
    let other = StartTask {
        id: TaskId::parse("other").unwrap(),
        block: BlockId::parse("c").unwrap(),
        ..start()
    };
    let changes = message.start_task(&other, at(0)).unwrap();
    apply(&mut message, &changes, 0);
    settle(&mut message, 10);
    assert_eq!(message.state, MessageState::Failed);
    let ended: Vec<_> = message.tasks.iter().map(|task| task.status).collect();
    assert_eq!(ended, [TaskStatus::Failed, TaskStatus::Cancelled]);
    assert_eq!(message.ending.unwrap().reason, EndReason::TaskEnded);
}

#[test]
fn nothing_is_offered_of_a_message_that_is_to_be_cancelled() {
    let mut message = started(&start());
    let cancel = Command::RequestCancel {
        reason: String::new(),
        grace: Duration::from_secs(10),
    };
    let right = crate::domain::command::Right::default();
    let changes = message.decide(&cancel, &right, at(1)).unwrap();
    apply(&mut message, &changes, 1);
    assert_eq!(message.offers().count(), 0);
    assert_eq!(message.due_time(at(1)), Some(at(11)));
}
