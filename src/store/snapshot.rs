//! The fields of a message's hash, written and read.

use std::{collections::HashMap, time::Duration};

use prost::Message as _;
use redis::Value;

use super::{
    Loaded, StoreError,
    entry::ends,
    keys::SCHEMA,
    known::{fence, guard, parse_fence},
    reply::{array, elements, parse as parse_value},
};
use crate::{
    domain::{
        Time,
        content::{Block, BlockState, Content},
        ids::{BlockId, Label, MessageId, SessionId, UserId},
        message::{EndReason, Ending, Lease, Message, MessageState, Role},
        task::{Checkpoint, Task, TaskLease},
    },
    proto as v1,
    wire::{
        content::{block_from_v1, block_to_v1},
        task::{task_from_v1, task_to_v1},
    },
};

type Field = (String, Vec<u8>);

/// The fields of `after` that are not the same in `before`.
pub(super) fn changed_fields(before: Option<&Message>, after: &Message, log: &str) -> Vec<Field> {
    let old = before
        .map(|before| scalars(before, log))
        .unwrap_or_default();
    let mut fields = scalars(after, log);
    fields.retain(|field| !old.contains(field));
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()));

    let blocks = after
        .blocks
        .iter()
        .enumerate()
        .filter_map(|(index, block)| {
            let same = before.and_then(|before| before.blocks.get(index)) == Some(block);
            (!same).then(|| (format!("block:{index:04}"), encode_block(block)))
        });
    let tasks = after.tasks.iter().enumerate().flat_map(|(index, task)| {
        let old = before.and_then(|before| before.tasks.get(index));
        let old = old.map(|old| task_fields(index, old)).unwrap_or_default();
        let mut fields = task_fields(index, task);
        fields.retain(
            |field| match old.iter().find(|(name, _)| *name == field.0) {
                Some((_, value)) => *value != field.1,
                None => !field.1.is_empty(),
            },
        );
        fields
    });
    fields.chain(blocks).chain(tasks).collect()
}

/// A task as everybody sees it, and what is known of it besides.
fn task_fields(index: usize, task: &Task) -> Vec<Field> {
    let lease = task.lease.as_ref().map(task_lease_to_text);
    let Checkpoint { data, kept } = &task.checkpoint;
    let checkpoint = match data.is_empty() {
        true => String::new(),
        false => serde_json::Value::Object(data.clone()).to_string(),
    };
    let kept: Vec<_> = kept.iter().map(BlockId::as_str).collect();
    vec![
        (format!("task:{index:04}"), task_to_v1(task).encode_to_vec()),
        (
            format!("lease:{index:04}"),
            lease.unwrap_or_default().into_bytes(),
        ),
        (format!("checkpoint:{index:04}"), checkpoint.into_bytes()),
        (format!("kept:{index:04}"), kept.join(" ").into_bytes()),
    ]
}

/// When it ends, in microseconds, how long it lasts, in milliseconds, when it ends
/// at the latest, in microseconds, and whether it is closed.
fn task_lease_to_text(lease: &TaskLease) -> String {
    let limit = lease.limit.map(micros).unwrap_or_default();
    let millis = lease.duration.as_millis();
    let closed = if lease.is_closed { " closed" } else { "" };
    format!("{} {millis} {limit}{closed}", micros(lease.end))
}

fn task_lease_from_text(text: &str) -> Option<TaskLease> {
    let mut parts = text.split(' ');
    let end = parts.next()?.parse().ok()?;
    let millis = parts.next()?.parse().ok()?;
    let limit = parts.next().and_then(|limit| limit.parse().ok());
    Some(TaskLease {
        end: Time::from_timestamp_micros(end)?,
        duration: Duration::from_millis(millis),
        limit: limit.and_then(Time::from_timestamp_micros),
        is_closed: parts.next().is_some(),
    })
}

/// The text of an open block has a key of its own.
fn encode_block(block: &Block) -> Vec<u8> {
    if block.state != BlockState::Open {
        return block_to_v1(block).encode_to_vec();
    }
    let mut block = block.clone();
    if let Some(text) = block.content.as_mut().and_then(Content::text_mut) {
        text.clear();
    }
    block_to_v1(&block).encode_to_vec()
}

