//! Appending text, one delta or many at once.

use std::collections::HashSet;

use super::{ContentSource, Engine, EngineError, Receipt, Request, clock};
use crate::{
    domain::{
        Time,
        command::{AppendText, Command},
        cursor::Cursor,
        event::Change,
        ids::BlockId,
        limits,
        message::Message,
        refusal::Refusal,
    },
    store::{Append, Appended, Delta, StoreError},
};

/// More deltas than this do not go into one call: Redis does nothing else
/// meanwhile.
const BATCH_MAX: usize = 256;

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
        let appended = self.try_append(std::slice::from_ref(wanted)).await?;
        self.settle(wanted, appended).await
    }

    /// Appends text for many requests, in order: those that go to the same
    /// block become one call, so that they cost little more than one of them.
    pub async fn append_texts(&self, mut wanted: Vec<AppendRequest>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(wanted.len());
        while !wanted.is_empty() {
            let others = wanted.split_off(shareable(&wanted));
            let batch = std::mem::replace(&mut wanted, others);
            self.append_batch(batch, &mut outcomes).await;
        }
        outcomes
    }

    /// Appends requests that may share a call. Where they cannot, since one of
    /// them opens a block or was made before, it takes several.
    async fn append_batch(&self, batch: Vec<AppendRequest>, outcomes: &mut Vec<Outcome>) {
        let count = batch.len();
        let (batch, mut appended) = match self.committer.append(batch).await {
            Ok(done) => done,
            Err(error) => return outcomes.extend((0..count).map(|_| Err(error.clone()))),
        };
        let mut rest = batch.as_slice();
        loop {
            let settled = self.settle_batch(rest, appended, outcomes).await;
            rest = &rest[settled..];
            if rest.is_empty() {
                return;
            }
            appended = self.try_append(rest).await;
        }
    }

    async fn try_append(&self, batch: &[AppendRequest]) -> Result<Appended, StoreError> {
        let append = to_append(batch, clock::now());
        let appended = self.store.append(&[append]).await.pop();
        appended.unwrap_or(Ok(Appended::Split))
    }

    /// Answers the first of the requests that shared a call, at least one.
    /// Returns how many.
    async fn settle_batch(
        &self,
        batch: &[AppendRequest],
        appended: Result<Appended, StoreError>,
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                outcomes.extend(batch.iter().map(|_| Err(error.clone().into())));
                return batch.len();
            }
        };
        match appended {
            Appended::Done {
                first,
                block,
                offset,
                cancel_requested,
            } => {
                let written = places(batch, first, &block, offset, cancel_requested);
                outcomes.extend(written.map(Ok));
                batch.len()
            }
            Appended::Applied {
                block,
                offset,
                bytes,
            } if within(batch, bytes) > 0 => {
                let known = within(batch, bytes);
                let applied = self.applied(&batch[0], block, offset).await;
                outcomes.extend(repeats(&batch[..known], applied));
                known
            }
            // What is so for one of them is so for all.
            Appended::Missing | Appended::Terminal(_) | Appended::Fenced => {
                for wanted in batch {
                    outcomes.push(self.settle(wanted, appended.clone()).await);
                }
                batch.len()
            }
            appended if batch.len() == 1 => {
                outcomes.push(self.settle(&batch[0], appended).await);
                1
            }
            _ => {
                outcomes.push(self.append_text(&batch[0]).await);
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
            match self.try_append(std::slice::from_ref(wanted)).await? {
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
        let source = ContentSource::Block(request.message.clone(), block.clone());
        let length = wanted.delta.len() as u64;
        let held = self.read_content(&request.principal, &source, offset, length);
        match held.await {
            Ok((_, held)) if held == wanted.delta => {
                self.applied(wanted, block.clone(), offset).await.map(Some)
            }
            Ok(_) | Err(EngineError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether changes do more than append to a block that is open.
fn open_a_block(changes: &[Change]) -> bool {
    let appends = |change| matches!(change, &Change::TextAppended { .. });
    !changes.iter().all(appends)
}

/// How many of the first requests can share a call.
fn shareable(wanted: &[AppendRequest]) -> usize {
    let mut ids = HashSet::new();
    let mut count = 0;
    for next in wanted.iter().take(BATCH_MAX) {
        // A repeat within one call would not be recognised.
        let repeat = next.request.repeat.as_ref();
        let is_new = repeat.is_none_or(|(id, _)| ids.insert(id));
        let follows = count == 0 || can_follow(&wanted[count - 1], next);
        if !is_new || !follows {
            break;
        }
        count += 1;
    }
    count
}

/// Whether `next` can go into the call of the one before it.
fn can_follow(before: &AppendRequest, next: &AppendRequest) -> bool {
    let is_contiguous = match (before.expected_offset, next.expected_offset) {
        (None, None) => true,
        (Some(before_offset), Some(next_offset)) => {
            before_offset.checked_add(before.delta.len() as u64) == Some(next_offset)
        }
        _ => false,
    };
    is_contiguous
        && before.request.message == next.request.message
        && before.block == next.block
        && before.request.right == next.request.right
        && before.request.principal == next.request.principal
}

/// Requests that share a call, as that call.
pub(super) fn to_append(batch: &[AppendRequest], time: Time) -> Append<'_> {
    let AppendRequest {
        request,
        block,
        expected_offset,
        ..
    } = &batch[0];
    Append {
        message: &request.message,
        block: block.as_ref(),
        deltas: batch.iter().map(to_delta).collect(),
        time,
        expected_offset: *expected_offset,
        fence: request.right.fence,
        attempt: request.right.attempt.as_ref(),
        owner: request.principal.owner(),
    }
}

fn to_delta(wanted: &AppendRequest) -> Delta<'_> {
    let repeat = wanted.request.repeat.as_ref();
    Delta {
        text: &wanted.delta,
        request: repeat.map(|(id, fingerprint)| (id, fingerprint.as_str())),
    }
}

/// Where each of the requests that shared a call went.
fn places<'a>(
    batch: &'a [AppendRequest],
    first: Cursor,
    block: &'a BlockId,
    offset: u64,
    cancel_requested: bool,
) -> impl Iterator<Item = AppendOutcome> + 'a {
    let mut offset = offset;
    batch
        .iter()
        .zip(first.sequence..)
        .map(move |(wanted, sequence)| {
            let begin = offset;
            offset += wanted.delta.len() as u64;
            AppendOutcome {
                receipt: Receipt::new(Cursor { sequence, ..first }, cancel_requested),
                block: block.clone(),
                offset: begin,
            }
        })
}

/// How many of the first deltas lie within so many bytes.
fn within(batch: &[AppendRequest], bytes: u64) -> usize {
    let ends = batch.iter().scan(0, |end, wanted| {
        *end += wanted.delta.len() as u64;
        Some(*end)
    });
    ends.take_while(|end| *end <= bytes).count()
}

/// The answers to deltas that stand where they belong, from that to the first.
fn repeats(batch: &[AppendRequest], first: Outcome) -> Vec<Outcome> {
    let mut place = 0;
    let answer = |wanted: &AppendRequest| {
        let begin = place;
        place += wanted.delta.len() as u64;
        first.clone().map(|first| AppendOutcome {
            offset: first.offset + begin,
            ..first
        })
    };
    batch.iter().map(answer).collect()
}

/// What an append is answered: block and offset, apart by a space. Others may
/// have opened the block, so only the decision knows both.
pub(super) fn detail(append: &AppendText, message: &Message, changes: &[Change]) -> String {
    let written = changes.iter().find_map(|change| match change {
        Change::TextAppended { block, offset, .. } => Some((block, *offset)),
        _ => None,
    });
    let (block, offset) = written.unwrap_or_else(|| {
        // Nothing was appended: the text stands where it was expected.
        let tail = message.tail().map_or(&append.new_block, |tail| &tail.id);
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
