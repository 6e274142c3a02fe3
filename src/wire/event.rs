//! Events.

use super::{
    Malformed,
    content::{block_from_v1, block_to_v1, reference_from_v1, reference_to_v1},
    message::{reason_from_v1, reason_to_v1, role_from_v1, role_to_v1, state_from_v1, state_to_v1},
    task::{task_from_v1, task_to_v1},
    values::{metadata_from_v1, metadata_to_v1, time_from_v1, time_to_v1},
};
use crate::{
    domain::{
        Time,
        event::{Change, Event},
        ids::{BlockId, Label, MessageId, SessionId},
    },
    proto::{self as v1, EventType, event::Payload},
};

/// A change as it is stored: the entry of the log says where, the log itself
/// says of which message.
pub fn change_to_v1(change: &Change, time: Time) -> v1::Event {
    let (event_type, payload) = payload_to_v1(change);
    v1::Event {
        event_type: event_type.into(),
        time: Some(time_to_v1(time)),
        payload: Some(payload),
        ..v1::Event::default()
    }
}

/// Text that was appended.
pub fn delta_to_v1(block: &str, offset: u64, delta: String, time: Time) -> v1::Event {
    v1::Event {
        event_type: EventType::TextDelta.into(),
        time: Some(time_to_v1(time)),
        payload: Some(Payload::TextDelta(v1::TextDelta {
            block_id: block.to_owned(),
            offset,
            delta,
        })),
        ..v1::Event::default()
    }
}

/// A stored event for clients. In the log of a session each event names its
/// message itself.
pub fn place_event(
    mut event: v1::Event,
    sequence: u64,
    time: Time,
    session: &SessionId,
    message: Option<&MessageId>,
) -> v1::Event {
    event.cursor = crate::domain::cursor::Cursor { sequence, time }.to_string();
    event.sequence = sequence;
    event.session_id = session.to_string();
    if let Some(message) = message {
        event.message_id = message.to_string();
    }
    if let Some(task) = event.payload.as_mut().and_then(task_mut) {
        task.session_id = session.to_string();
        task.message_id.clone_from(&event.message_id);
    }
    event
}

fn task_mut(payload: &mut Payload) -> Option<&mut v1::Task> {
    match payload {
        Payload::TaskStarted(v1::TaskStarted { task })
        | Payload::TaskProgress(v1::TaskProgress { task })
        | Payload::TaskCompleted(v1::TaskCompleted { task })
        | Payload::TaskFailed(v1::TaskFailed { task })
        | Payload::TaskCancelled(v1::TaskCancelled { task }) => task.as_mut(),
        _ => None,
    }
}

fn payload_to_v1(change: &Change) -> (EventType, Payload) {
    match change {
        Change::Started {
            role,
            metadata,
            parent,
        } => (
            EventType::MessageStart,
            Payload::MessageStart(v1::MessageStart {
                role: role_to_v1(*role).into(),
                metadata: metadata_to_v1(metadata),
                parent_message_id: parent
                    .as_ref()
                    .map(MessageId::to_string)
                    .unwrap_or_default(),
            }),
        ),
        Change::Ended {
            state,
            reason,
            error,
            sealed,
        } => (
            EventType::MessageEnd,
            Payload::MessageEnd(v1::MessageEnd {
                state: state_to_v1(*state).into(),
                end_reason: reason_to_v1(*reason).into(),
                error: error.clone(),
                sealed_texts: sealed
                    .iter()
                    .map(|(block, reference)| v1::SealedText {
                        block_id: block.to_string(),
                        content_ref: Some(reference_to_v1(reference)),
                    })
                    .collect(),
            }),
        ),
        Change::TextAppended {
            block,
            offset,
            delta,
        } => (
            EventType::TextDelta,
            Payload::TextDelta(v1::TextDelta {
                block_id: block.to_string(),
                offset: *offset,
                delta: delta.clone(),
            }),
        ),
        Change::ContentAdded(block) => {
            let block = Some(block_to_v1(block));
            let added = v1::ContentAdded { block };
            (EventType::ContentAdded, Payload::ContentAdded(added))
        }
        Change::ContentUpdated(block) => {
            let block = Some(block_to_v1(block));
            let updated = v1::ContentUpdated { block };
            (EventType::ContentUpdated, Payload::ContentUpdated(updated))
        }
        Change::TaskStarted(task) => {
            let task = Some(task_to_v1(task));
            let started = v1::TaskStarted { task };
            (EventType::TaskStarted, Payload::TaskStarted(started))
        }
        Change::TaskProgressed(task) => {
            let task = Some(task_to_v1(task));
            let progress = v1::TaskProgress { task };
            (EventType::TaskProgress, Payload::TaskProgress(progress))
        }
        Change::TaskCompleted(task) => {
            let task = Some(task_to_v1(task));
            let completed = v1::TaskCompleted { task };
            (EventType::TaskCompleted, Payload::TaskCompleted(completed))
        }
        Change::TaskFailed(task) => {
            let task = Some(task_to_v1(task));
            let failed = v1::TaskFailed { task };
            (EventType::TaskFailed, Payload::TaskFailed(failed))
        }
        Change::TaskCancelled(task) => {
            let task = Some(task_to_v1(task));
            let cancelled = v1::TaskCancelled { task };
            (EventType::TaskCancelled, Payload::TaskCancelled(cancelled))
        }
        Change::CancelRequested { reason, deadline } => {
            let request = v1::CancelRequested {
                reason: reason.clone(),
                deadline: Some(time_to_v1(*deadline)),
            };
            (
                EventType::CancelRequested,
                Payload::CancelRequested(request),
            )
        }
        Change::Failed { message } => {
            let message = message.clone();
            (EventType::Error, Payload::Error(v1::Error { message }))
        }
        Change::Custom { name, data } => {
            let custom = v1::Custom {
                name: name.to_string(),
                data: metadata_to_v1(data),
            };
            (EventType::Custom, Payload::Custom(custom))
        }
    }
}

