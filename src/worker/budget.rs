//! What a task may use, and what it has used, in all of its attempts.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::failure::Failure;
use crate::proto::{StopReason, Task, TaskUsage};

/// What a task may use at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Rounds of tool calls of one answer.
    pub tool_rounds: u32,
    /// Tool calls of a round that run at a time.
    pub parallel_tools: usize,
    /// Subtasks of a step that run at a time.
    pub parallel_subtasks: usize,
    /// Calls of a model.
    pub calls: u32,
    /// Tokens, in and out.
    pub tokens: u64,
    /// How long an attempt may take.
    pub time: Duration,
}

/// What is left for the answer when a limit of the task's own is near.
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// How long an attempt that begins now may take, so that it can say what it has got
/// before the service ends it; none where the task has no such limit.
pub(super) fn time_for(task: &Task, now: SystemTime) -> Option<Duration> {
    let until = |deadline: prost_types::Timestamp| {
        let deadline = SystemTime::try_from(deadline).ok()?;
        Some(deadline.duration_since(now).unwrap_or_default())
    };
    let for_task = task.deadline.and_then(until);
    let for_attempt = task.attempt_timeout;
    let for_attempt = for_attempt.and_then(|timeout| Duration::try_from(timeout).ok());
    let time = for_task.into_iter().chain(for_attempt).min()?;
    Some(time - MARGIN_MAX.min(time / 4))
}

/// Counts what an attempt uses, on top of what the attempts before did.
#[derive(Debug)]
pub(super) struct Meter {
    calls_max: u32,
    tokens_max: u64,
    /// When the attempt has had its time.
    pub(super) end: Instant,
    used: Mutex<TaskUsage>,
}

impl Meter {
    pub(super) fn new(limits: &Limits, used: TaskUsage) -> Self {
        Self {
            calls_max: limits.calls,
            tokens_max: limits.tokens,
            end: Instant::now() + limits.time,
            used: Mutex::new(used),
        }
    }

    /// Takes one call of a model, if there is one left.
    pub(super) fn take_call(&self) -> Result<(), Failure> {
        if Instant::now() >= self.end {
            return Err(Failure::Limit(StopReason::Deadline));
        }
        let mut used = self.lock();
        let tokens = used.input_tokens + used.output_tokens;
        if used.model_calls >= self.calls_max || tokens >= self.tokens_max {
            return Err(Failure::Limit(StopReason::Budget));
        }
        used.model_calls += 1;
        Ok(())
    }

    /// Takes in what a call of a model took, where its endpoint said so.
    pub(super) fn add_tokens(&self, input: u64, output: u64) {
        let mut used = self.lock();
        used.input_tokens += input;
        used.output_tokens += output;
    }

    pub(super) fn add_tool_call(&self) {
        self.lock().tool_calls += 1;
    }

    pub(super) fn used(&self) -> TaskUsage {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, TaskUsage> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            tool_rounds: 8,
            parallel_tools: 4,
            parallel_subtasks: 4,
            calls: 2,
            tokens: 100,
            time: Duration::from_secs(60),
        }
    }

    fn reason(taken: Result<(), Failure>) -> Option<StopReason> {
        taken.err().map(|failure| failure.reason())
    }

    #[tokio::test]
    async fn calls_of_earlier_attempts_count() {
        let used = TaskUsage {
            model_calls: 1,
            ..Default::default()
        };
        let meter = Meter::new(&limits(), used);
        assert_eq!(reason(meter.take_call()), None);
        assert_eq!(reason(meter.take_call()), Some(StopReason::Budget));
        assert_eq!(meter.used().model_calls, 2);
    }

    #[tokio::test]
    async fn tokens_and_time_run_out() {
        let meter = Meter::new(&limits(), TaskUsage::default());
        meter.add_tokens(60, 40);
        assert_eq!(reason(meter.take_call()), Some(StopReason::Budget));
        let late = Limits {
            time: Duration::ZERO,
            ..limits()
        };
        let meter = Meter::new(&late, TaskUsage::default());
        assert_eq!(reason(meter.take_call()), Some(StopReason::Deadline));
    }

    #[test]
    fn the_tasks_own_limits_leave_time_for_the_answer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut task = Task::default();
        assert_eq!(time_for(&task, now), None);
        task.deadline = Some(prost_types::Timestamp {
            seconds: 1_010,
            nanos: 0,
        });
        assert_eq!(time_for(&task, now), Some(Duration::from_secs(9)));
        task.attempt_timeout = prost_types::Duration::try_from(Duration::from_secs(2)).ok();
        assert_eq!(time_for(&task, now), Some(Duration::from_millis(1_500)));
        let late = now + Duration::from_secs(20);
        assert_eq!(time_for(&task, late), Some(Duration::ZERO));
    }
}