/// The fields that are readable text; `status` first, since the hash of a small
/// message is searched from the front.
fn scalars(message: &Message, log: &str) -> Vec<(&'static str, String)> {
    let open: Vec<_> = message
        .open_blocks()
        .map(|block| block.id.as_str())
        .collect();
    let mut fields = vec![
        ("status", message.state.name().to_owned()),
        ("log", log.to_owned()),
        ("fence", fence(message)),
        (
            "tail",
            message
                .tail()
                .map(|block| block.id.to_string())
                .unwrap_or_default(),
        ),
        ("open", open.join(" ")),
        ("guard", guard(message)),
        ("user", message.user.to_string()),
        ("schema", SCHEMA.to_owned()),
        ("role", message.role.name().to_owned()),
        ("session", message.session.to_string()),
        ("created", micros(message.create_time)),
        (
            "metadata",
            serde_json::Value::Object(message.metadata.clone()).to_string(),
        ),
    ];
    if let Some(parent) = &message.parent {
        fields.push(("parent", parent.to_string()));
    }
    if message.fence != 0 {
        let lease = message.lease.as_ref().map(lease_to_text);
        fields.push(("lease", lease.unwrap_or_default()));
    }
    if let Some(deadline) = message.cancel_deadline {
        fields.push(("cancel", micros(deadline)));
    }
    if let Some(ending) = &message.ending {
        fields.push(("ended", micros(ending.time)));
        fields.push(("end_reason", ending.reason.name().to_owned()));
        fields.push(("error", ending.error.clone()));
    }
    fields
}

/// Writer, times to live and of grace in milliseconds, when it was renewed and
/// when somebody else wrote, in microseconds.
fn lease_to_text(lease: &Lease) -> String {
    let Lease {
        writer,
        ttl,
        grace,
        renewed,
        others,
    } = lease;
    let (ttl, grace, renewed) = (ttl.as_millis(), grace.as_millis(), micros(*renewed));
    let others = others.map(micros).unwrap_or_default();
    format!("{writer} {ttl} {grace} {renewed} {others}")
}

fn lease_from_text(text: &str) -> Option<Lease> {
    let mut parts = text.split(' ');
    let writer = Label::parse(parts.next()?).ok()?;
    let mut number = || parts.next().filter(|part| !part.is_empty())?.parse().ok();
    let (ttl, grace): (i64, i64) = (number()?, number()?);
    let (renewed, others) = (number()?, number());
    Some(Lease {
        writer,
        ttl: Duration::from_millis(u64::try_from(ttl).ok()?),
        grace: Duration::from_millis(u64::try_from(grace).ok()?),
        renewed: Time::from_timestamp_micros(renewed)?,
        others: others.and_then(Time::from_timestamp_micros),
    })
}

fn micros(time: Time) -> String {
    time.timestamp_micros().to_string()
}

/// Reads the answer of `load`: the message, and how long the texts of its open
/// blocks are if those are still to be read. None where there is no such message.
pub(super) fn parse(
    answer: Value,
    id: &MessageId,
) -> Result<Option<(Loaded, Vec<usize>)>, StoreError> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let [fields, texts, last] = elements(answer)?;
    let fields = Fields(parse_value(fields)?);
    let session: SessionId = fields.id("session", SessionId::parse)?;
    let [last_entry, head] = ends(last)?;
    let mut message = Message {
        head,
        id: id.clone(),
        session,
        user: fields.id("user", UserId::parse)?,
        role: fields.named("role", Role::named)?,
        state: fields.named("status", MessageState::named)?,
        blocks: fields.list("block:", |bytes| {
            let block = v1::ContentBlock::decode(bytes).map_err(StoreError::corrupt)?;
            block_from_v1(block).map_err(StoreError::corrupt)
        })?,
        tasks: fields.tasks()?,
        metadata: serde_json::from_str(fields.text("metadata")?).map_err(StoreError::corrupt)?,
        parent: fields
            .0
            .contains_key("parent")
            .then(|| fields.id("parent", MessageId::parse))
            .transpose()?,
        create_time: fields.time("created")?,
        ending: fields.ending()?,
        fence: parse_fence(fields.text("fence")?)?.0,
        lease: fields.lease()?,
        cancel_deadline: fields.optional_time("cancel")?,
    };
    let mut texts = array(texts)?;
    let lengths = match texts.first() {
        Some(Value::Int(_)) => std::mem::take(&mut texts),
        _ => Vec::new(),
    };
    fill_texts(&mut message, texts)?;
    let loaded = Loaded {
        message,
        revision: fields.number("revision")?,
        last_entry,
        contents: fields.text("contents").unwrap_or_default().to_owned(),
        repeats: fields.text("repeats").unwrap_or_default().to_owned(),
    };
    let lengths = lengths.into_iter().map(parse_value);
    Ok(Some((loaded, lengths.collect::<Result<_, _>>()?)))
}

