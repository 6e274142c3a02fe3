//! How tasks go on by themselves, and how they do not.

use std::time::Duration;

use super::*;
use crate::domain::{
    claim::{Renewal, Worker},
    command::{Command, NewBlock, Right},
    content::{Body, Textual},
    event::Event,
    ids::{BlockId, Label},
    task::{Checkpoint, StopReason, TaskOutcome},
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

fn update(status: TaskStatus, attempt: u32) -> UpdateTask {
    UpdateTask {
        id: id(),
        status: Some(status),
        progress: None,
        status_text: None,
        content: None,
        error: String::new(),
        attempt,
        retry: None,
        outcome: None,
    }
}

/// A block that is written under the lease of the task.
fn write(message: &mut Message, block: &str, open: bool) {
    let attempt = message.task(&id()).unwrap().last_attempt();
    let right = Right {
        attempt: Some(attempt),
        ..Right::default()
    };
    let content = Textual {
        body: Body::Inline("x".to_owned()),
        ..Textual::empty_text()
    };
    let new = Command::AddContent(NewBlock {
        id: BlockId::parse(block).unwrap(),
        open,
        metadata: Metadata::new(),
        content: Content::Textual(content),
    });
    let changes = message.decide(&new, &right, at(1)).unwrap();
    apply(message, &changes, 1);
}

/// Leaves a checkpoint that these blocks belong to.
fn keep(message: &mut Message, blocks: &[&str]) {
    let kept = blocks.iter().map(|id| BlockId::parse(id).unwrap());
    let renewal = Renewal {
        attempt: message.task(&id()).unwrap().last_attempt(),
        worker: None,
        progress: None,
        status_text: None,
        checkpoint: Some(Checkpoint {
            kept: kept.collect(),
            ..Checkpoint::default()
        }),
    };
    let (task, _) = message.renewed(&renewal, at(1)).unwrap();
    message.replace_task(task);
}

/// The blocks that hold something.
fn filled(message: &Message) -> Vec<&str> {
    let filled = message
        .blocks
        .iter()
        .filter(|block| block.content.is_some());
    filled.map(|block| block.id.as_str()).collect()
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
        let back = update(TaskStatus::Pending, u32::try_from(attempt).unwrap());
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
    let changes = message.decide(&cancel, &Right::default(), at(1)).unwrap();
    apply(&mut message, &changes, 1);
    assert_eq!(message.offers().count(), 0);
    assert_eq!(message.due_time(at(1)), Some(at(11)));
}

#[test]
fn how_the_work_ended_is_said_only_of_a_task_that_has_ended() {
    let mut message = started(&start());
    let outcome = TaskOutcome {
        stop_reason: Some(StopReason::Error),
        usage: None,
    };
    for (attempt, expected) in [(1, None), (2, Some(outcome))] {
        claim(&mut message, 100);
        let failed = UpdateTask {
            retry: Some(Retry { delay: None }),
            outcome: Some(outcome),
            ..update(TaskStatus::Failed, attempt)
        };
        let changes = message.update_task(&failed, at(100)).unwrap();
        apply(&mut message, &changes, 100);
        let task = message.task(&id()).unwrap();
        assert_eq!(task.outcome, expected, "after attempt {attempt}");
    }
}

#[test]
fn a_lost_attempt_keeps_what_is_sealed_of_the_checkpoint_and_no_more() {
    let mut message = started(&start());
    claim(&mut message, 0);
    for (block, open) in [("kept", false), ("open", true), ("other", false)] {
        write(&mut message, block, open);
    }
    keep(&mut message, &["kept", "open", "b", "unknown"]);
    let kept = &message.task(&id()).unwrap().checkpoint.kept;
    assert_eq!(kept.len(), 2, "{kept:?}");
    settle(&mut message, 60);
    assert_eq!(filled(&message), ["kept", "open", "other"]);
    claim(&mut message, 60);
    assert_eq!(filled(&message), ["kept"]);
}

#[test]
fn a_checkpoint_that_names_no_blocks_keeps_none() {
    let mut message = started(&start());
    claim(&mut message, 0);
    write(&mut message, "step", false);
    keep(&mut message, &["step"]);
    keep(&mut message, &[]);
    settle(&mut message, 60);
    claim(&mut message, 60);
    assert!(filled(&message).is_empty());
}

#[test]
fn an_end_leaves_nothing_for_the_next_attempt() {
    for status in [
        TaskStatus::Completed,
        TaskStatus::Failed,
        TaskStatus::Cancelled,
    ] {
        let mut message = started(&start());
        claim(&mut message, 0);
        write(&mut message, "step", false);
        keep(&mut message, &["step"]);
        let changes = message.update_task(&update(status, 1), at(2)).unwrap();
        apply(&mut message, &changes, 2);
        let task = message.task(&id()).unwrap();
        assert_eq!(task.checkpoint, Checkpoint::default());
        assert_eq!(filled(&message), ["step"]);
    }
}
