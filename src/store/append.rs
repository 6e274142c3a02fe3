//! Appending text: calls that load nothing.

use redis::{Cmd, Value};

use super::{
    Store, StoreError,
    deltas::entries,
    extend::{Extended, Extension, each_extended, shares},
    known::{lease_name, parse_fence, says_cancel},
    reply::{Outcome, parse},
    text::{Append, Appended, Delta},
};
use crate::domain::{
    cursor::Cursor,
    ids::{BlockId, MessageId, UserId},
    message::MessageState,
};

/// Arguments of the function before the first entry.
const ARGUMENTS_BEFORE_ENTRIES: usize = 6;

impl Store {
    /// Makes appends in one journey. Each succeeds or fails alone; of several to a
    /// message, whichever comes first.
    pub async fn append(&self, appends: &[Append<'_>]) -> Vec<Result<Appended, StoreError>> {
        let extensions: Vec<_> = appends.iter().map(|each| self.extension(each)).collect();
        let known: Vec<&Extension<'_>> = extensions.iter().flatten().collect();
        let mut calls = redis::pipe();
        let mut is_repeatable = Vec::new();
        for share in shares(&known) {
            calls.add_command(self.extend_call(share));
            is_repeatable.push(false);
        }
        for (append, extension) in appends.iter().zip(&extensions) {
            if extension.is_none() {
                calls.add_command(self.append_call(append));
                is_repeatable.push(append.is_repeatable());
            }
        }

        let answers = self.link.write_all(&calls, |at| is_repeatable[at]).await;
        let mut answers = answers.into_iter();
        let mut extended = Vec::with_capacity(known.len());
        for share in shares(&known) {
            extended.extend(each_extended(answers.next().unwrap_or_else(missing), share));
        }
        let mut extended = extended.into_iter();
        let mut outcomes = Vec::with_capacity(appends.len());
        for (append, extension) in appends.iter().zip(&extensions) {
            outcomes.push(match extension {
                Some(_) => {
                    let extended = extended.next().unwrap_or_else(missing);
                    self.settle(extended, append).await
                }
                None => {
                    let answer = answers.next().unwrap_or_else(missing);
                    answer.and_then(|answer| self.parse(answer, append))
                }
            });
        }
        outcomes
    }

    /// Where the message is not what this process took it for, or has no room, the
    /// append is made anew.
    async fn settle(
        &self,
        extended: Result<Extended, StoreError>,
        append: &Append<'_>,
    ) -> Result<Appended, StoreError> {
        match extended? {
            Extended::Done(appended) => return Ok(appended),
            Extended::Changed(guard) => self.learn(append.message, &guard),
            Extended::Full => self.known.forget(append.message),
        }
        let again = self.link.write(&self.append_call(append)).await?;
        self.parse(again, append)
    }

    fn append_call(&self, append: &Append<'_>) -> Cmd {
        let entries = entries(append);
        let keys = self.keys.of_message(append.message);
        let mut call = self.functions.write("append", &keys);
        call.arg(append.block.map_or("", BlockId::as_str))
            .arg(append.text())
            .arg(append.fence);
        match append.expected_offset {
            Some(offset) => call.arg(offset),
            None => call.arg(""),
        };
        call.arg(append.deltas.len());

        // Most appends have no more to say, which makes them faster.
        let refresh = self.known.is_due(append.message);
        let has_rest =
            refresh || append.has_requests() || append.owner.is_some() || append.attempt.is_some();
        match has_rest {
            true => call.arg(ARGUMENTS_BEFORE_ENTRIES + 3 * entries.len() + 1),
            false => call.arg(""),
        };
        for entry in &entries {
            call.arg(entry.without_block())
                .arg(entry.count)
                .arg(entry.text_length);
        }
        if has_rest {
            call.arg(u8::from(refresh))
                .arg(append.owner.map_or("", UserId::as_str))
                .arg(append.time.timestamp_micros())
                .arg(append.attempt.map(lease_name).unwrap_or_default());
            add_requests(&mut call, &append.deltas);
        }
        call
    }

    /// Reads the answer of `append`.
    fn parse(&self, answer: Value, append: &Append<'_>) -> Result<Appended, StoreError> {
        match answer {
            Value::Array(refusal) => parse_refusal(Outcome::parse(Value::Array(refusal))?),
            place => {
                let place = Place::parse(place)?;
                let mut cancel_requested = false;
                if let Some(guard) = &place.guard {
                    cancel_requested = says_cancel(guard);
                    self.learn(append.message, guard);
                }
                place.appended(append, append.block, cancel_requested)
            }
        }
    }

    fn learn(&self, message: &MessageId, guard: &str) {
        self.known.learn(message, guard, &self.keys);
    }
}

fn missing<T>() -> Result<T, StoreError> {
    Err(StoreError::corrupt("an answer is missing"))
}

fn add_requests(call: &mut Cmd, deltas: &[Delta<'_>]) {
    let mut place = 0;
    for (number, delta) in deltas.iter().enumerate() {
        if let Some((id, fingerprint)) = delta.request {
            call.arg(number)
                .arg(place)
                .arg(id.as_str())
                .arg(fingerprint);
        }
        place += delta.text.len();
    }
}

/// Where text went: "<sequence> <offset>", perhaps followed by " <block>", and
/// that by " <guard>".
struct Place {
    sequence: u64,
    offset: u64,
    block: Option<String>,
    guard: Option<String>,
}

impl Place {
    fn parse(answer: Value) -> Result<Self, StoreError> {
        let answer: String = parse(answer)?;
        let mut parts = answer.splitn(4, ' ');
        let mut number = || {
            let number = parts.next().unwrap_or_default().parse();
            number.map_err(StoreError::corrupt)
        };
        Ok(Self {
            sequence: number()?,
            offset: number()?,
            block: parts.next().map(str::to_owned),
            guard: parts.next().map(str::to_owned),
        })
    }

    /// `expected` is the block that text most probably went to.
    fn appended(
        self,
        append: &Append<'_>,
        expected: Option<&BlockId>,
        cancel_requested: bool,
    ) -> Result<Appended, StoreError> {
        let named = self.block.as_deref();
        let block = match expected {
            Some(block) if named.is_none_or(|named| named == block.as_str()) => block.clone(),
            _ => BlockId::parse(named.unwrap_or_default()).map_err(StoreError::corrupt)?,
        };
        Ok(Appended::Done {
            first: Cursor {
                sequence: self.sequence,
                time: append.time,
            },
            offset: self.offset,
            block,
            cancel_requested,
        })
    }
}

fn parse_refusal(mut outcome: Outcome) -> Result<Appended, StoreError> {
    let block = |id: String| BlockId::parse(&id).map_err(StoreError::corrupt);
    let cursor = |text: &str| text.parse::<Cursor>().map_err(StoreError::corrupt);
    Ok(match outcome.word.as_str() {
        "repeat" => Appended::Repeated {
            cursor: cursor(&outcome.take::<String>()?)?,
            detail: outcome.take()?,
            cancel_requested: parse_fence(&outcome.take::<String>()?)?.1,
        },
        "applied" => Appended::Applied {
            block: block(outcome.take()?)?,
            offset: outcome.take()?,
            bytes: outcome.take()?,
        },
        "missing" => Appended::Missing,
        "terminal" => {
            let status: String = outcome.take()?;
            let state = MessageState::named(&status)
                .ok_or_else(|| StoreError::corrupt("the status of a message is unknown"))?;
            Appended::Terminal(state)
        }
        "fenced" => Appended::Fenced,
        "reused" => Appended::Reused,
        "offset" => Appended::OffsetMismatch {
            length: outcome.take()?,
        },
        "too_long" => Appended::TooLong,
        "unopened" => Appended::Unopened,
        "split" => Appended::Split,
        "corrupt" => return Err(StoreError::corrupt("a message has no log")),
        _ => return Err(outcome.unknown()),
    })
}