/// Gives the open blocks of a message their texts, in order.
pub(super) fn fill_texts(message: &mut Message, texts: Vec<Value>) -> Result<(), StoreError> {
    let open = message
        .blocks
        .iter_mut()
        .filter(|block| block.state == BlockState::Open);
    for (block, text) in open.zip(texts) {
        if let Some(empty) = block.content.as_mut().and_then(Content::text_mut) {
            *empty = parse_value::<Option<_>>(text)?.unwrap_or_default();
        }
    }
    Ok(())
}

struct Fields(HashMap<String, Vec<u8>>);

impl Fields {
    fn text(&self, name: &str) -> Result<&str, StoreError> {
        let bytes = self
            .0
            .get(name)
            .ok_or_else(|| StoreError::Corrupt(format!("a message has no field {name}")))?;
        std::str::from_utf8(bytes).map_err(StoreError::corrupt)
    }

    fn number(&self, name: &str) -> Result<u64, StoreError> {
        self.text(name)?.parse().map_err(StoreError::corrupt)
    }

    fn time(&self, name: &str) -> Result<Time, StoreError> {
        let micros = self.text(name)?.parse().map_err(StoreError::corrupt)?;
        Time::from_timestamp_micros(micros)
            .ok_or_else(|| StoreError::Corrupt(format!("field {name} is no time")))
    }

    fn optional_time(&self, name: &str) -> Result<Option<Time>, StoreError> {
        let is_there = self.0.contains_key(name);
        is_there.then(|| self.time(name)).transpose()
    }

    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        if !self.0.contains_key("lease") {
            return Ok(None);
        }
        let unknown = || StoreError::corrupt("the lease of a message cannot be read");
        match self.text("lease")? {
            "" => Ok(None),
            text => lease_from_text(text).ok_or_else(unknown).map(Some),
        }
    }

    fn id<T, E: ToString>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        parse(self.text(name)?).map_err(StoreError::corrupt)
    }

    fn named<T>(&self, name: &str, named: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        named(self.text(name)?)
            .ok_or_else(|| StoreError::Corrupt(format!("field {name} is unknown")))
    }

    fn ending(&self) -> Result<Option<Ending>, StoreError> {
        if !self.0.contains_key("ended") {
            return Ok(None);
        }
        Ok(Some(Ending {
            time: self.time("ended")?,
            reason: self.named("end_reason", EndReason::named)?,
            error: self.text("error")?.to_owned(),
        }))
    }

    fn tasks(&self) -> Result<Vec<Task>, StoreError> {
        let mut tasks = self.list("task:", |bytes| -> Result<Task, StoreError> {
            let task = v1::Task::decode(bytes).map_err(StoreError::corrupt)?;
            task_from_v1(task).map_err(StoreError::corrupt)
        })?;
        for (index, task) in tasks.iter_mut().enumerate() {
            let text = |kind: &str| self.text(&format!("{kind}:{index:04}")).ok();
            let some = |kind: &str| text(kind).filter(|text| !text.is_empty());
            let unknown = || StoreError::corrupt("the lease of a task cannot be read");
            let lease = some("lease").map(|text| task_lease_from_text(text).ok_or_else(unknown));
            task.lease = lease.transpose()?;
            if let Some(data) = some("checkpoint") {
                task.checkpoint.data = serde_json::from_str(data).map_err(StoreError::corrupt)?;
            }
            let kept = some("kept").unwrap_or_default().split_whitespace();
            let kept = kept.map(|id| BlockId::parse(id).map_err(StoreError::corrupt));
            task.checkpoint.kept = kept.collect::<Result<_, _>>()?;
        }
        Ok(tasks)
    }

    /// The fields `<prefix>0000`, `<prefix>0001` ... in order.
    fn list<T>(
        &self,
        prefix: &str,
        parse: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        (0..)
            .map_while(|index| self.0.get(&format!("{prefix}{index:04}")))
            .map(|bytes| parse(bytes))
            .collect()
    }
}
