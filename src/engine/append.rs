//! Appending text, one delta or many at once.

use std::collections::HashSet;

use futures_util::future::join_all;

use super::{
    AppendBatch, ContentSource, Engine, EngineError, Receipt, Request, clock,
    committer::{BATCHES_MAX, Done},
};
use crate::{
    domain::{
        Time,
        command::{AppendText, Command, Right},
        event::Change,
        ids::BlockId,
        limits,
        message::Message,
        principal::Principal,
        refusal::Refusal,
    },
    store::{Append, Appended, Delta, StoreError},
};

/// How often a block is opened for a text, and found to be open and sealed again by
/// others.
const OPENINGS_MAX: usize = 16;

/// Text for a block.
#[derive(Debug, Clone)]
pub struct AppendRequest {
    /// Who writes what.
    pub request: Request,
    /// Which block; none for the last one, if text can be appended there.
    pub block: Option<BlockId>,
    /// At least one byte.
    pub delta: String,
    /// Length in bytes that the caller believes the block to have.
    pub expected_offset: Option<u64>,
}

impl AppendRequest {
    fn to_append(&self, time: Time) -> Append<'_> {
        let Request {
            principal,
            message,
            right,
            repeat,
        } = &self.request;
        let repeat = repeat.as_ref();
        Append {
            message,
            block: self.block.as_ref(),
            deltas: vec![Delta {
                text: &self.delta,
                request: repeat.map(|(id, fingerprint)| (id, fingerprint.as_str())),
            }],
            time,
            expected_offset: self.expected_offset,
            fence: right.fence,
            attempt: right.attempt.as_ref(),
            owner: principal.owner(),
        }
    }
}

/// Where text went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendOutcome {
    /// Its place in the log.
    pub receipt: Receipt,
    /// Its block.
    pub block: BlockId,
    /// Its place in the block's text.
    pub offset: u64,
}

type Outcome = Result<AppendOutcome, EngineError>;

impl Engine {
    /// Appends text: one call to Redis, unless a block has to be opened for it.
    ///
    /// It does not wait for others: the connection sends what is written at the
    /// same time in one go, which takes less time than to gather it here.
    pub async fn append_text(&self, wanted: &AppendRequest) -> Outcome {
        let appended = self.try_append(wanted.to_append(clock::now())).await?;
        self.settle(wanted, appended).await
    }

    /// Appends text in many batches. Those of different messages go at the same
    /// time, those of one message one after the other. The outcomes of all of
    /// their appends are in order.
    pub async fn append_batches(&self, mut batches: Vec<AppendBatch>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !batches.is_empty() {
            let later = batches.split_off(of_different_messages(&batches));
            let mut now = std::mem::replace(&mut batches, later).into_iter();
            let mut jobs = Vec::new();
            while now.len() > 0 {
                jobs.push(self.append_job(now.by_ref().take(BATCHES_MAX).collect()));
            }
            outcomes.extend(join_all(jobs).await.into_iter().flatten());
        }
        outcomes
    }

    /// Appends batches to as many messages in one journey. Those that it does not
    /// settle take more.
    async fn append_job(&self, batches: Vec<AppendBatch>) -> Vec<Outcome> {
        let count = batches.iter().map(AppendBatch::count).sum();
        let done = match self.committer.append(batches).await {
            Ok(done) => done,
            Err(error) => return vec![Err(error); count],
        };
        let mut outcomes = Vec::with_capacity(count);
        if done.iter().all(|done| add_places(done, &mut outcomes)) {
            return outcomes;
        }
        let each = done.into_iter().map(|done| self.settle_all(done));
        join_all(each).await.into_iter().flatten().collect()
    }

