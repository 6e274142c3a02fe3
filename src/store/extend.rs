//! Appends to messages that this process knows: many of them in one call, which
//! loads nothing and checks nothing but that each message is still what it was
//! taken for.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::{
    Store, StoreError,
    deltas::{DeltaEntry, entries},
    known::Target,
    reply::{Outcome, array},
    text::{Append, Appended},
};
use crate::domain::cursor::Cursor;

/// A call has no more bytes of entries than this, unless it has only one: Redis does
/// nothing else meanwhile.
const CALL_BYTES_MAX: usize = 256 * 1024;

/// An append that nothing speaks against which this process knows of.
pub(super) struct Extension<'a> {
    append: &'a Append<'a>,
    target: Arc<Target>,
    entry: DeltaEntry,
}

/// What became of one of those in a call.
#[derive(Clone)]
pub(super) enum Extended {
    /// It is written.
    Done(Appended),
    /// The message is another than it was taken for; this is its guard now.
    Changed(String),
    /// The text would be too long.
    Full,
}

impl Store {
    /// What an append becomes that can be made so; none where there is more to it.
    pub(super) fn extension<'a>(&self, append: &'a Append<'a>) -> Option<Extension<'a>> {
        let target = self.known.target(append.message, append.attempt)?;
        let has_right = append.attempt.is_some() || append.fence == target.fence;
        let is_aimed = has_right
            && append.block.is_none_or(|block| *block == target.block)
            && append.owner.is_none_or(|owner| *owner == target.user);
        if !is_aimed || append.expected_offset.is_some() || append.has_requests() {
            return None;
        }
        let mut entries = entries(append).into_iter();
        let entry = entries.next().filter(|_| entries.len() == 0)?;
        Some(Extension {
            append,
            target,
            entry,
        })
    }

    /// The call that makes them: see `extend.lua`.
    pub(super) fn extend_call(&self, extensions: &[&Extension<'_>]) -> Cmd {
        let targets = extensions.iter().map(|extension| &extension.target);
        let keys: Vec<&String> = targets.flat_map(|target| &target.keys).collect();
        let mut call = self.functions.write("extend", &keys);
        for Extension {
            append,
            target,
            entry,
        } in extensions
        {
            call.arg(&target.guard)
                .arg(append.text())
                .arg(entry.with_block(&target.block))
                .arg(entry.count);
        }
        call
    }
}

/// Those that share a call, call by call.
pub(super) fn shares<'s, 'a>(
    extensions: &'s [&'s Extension<'a>],
) -> impl Iterator<Item = &'s [&'s Extension<'a>]> {
    let mut bytes = 0;
    extensions.chunk_by(move |this, next| {
        bytes += this.entry.text_length;
        let is_full = bytes + next.entry.text_length > CALL_BYTES_MAX;
        if is_full {
            bytes = 0;
        }
        !is_full
    })
}

/// What became of each, from the answer to their call.
pub(super) fn each_extended(
    answer: Result<Value, StoreError>,
    extensions: &[&Extension<'_>],
) -> Vec<Result<Extended, StoreError>> {
    let answers = answer.and_then(|answer| match extensions {
        [_] => Ok(vec![answer]),
        _ => array(answer),
    });
    let answers = answers.and_then(|answers| {
        let is_one_each = answers.len() == extensions.len();
        let wrong = || StoreError::corrupt("extend gave other than one answer each");
        is_one_each.then_some(answers).ok_or_else(wrong)
    });
    match answers {
        Ok(answers) => {
            let each = extensions.iter().zip(answers);
            each.map(|(extension, answer)| extension.parse(answer.extract_error()?))
                .collect()
        }
        Err(error) => vec![Err(error); extensions.len()],
    }
}

impl Extension<'_> {
    fn parse(&self, answer: Value) -> Result<Extended, StoreError> {
        let place = match answer {
            Value::BulkString(place) => place,
            refusal => return parse_refusal(Outcome::parse(refusal)?),
        };
        let wrong = || StoreError::corrupt("extend gave no place");
        let (offset, sequence) = place.split_first_chunk().ok_or_else(wrong)?;
        let sequence = str::from_utf8(sequence).map_err(StoreError::corrupt)?;
        Ok(Extended::Done(Appended::Done {
            first: Cursor {
                sequence: sequence.parse().map_err(StoreError::corrupt)?,
                time: self.append.time,
            },
            offset: u64::from_le_bytes(*offset),
            block: self.target.block.clone(),
            cancel_requested: self.target.cancel_requested,
        }))
    }
}

fn parse_refusal(mut outcome: Outcome) -> Result<Extended, StoreError> {
    match outcome.word.as_str() {
        "changed" => Ok(Extended::Changed(outcome.take()?)),
        "full" => Ok(Extended::Full),
        "corrupt" => Err(StoreError::corrupt("a message has no log")),
        _ => Err(outcome.unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Time, ids::MessageId},
        store::{Delta, keys::Keys},
    };

    #[test]
    fn a_call_is_shared_up_to_its_size_and_larger_texts_have_one_alone() {
        let message = MessageId::parse("m").unwrap();
        let keys = Keys { database: 0 };
        let guard = "0 block s user";
        let target = Arc::new(Target::all_of(guard, &message, &keys).remove(0));
        let third = CALL_BYTES_MAX / 3;
        let lengths = [
            third,
            third,
            third,
            1,
            CALL_BYTES_MAX,
            CALL_BYTES_MAX + 1,
            1,
            2,
        ];
        let texts = lengths.map(|length| "x".repeat(length));
        let appends = texts.each_ref().map(|text| Append {
            message: &message,
            block: None,
            deltas: vec![Delta {
                text,
                request: None,
            }],
            time: Time::UNIX_EPOCH,
            expected_offset: None,
            fence: 0,
            attempt: None,
            owner: None,
        });
        let extensions = appends.each_ref().map(|append| Extension {
            append,
            target: target.clone(),
            entry: entries(append).remove(0),
        });
        let extensions = extensions.each_ref();
        let counts: Vec<usize> = shares(&extensions).map(<[_]>::len).collect();
        assert_eq!(counts, [4, 1, 1, 2]);
        assert_eq!(shares(&[]).count(), 0);
    }
}
