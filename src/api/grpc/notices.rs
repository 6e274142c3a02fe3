//! Notices between the answers of a WriteMessage stream.

use std::collections::VecDeque;

use crate::{
    domain::ids::MessageId,
    engine::{Engine, News, Notice, Notices, Receipt},
    proto as v1,
    wire::message::state_to_v1,
};

/// What a stream of writes should hear between its answers.
pub(super) struct WriteNotices {
    notices: Notices,
    /// Writes that were not answered yet.
    runs: VecDeque<Run>,
}

/// Writes of one message, one after the other.
struct Run {
    message: Option<MessageId>,
    fence: Option<u64>,
    effect: Effect,
    unanswered: usize,
    /// One of them was made.
    is_made: bool,
}

/// What a write is about.
pub(super) struct Target<'a> {
    /// Which message; none where the write was not understood.
    pub(super) message: Option<&'a MessageId>,
    /// The fence that it depends on.
    pub(super) fence: Option<u64>,
    /// What it does.
    pub(super) effect: Effect,
}

/// What a write does to whether its message goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Begins,
    Nothing,
    Ends,
}

impl WriteNotices {
    pub(super) fn new(engine: &Engine) -> Self {
        Self {
            notices: engine.notices(),
            runs: VecDeque::new(),
        }
    }

    /// Remembers what so many writes are about that are answered next.
    pub(super) fn expect(&mut self, target: Target<'_>, count: usize) {
        let Target {
            message,
            fence,
            effect,
        } = target;
        let continues = |run: &&mut Run| {
            run.message.as_ref() == message
                && run.fence == fence
                && [run.effect, effect] == [Effect::Nothing; 2]
        };
        match self.runs.back_mut().filter(continues) {
            Some(run) => run.unanswered += count,
            None => self.runs.push_back(Run {
                message: message.cloned(),
                fence,
                effect,
                unanswered: count,
                is_made: false,
            }),
        }
    }

    /// Takes note of the answer to the next of the writes: where it was made, none
    /// where it was refused.
    pub(super) fn answered(&mut self, made: Option<&Receipt>) {
        let Some(run) = self.runs.front_mut() else {
            return;
        };
        if let Some(made) = made
            && !run.is_made
            && let Some(message) = &run.message
        {
            run.is_made = true;
            let fence = run.fence;
            match run.effect {
                Effect::Begins if !made.deduplicated => self.notices.created(message),
                Effect::Begins | Effect::Nothing => {
                    self.notices.wrote(message, fence, made.cancel_requested);
                }
                Effect::Ends => self.notices.ended(message),
            }
        }
        run.unanswered -= 1;
        if run.unanswered == 0 {
            self.runs.pop_front();
        }
    }

    /// Waits for a notice; none where there will be none before the next write.
    pub(super) async fn next(&mut self) -> Option<v1::WriteNotice> {
        let Notice { message, news } = self.notices.next().await?;
        let News {
            cancel_requested,
            fenced,
            ended,
            gone,
        } = news;
        let ended = ended.map_or(v1::MessageState::Unspecified, state_to_v1);
        Some(v1::WriteNotice {
            message_id: message.to_string(),
            cancel_requested,
            fenced,
            ended: ended.into(),
            gone,
        })
    }
}
