//! What happens to a message by itself, and when.

use super::{
    Time,
    event::Change,
    message::{EndReason, Message, MessageState},
    task::Task,
};

/// What is said of a message whose writer was lost.
const WRITER_LOST: &str = "the writer was lost";

impl Message {
    /// The earliest moment at which something happens to the message by itself,
    /// or a task of it should be offered to workers once more; none where nothing
    /// will happen. Every write can change it.
    pub fn due_time(&self, now: Time) -> Option<Time> {
        if self.is_terminal() {
            return None;
        }
        let ends = self.end_time().into_iter();
        let tasks = self.tasks.iter().filter_map(Task::due_time);
        let looks = self.offers().map(|offer| offer.look_time(now));
        ends.chain(tasks).chain(looks).min()
    }

    /// When the message is ended, whatever its tasks do.
    fn end_time(&self) -> Option<Time> {
        let times = [self.cancel_deadline, self.writer_lost_time()];
        times.into_iter().flatten().min()
    }

    /// The changes that time has brought about by `now`; none where nothing is
    /// due.
    pub fn settle(&self, now: Time) -> Vec<Change> {
        if self.is_terminal() {
            return Vec::new();
        }
        let due = self.end_time().filter(|due| *due <= now);
        let (state, reason, error) = match due {
            None => return self.settle_tasks(now),
            due if due == self.cancel_deadline => {
                (MessageState::Cancelled, EndReason::CancelRequested, "")
            }
            _ => (
                MessageState::Interrupted,
                EndReason::WriterLost,
                WRITER_LOST,
            ),
        };
        self.end(state, reason, error, now)
    }

    fn settle_tasks(&self, now: Time) -> Vec<Change> {
        let settle = |task| self.settle_task(task, now);
        // Where one of them ends the message, it ends the others.
        let (ending, others): (Vec<_>, Vec<_>) =
            self.tasks.iter().partition(|task| task.ends_message);
        let ended = ending.into_iter().map(settle).find(|end| !end.is_empty());
        ended.unwrap_or_else(|| others.into_iter().flat_map(settle).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        ids::Label,
        lease::Claim,
        testing::{at, message},
    };

    fn leased() -> Message {
        let claim = Claim {
            writer: Label::parse("w").unwrap(),
            ttl: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            takeover: false,
        };
        message().leased(&claim, at(0)).unwrap()
    }

    /// How a message is ended that is settled at this time.
    fn end(message: &Message, seconds: u64) -> Option<(MessageState, EndReason)> {
        match message.settle(at(seconds)).last()? {
            Change::Ended { state, reason, .. } => Some((*state, *reason)),
            other => panic!("{other:?} ends nothing"),
        }
    }

    #[test]
    fn nothing_happens_by_itself_to_a_message_that_nobody_leased_or_cancelled() {
        assert_eq!(message().due_time(at(0)), None);
        assert_eq!(end(&message(), 1_000_000), None);
    }

    #[test]
    fn a_message_whose_writer_is_lost_is_interrupted_after_the_grace() {
        assert_eq!(leased().due_time(at(0)), Some(at(15)));
        assert_eq!(end(&leased(), 14), None);
        let lost = (MessageState::Interrupted, EndReason::WriterLost);
        assert_eq!(end(&leased(), 15), Some(lost));
    }

    #[test]
    fn what_is_due_first_happens() {
        let cancelled = (MessageState::Cancelled, EndReason::CancelRequested);
        let lost = (MessageState::Interrupted, EndReason::WriterLost);
        for (deadline, expected) in [(12, cancelled), (15, cancelled), (16, lost)] {
            let message = Message {
                cancel_deadline: Some(at(deadline)),
                ..leased()
            };
            assert_eq!(end(&message, 100), Some(expected), "{deadline}");
        }
    }

    #[test]
    fn nothing_happens_to_an_ended_message() {
        let ended = Message {
            state: MessageState::Completed,
            cancel_deadline: Some(at(1)),
            ..leased()
        };
        assert_eq!(ended.due_time(at(0)), None);
        assert_eq!(end(&ended, 100), None);
    }
}
