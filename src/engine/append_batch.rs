//! Appends that share a call.

use std::collections::HashSet;

use super::{AppendOutcome, AppendRequest, Receipt, Request};
use crate::{
    domain::{
        Time,
        cursor::Cursor,
        ids::{BlockId, RequestId},
    },
    store::{Append, Delta},
};

/// More deltas than this do not go into one call, whoever gathers them: Redis does
/// nothing else meanwhile.
const DELTAS_MAX: usize = 256;
/// Nor more bytes, unless there is only one delta.
const BYTES_MAX: u64 = 256 * 1024;

/// Appends that can share a call: they follow one another in the same block, by
/// the same right. At least one.
#[derive(Debug)]
pub struct AppendBatch {
    /// Who writes what; what a repeat is recognised by is with each delta.
    request: Request,
    block: Option<BlockId>,
    /// Where the first of the deltas is expected to go.
    expected_offset: Option<u64>,
    /// How many bytes the deltas are together.
    bytes: u64,
    deltas: Vec<BatchDelta>,
    request_ids: HashSet<RequestId>,
}

#[derive(Debug)]
struct BatchDelta {
    text: String,
    /// What a repeat is recognised by, with a digest of the request.
    repeat: Option<(RequestId, String)>,
}

impl From<AppendRequest> for AppendBatch {
    fn from(append: AppendRequest) -> Self {
        let AppendRequest {
            mut request,
            block,
            delta,
            expected_offset,
        } = append;
        let repeat = request.repeat.take();
        let mut batch = Self {
            request,
            block,
            expected_offset,
            bytes: 0,
            deltas: Vec::new(),
            request_ids: HashSet::new(),
        };
        batch.push(delta, repeat);
        batch
    }
}

impl AppendBatch {
    /// What it has in common.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// How many appends it has.
    pub fn count(&self) -> usize {
        self.deltas.len()
    }

    /// Adds the next append, or gives it back where it cannot share the call.
    pub fn add(&mut self, next: AppendRequest) -> Result<(), Box<AppendRequest>> {
        let AppendRequest { request, block, .. } = &next;
        let is_alike = self.request.message == request.message
            && self.request.right == request.right
            && self.request.principal == request.principal
            && self.block == *block
            && self.is_at(next.expected_offset);
        // A repeat within one call would not be recognised.
        let repeat = request.repeat.as_ref();
        let is_new = repeat.is_none_or(|(id, _)| !self.request_ids.contains(id));
        if !is_alike || !is_new || !self.has_room(&next.delta) {
            return Err(Box::new(next));
        }
        self.push(next.delta, next.request.repeat);
        Ok(())
    }

    /// Adds a delta, at least one byte, if it goes where the others go and has
    /// nothing to be recognised by when it is repeated. Most are like that, and
    /// need not be understood anew.
    pub fn add_delta(
        &mut self,
        message: &str,
        block: &str,
        fence: u64,
        expected_offset: Option<u64>,
        delta: &mut String,
    ) -> bool {
        let own_block = self.block.as_ref().map_or("", BlockId::as_str);
        let right = &self.request.right;
        let is_alike = self.request.message.as_str() == message
            && own_block == block
            && right.fence == fence
            && right.attempt.is_none()
            && self.is_at(expected_offset);
        if !is_alike || !self.has_room(delta) {
            return false;
        }
        self.push(std::mem::take(delta), None);
        true
    }

    fn has_room(&self, delta: &str) -> bool {
        self.count() < DELTAS_MAX && self.bytes + delta.len() as u64 <= BYTES_MAX
    }

    /// Whether an append that is expected there follows the last of them.
    fn is_at(&self, expected_offset: Option<u64>) -> bool {
        match (self.expected_offset, expected_offset) {
            (None, None) => true,
            (Some(first), Some(next)) => first.checked_add(self.bytes) == Some(next),
            _ => false,
        }
    }

    fn push(&mut self, text: String, repeat: Option<(RequestId, String)>) {
        self.bytes += text.len() as u64;
        self.request_ids
            .extend(repeat.iter().map(|(id, _)| id.clone()));
        self.deltas.push(BatchDelta { text, repeat });
    }

    /// The first of them by itself.
    pub(super) fn first(&self) -> AppendRequest {
        let BatchDelta { text, repeat } = &self.deltas[0];
        AppendRequest {
            request: Request {
                repeat: repeat.clone(),
                ..self.request.clone()
            },
            block: self.block.clone(),
            delta: text.clone(),
            expected_offset: self.expected_offset,
        }
    }

    /// Leaves out so many of the first. False where nothing is left.
    pub(super) fn skip(&mut self, count: usize) -> bool {
        if count >= self.count() {
            return false;
        }
        let bytes: u64 = self.lengths().take(count).sum();
        self.deltas.drain(..count);
        self.bytes -= bytes;
        // No overflow: what is left was found to follow there.
        self.expected_offset = self.expected_offset.map(|offset| offset + bytes);
        true
    }