/// When a stored event happened.
pub fn time_of(event: &v1::Event) -> Result<Time, Malformed> {
    time_from_v1(event.time.as_ref(), "time")
}

/// An event that was stored or that a client was told.
pub fn event_from_v1(event: v1::Event) -> Result<Event, Malformed> {
    Ok(Event {
        sequence: event.sequence,
        time: time_of(&event)?,
        change: event
            .payload
            .ok_or(Malformed::new("payload", "is missing"))
            .and_then(change_from_v1)?,
    })
}

fn change_from_v1(payload: Payload) -> Result<Change, Malformed> {
    let block = |block: Option<v1::ContentBlock>| {
        block
            .ok_or(Malformed::new("block", "is missing"))
            .and_then(block_from_v1)
    };
    let task = |task: Option<v1::Task>| {
        task.ok_or(Malformed::new("task", "is missing"))
            .and_then(task_from_v1)
    };
    Ok(match payload {
        Payload::MessageStart(start) => Change::Started {
            role: role_from_v1(start.role()).ok_or(Malformed::new("role", "is unknown"))?,
            metadata: metadata_from_v1(start.metadata.as_ref(), "metadata")?,
            parent: match start.parent_message_id.as_str() {
                "" => None,
                id => {
                    Some(MessageId::parse(id).map_err(|e| Malformed::new("parent_message_id", e))?)
                }
            },
        },
        Payload::MessageEnd(end) => Change::Ended {
            state: state_from_v1(end.state()).ok_or(Malformed::new("state", "is unknown"))?,
            reason: reason_from_v1(end.end_reason())
                .ok_or(Malformed::new("end_reason", "is unknown"))?,
            error: end.error,
            sealed: end
                .sealed_texts
                .into_iter()
                .map(sealed_from_v1)
                .collect::<Result<_, _>>()?,
        },
        Payload::TextDelta(delta) => Change::TextAppended {
            block: block_id(&delta.block_id)?,
            offset: delta.offset,
            delta: delta.delta,
        },
        Payload::ContentAdded(added) => Change::ContentAdded(block(added.block)?),
        Payload::ContentUpdated(updated) => Change::ContentUpdated(block(updated.block)?),
        Payload::TaskStarted(started) => Change::TaskStarted(task(started.task)?),
        Payload::TaskProgress(progress) => Change::TaskProgressed(task(progress.task)?),
        Payload::TaskCompleted(completed) => Change::TaskCompleted(task(completed.task)?),
        Payload::TaskFailed(failed) => Change::TaskFailed(task(failed.task)?),
        Payload::TaskCancelled(cancelled) => Change::TaskCancelled(task(cancelled.task)?),
        Payload::Error(error) => Change::Failed {
            message: error.message,
        },
        Payload::Custom(custom) => Change::Custom {
            name: Label::parse(&custom.name).map_err(|e| Malformed::new("name", e))?,
            data: metadata_from_v1(custom.data.as_ref(), "data")?,
        },
        Payload::CancelRequested(request) => Change::CancelRequested {
            reason: request.reason,
            deadline: time_from_v1(request.deadline.as_ref(), "deadline")?,
        },
    })
}

fn block_id(id: &str) -> Result<BlockId, Malformed> {
    BlockId::parse(id).map_err(|e| Malformed::new("block_id", e))
}

fn sealed_from_v1(
    sealed: v1::SealedText,
) -> Result<(BlockId, crate::domain::content::ContentRef), Malformed> {
    let reference = sealed
        .content_ref
        .ok_or(Malformed::new("content_ref", "is missing"))?;
    Ok((block_id(&sealed.block_id)?, reference_from_v1(reference)?))
}