    /// The outcomes of a batch. Where it could not share a call, since a block has to
    /// be opened or some of it was made before, it takes several.
    async fn settle_all(&self, mut done: Done) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(done.0.count());
        while !add_places(&done, &mut outcomes) {
            let (mut batch, appended) = done;
            let settled = self.settle_batch(&batch, appended, &mut outcomes).await;
            if !batch.skip(settled) {
                break;
            }
            let appended = self.try_append(batch.to_append(clock::now())).await;
            done = (batch, appended);
        }
        outcomes
    }

    async fn try_append(&self, append: Append<'_>) -> Result<Appended, StoreError> {
        let appends = [append];
        let appended = self.store.append(&appends).await.pop();
        let appended = appended.unwrap_or(Ok(Appended::Split));
        self.loopback.appended(&appends[0], &appended);
        appended
    }

    /// Answers the first of the appends that shared a call which did not make them,
    /// at least one. Returns how many.
    async fn settle_batch(
        &self,
        batch: &AppendBatch,
        appended: Result<Appended, StoreError>,
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        let count = batch.count();
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                outcomes.extend((0..count).map(|_| Err(error.clone().into())));
                return count;
            }
        };
        match appended {
            Appended::Applied {
                block,
                offset,
                bytes,
            } if batch.within(bytes) > 0 => {
                let known = batch.within(bytes);
                match self.applied(&batch.first(), block, offset).await {
                    Ok(first) => {
                        let offsets = batch.offsets(first.offset).take(known);
                        outcomes.extend(offsets.map(|offset| {
                            Ok(AppendOutcome {
                                offset,
                                ..first.clone()
                            })
                        }));
                    }
                    Err(error) => outcomes.extend((0..known).map(|_| Err(error.clone()))),
                }
                known
            }
            // What is so for one of them is so for all.
            Appended::Missing | Appended::Terminal(_) | Appended::Fenced => {
                let outcome = self.settle(&batch.first(), appended).await;
                outcomes.extend((0..count).map(|_| outcome.clone()));
                count
            }
            appended if count == 1 => {
                outcomes.push(self.settle(&batch.first(), appended).await);
                1
            }
            _ => {
                outcomes.push(self.append_text(&batch.first()).await);
                1
            }
        }
    }

    /// What an append that was tried means to its caller.
    async fn settle(&self, wanted: &AppendRequest, appended: Appended) -> Outcome {
        let request = &wanted.request;
        let refusal = match appended {
            Appended::Done {
                first,
                block,
                offset,
                cancel_requested,
            } => {
                return Ok(AppendOutcome {
                    receipt: Receipt::new(first, cancel_requested),
                    block,
                    offset,
                });
            }
            Appended::Repeated {
                cursor,
                detail,
                cancel_requested,
            } => {
                let receipt = Receipt::of_repeat(cursor, cancel_requested);
                return from_detail(receipt, &detail);
            }
            Appended::Applied { block, offset, .. } => {
                return self.applied(wanted, block, offset).await;
            }
            Appended::Unopened => return self.open_and_append(wanted).await,
            Appended::Missing => Refusal::MessageUnknown(request.message.clone()),
            Appended::Terminal(state) => Refusal::MessageTerminal { state },
            Appended::Fenced => Refusal::WriterFenced {
                fence: request.right.fence,
            },
            Appended::Reused => Refusal::RequestIdReused,
            Appended::OffsetMismatch { length } => Refusal::OffsetMismatch {
                offset: wanted.expected_offset.unwrap_or_default(),
                length,
            },
            Appended::TooLong => Refusal::LimitExceeded {
                what: "bytes of the block",
                max: limits::BLOCK_BYTES_MAX as u64,
            },
            Appended::Split => return Err(EngineError::Contended),
        };
        Err(refusal.into())
    }

    /// Text that stands at its offset already: its own event is not searched
    /// for, the head of the log is at or after it.
    async fn applied(&self, wanted: &AppendRequest, block: BlockId, offset: u64) -> Outcome {
        let request = &wanted.request;
        let loaded = self.load_for(&request.principal, &request.message).await?;
        Ok(AppendOutcome {
            receipt: Receipt {
                deduplicated: true,
                ..Receipt::of(&loaded.message)
            },
            block,
            offset,
        })
    }

    async fn open_and_append(&self, wanted: &AppendRequest) -> Outcome {
        if let Some(outcome) = self.applied_before_sealing(wanted).await? {
            return Ok(outcome);
        }
        let command = Command::AppendText(AppendText {
            block: wanted.block.clone(),
            new_block: clock::fresh_block(),
            delta: wanted.delta.clone(),
            expected_offset: wanted.expected_offset,
        });
        for _ in 0..OPENINGS_MAX {
            let opened = self.write_if(&wanted.request, &command, open_a_block);
            if let Some(written) = opened.await? {
                return from_detail(written.receipt, &written.detail);
            }
            // Somebody else has opened one, to which they may write faster than
            // anything can be decided on it.
            match self.try_append(wanted.to_append(clock::now())).await? {
                Appended::Unopened => {}
                appended => return Box::pin(self.settle(wanted, appended)).await,
            }
        }
        Err(EngineError::Contended)
    }

    /// A block that was sealed may hold the text at its offset already, perhaps
    /// out of line.
    async fn applied_before_sealing(
        &self,
        wanted: &AppendRequest,
    ) -> Result<Option<AppendOutcome>, EngineError> {
        let request = &wanted.request;
        let (Some(block), Some(offset)) = (&wanted.block, wanted.expected_offset) else {
            return Ok(None);
        };
        if let Some(attempt) = &request.right.attempt {
            let loaded = self.load_for(&request.principal, &request.message).await?;
            loaded.message.leased_task(attempt)?;
        }
        let source = ContentSource::Block(request.message.clone(), block.clone());
        match self
            .is_held(&request.principal, &source, offset, &wanted.delta)
            .await
        {
            Ok(true) => self.applied(wanted, block.clone(), offset).await.map(Some),
            Ok(false) | Err(EngineError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether content has this text at that offset.
    async fn is_held(
        &self,
        principal: &Principal,
        source: &ContentSource,
        offset: u64,
        text: &str,
    ) -> Result<bool, EngineError> {
        let length = text.len() as u64;
        let mut reader = self.read_content(principal, source, offset, length).await?;
        let mut rest = text.as_bytes();
        while let Some(held) = reader.next().await? {
            match rest.strip_prefix(held.as_ref()) {
                Some(left) => rest = left,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }
}

/// Adds where the appends of a batch went, if they were made.
fn add_places((batch, appended): &Done, outcomes: &mut Vec<Outcome>) -> bool {
    let Ok(Appended::Done {
        first,
        block,
        offset,
        cancel_requested,
    }) = appended
    else {
        return false;
    };
    let places = batch.places(*first, block, *offset, *cancel_requested);
    outcomes.extend(places.map(Ok));
    true
}

/// Whether changes do more than append to a block that is open.
fn open_a_block(changes: &[Change]) -> bool {
    let appends = |change| matches!(change, &Change::TextAppended { .. });
    !changes.iter().all(appends)
}

/// How many of the first batches go to messages of their own.
fn of_different_messages(batches: &[AppendBatch]) -> usize {
    let mut messages = HashSet::new();
    let ids = batches.iter().map(|batch| &batch.request().message);
    ids.take_while(|id| messages.insert(*id)).count()
}

/// What an append is answered: block and offset, apart by a space. Others may
/// have opened the block, so only the decision knows both.
pub(super) fn detail(
    append: &AppendText,
    right: &Right,
    message: &Message,
    changes: &[Change],
) -> String {
    let written = changes.iter().find_map(|change| match change {
        Change::TextAppended { block, offset, .. } => Some((block, *offset)),
        _ => None,
    });
    let (block, offset) = written.unwrap_or_else(|| {
        // Nothing was appended: the text stands where it was expected.
        let tail = match &right.attempt {
            None => message.tail(),
            Some(attempt) => message.task_tail(&attempt.task),
        };
        let tail = tail.map_or(&append.new_block, |tail| &tail.id);
        let block = append.block.as_ref().unwrap_or(tail);
        (block, append.expected_offset.unwrap_or_default())
    });
    format!("{block} {offset}")
}

fn from_detail(receipt: Receipt, detail: &str) -> Outcome {
    let place = detail
        .split_once(' ')
        .and_then(|(block, offset)| Some((BlockId::parse(block).ok()?, offset.parse().ok()?)));
    let (block, offset) = place.ok_or(EngineError::Contended)?;
    Ok(AppendOutcome {
        receipt,
        block,
        offset,
    })
}