    /// The call that they share.
    pub(super) fn to_append(&self, time: Time) -> Append<'_> {
        let deltas = self.deltas.iter().map(|delta| Delta {
            text: &delta.text,
            request: delta
                .repeat
                .as_ref()
                .map(|(id, fingerprint)| (id, fingerprint.as_str())),
        });
        Append {
            message: &self.request.message,
            block: self.block.as_ref(),
            deltas: deltas.collect(),
            time,
            expected_offset: self.expected_offset,
            fence: self.request.right.fence,
            attempt: self.request.right.attempt.as_ref(),
            owner: self.request.principal.owner(),
        }
    }

    /// Where each of them went, from where the first did.
    pub(super) fn places<'a>(
        &'a self,
        first: Cursor,
        block: &'a BlockId,
        offset: u64,
        cancel_requested: bool,
    ) -> impl Iterator<Item = AppendOutcome> + 'a {
        let sequences = first.sequence..;
        self.offsets(offset)
            .zip(sequences)
            .map(move |(offset, sequence)| AppendOutcome {
                receipt: Receipt::new(Cursor { sequence, ..first }, cancel_requested),
                block: block.clone(),
                offset,
            })
    }

    /// Where each of them begins, from where the first does.
    pub(super) fn offsets(&self, first: u64) -> impl Iterator<Item = u64> {
        self.lengths().scan(first, |next, length| {
            let begin = *next;
            *next += length;
            Some(begin)
        })
    }

    /// How many of the first lie within so many bytes.
    pub(super) fn within(&self, bytes: u64) -> usize {
        let ends = self.offsets(0).zip(self.lengths());
        ends.take_while(|(begin, length)| begin + length <= bytes)
            .count()
    }

    fn lengths(&self) -> impl Iterator<Item = u64> {
        self.deltas.iter().map(|delta| delta.text.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{command::Right, ids::MessageId, principal::Principal};

    fn request(message: &str, delta: &str, offset: Option<u64>) -> AppendRequest {
        AppendRequest {
            request: Request {
                principal: Principal::Anonymous,
                message: MessageId::parse(message).unwrap(),
                right: Right::default(),
                repeat: None,
            },
            block: None,
            delta: delta.to_owned(),
            expected_offset: offset,
        }
    }

    fn repeatable(id: &str) -> AppendRequest {
        let mut append = request("m", "x", None);
        append.request.repeat = Some((RequestId::parse(id).unwrap(), String::new()));
        append
    }

    #[test]
    fn what_follows_is_added_and_anything_else_is_given_back() {
        let mut batch = AppendBatch::from(request("m", "abc", Some(10)));
        batch.add(request("m", "de", Some(13))).unwrap();
        assert!(batch.add_delta("m", "", 0, Some(15), &mut "f".to_owned()));
        for (message, offset) in [("m", Some(15)), ("m", None), ("other", Some(16))] {
            let next = batch.add(request(message, "x", offset)).unwrap_err();
            assert_eq!(next.expected_offset, offset);
            assert!(!batch.add_delta(message, "", 0, offset, &mut "x".to_owned()));
        }
        for (block, fence) in [("b", 0), ("", 1)] {
            assert!(!batch.add_delta("m", block, fence, Some(16), &mut "x".to_owned()));
        }
        assert_eq!(batch.count(), 3);
        assert_eq!(batch.offsets(10).collect::<Vec<_>>(), [10, 13, 15]);
    }

    #[test]
    fn a_repeat_is_never_in_the_call_of_the_first() {
        let mut batch = AppendBatch::from(repeatable("r1"));
        batch.add(repeatable("r2")).unwrap();
        assert!(batch.add(repeatable("r1")).is_err());
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut batch = AppendBatch::from(request("m", "x", None));
        while batch.add_delta("m", "", 0, None, &mut "x".to_owned()) {}
        assert_eq!(batch.count(), DELTAS_MAX);
        assert!(batch.add(request("m", "x", None)).is_err());

        let half = "x".repeat(BYTES_MAX as usize / 2);
        let mut batch = AppendBatch::from(request("m", &half, None));
        batch.add(request("m", &half, None)).unwrap();
        assert!(!batch.add_delta("m", "", 0, None, &mut "x".to_owned()));
        assert!(batch.add(request("m", "x", None)).is_err());
    }

    #[test]
    fn what_was_settled_is_left_out_and_the_rest_expected_behind_it() {
        let mut batch = AppendBatch::from(request("m", "abc", Some(10)));
        batch.add(request("m", "de", Some(13))).unwrap();
        assert_eq!([2, 3, 4, 5].map(|bytes| batch.within(bytes)), [0, 1, 1, 2]);
        assert!(batch.skip(1));
        let rest = batch.first();
        assert_eq!(
            (rest.delta.as_str(), rest.expected_offset),
            ("de", Some(13))
        );
        batch.add(request("m", "f", Some(15))).unwrap();
        assert!(!batch.skip(2));
        assert!(!AppendBatch::from(request("m", "x", Some(u64::MAX))).skip(1));
    }
}
