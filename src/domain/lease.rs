//! The right to write a message, and how it is lost.

use std::time::Duration;

use super::{
    Time,
    event::Change,
    ids::Label,
    message::{EndReason, Lease, Message},
    refusal::Refusal,
};

/// A wish for the right to write a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who wants it.
    pub writer: Label,
    /// How long the lease shall last after the writer's last sign of life.
    pub ttl: Duration,
    /// How long it shall still be renewable after that.
    pub grace: Duration,
    /// Take it from another writer.
    pub takeover: bool,
}

impl Lease {
    /// The writer's last sign of life, where the message's last event is of this
    /// time.
    fn last_seen(&self, head: Time) -> Time {
        match self.others == Some(head) {
            true => self.renewed,
            false => self.renewed.max(head),
        }
    }
}

impl Message {
    /// When the lease runs out, if nothing is written until then.
    pub fn lease_expire_time(&self) -> Option<Time> {
        let lease = self.lease.as_ref()?;
        Some(lease.last_seen(self.head.time) + lease.ttl)
    }

    /// When the writer is given up, if nothing is written until then.
    pub(super) fn writer_lost_time(&self) -> Option<Time> {
        let lease = self.lease.as_ref()?;
        Some(self.lease_expire_time()? + lease.grace)
    }

    /// The message once `claim` is granted. Who has the lease gets it again,
    /// with the same fence; anybody else gets another fence.
    ///
    /// # Errors
    /// Where the message has ended, or another writer has the lease and it is not
    /// to be taken from them.
    pub fn leased(&self, claim: &Claim, now: Time) -> Result<Self, Refusal> {
        if self.is_terminal() {
            return Err(Refusal::MessageTerminal { state: self.state });
        }
        let holder = self.lease.as_ref().map(|lease| &lease.writer);
        let expires = self.lease_expire_time();
        if let (Some(holder), Some(expires)) = (holder, expires)
            && *holder != claim.writer
            && now < expires
            && !claim.takeover
        {
            let writer = holder.clone();
            return Err(Refusal::WriterPresent { writer, expires });
        }
        let fence = match holder == Some(&claim.writer) {
            true => self.fence,
            false => self.next_fence(now),
        };
        let lease = Lease {
            writer: claim.writer.clone(),
            ttl: claim.ttl,
            grace: claim.grace,
            renewed: now,
            others: None,
        };
        Ok(Self {
            fence,
            lease: Some(lease),
            ..self.clone()
        })
    }

    /// The message once nobody may append to it what would be in the way of what is
    /// due: nobody at all where it is ended, and not those whose lease of a task is
    /// over. A writer that is lost writes nothing.
    pub fn fenced_off(&self, now: Time) -> Self {
        let mut message = self.clone();
        let end = match self.settle(now).last() {
            Some(Change::Ended { reason, .. }) => Some(*reason),
            _ => None,
        };
        for task in &mut message.tasks {
            let is_over = end.is_some() || task.due_time().is_some_and(|due| due <= now);
            if let Some(lease) = task.lease.as_mut().filter(|_| is_over) {
                lease.is_closed = true;
            }
        }
        if end.is_some_and(|reason| reason != EndReason::WriterLost) {
            message.fence = self.next_fence(now);
            message.lease = None;
        }
        message
    }

    /// Greater than any before, also than those of an earlier message of this id,
    /// or of a history that a failover has lost.
    fn next_fence(&self, now: Time) -> u64 {
        let time = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        time.max(self.fence + 1)
    }

    /// Takes note that the events which follow, of this time, are not written by
    /// who has the lease: they do not renew it.
    pub fn visited(&mut self, time: Time) {
        let head = self.head.time;
        if let Some(lease) = &mut self.lease {
            lease.renewed = lease.last_seen(head);
            lease.others = Some(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        cursor::Cursor,
        message::MessageState,
        testing::{at, message},
    };

    fn claim(writer: &str) -> Claim {
        Claim {
            writer: Label::parse(writer).unwrap(),
            ttl: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            takeover: false,
        }
    }

    fn wrote(message: &mut Message, seconds: u64) {
        message.head = Cursor {
            sequence: message.head.sequence + 1,
            time: at(seconds),
        };
    }

    #[test]
    fn a_writer_gets_its_lease_again_and_others_do_not() {
        let leased = message().leased(&claim("w1"), at(0)).unwrap();
        assert!(leased.fence > 0);
        let again = leased.leased(&claim("w1"), at(9)).unwrap();
        assert_eq!(again.fence, leased.fence);
        assert_eq!(again.lease_expire_time(), Some(at(19)));
        let refused = again.leased(&claim("w2"), at(18));
        assert_eq!(
            refused,
            Err(Refusal::WriterPresent {
                writer: Label::parse("w1").unwrap(),
                expires: at(19)
            })
        );
    }

    #[test]
    fn another_writer_is_let_in_when_the_lease_has_run_out_or_by_force() {
        let leased = message().leased(&claim("w1"), at(0)).unwrap();
        let successor = leased.leased(&claim("w2"), at(10)).unwrap();
        assert!(successor.fence > leased.fence);
        let force = Claim {
            takeover: true,
            ..claim("w3")
        };
        let taken = successor.leased(&force, at(10)).unwrap();
        assert!(taken.fence > successor.fence, "also within a microsecond");
    }

    #[test]
    fn who_was_fenced_off_must_take_the_right_to_write_anew() {
        let leased = message().leased(&claim("w1"), at(0)).unwrap();
        let cancelled = Message {
            cancel_deadline: Some(at(1)),
            ..leased.clone()
        };
        assert_eq!(cancelled.fenced_off(at(0)), cancelled, "nothing is due");
        let off = cancelled.fenced_off(at(1));
        assert!(off.fence > leased.fence);
        let again = off.leased(&claim("w1"), at(1)).unwrap();
        assert!(again.fence > off.fence);
    }

    #[test]
    fn an_ended_message_has_no_writer() {
        let ended = Message {
            state: MessageState::Completed,
            ..message()
        };
        let refused = ended.leased(&claim("w1"), at(0));
        let state = MessageState::Completed;
        assert_eq!(refused, Err(Refusal::MessageTerminal { state }));
    }

    #[test]
    fn what_is_written_renews_the_lease_but_not_what_others_write() {
        let mut leased = message().leased(&claim("w1"), at(0)).unwrap();
        wrote(&mut leased, 3);
        assert_eq!(leased.lease_expire_time(), Some(at(13)));
        leased.visited(at(8));
        wrote(&mut leased, 8);
        assert_eq!(leased.lease_expire_time(), Some(at(13)));
        leased.visited(at(9));
        wrote(&mut leased, 9);
        assert_eq!(leased.lease_expire_time(), Some(at(13)));
        wrote(&mut leased, 11);
        assert_eq!(leased.lease_expire_time(), Some(at(21)));
    }
}
