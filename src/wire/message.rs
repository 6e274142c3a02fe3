//! Messages.

use prost::Message as _;

use super::{
    content::{block_from_v1, block_into_v1, block_to_v1},
    task::{task_of_message_to_v1, task_to_v1},
    values::{metadata_to_v1, time_to_v1},
};
use crate::{
    domain::{
        content::{Block, Content, ContentRef},
        ids::MessageId,
        limits,
        message::{EndReason, Message, MessageState, Role},
        task::Task,
    },
    proto as v1,
};

/// What a message holds besides its text and the content of its blocks is far
/// below this many bytes of a frame.
const FRAME_RESERVE: usize = 4 * 1024;

/// A message for clients.
///
/// `text` has the text of each TEXT block, also of those kept out of line;
/// `text_truncated` says that there is more of it.
pub fn message_to_v1(mut message: Message, text: String, text_truncated: bool) -> v1::Message {
    let blocks = message.blocks.drain(..).map(block_into_v1).collect();
    v1::Message {
        message_id: message.id.to_string(),
        session_id: message.session.to_string(),
        role: role_to_v1(message.role).into(),
        state: state_to_v1(message.state).into(),
        blocks,
        text,
        text_truncated,
        tasks: message
            .tasks
            .iter()
            .map(|task| task_of_message_to_v1(task, &message))
            .collect(),
        metadata: metadata_to_v1(&message.metadata),
        parent_message_id: message
            .parent
            .as_ref()
            .map(MessageId::to_string)
            .unwrap_or_default(),
        create_time: Some(time_to_v1(message.create_time)),
        update_time: Some(time_to_v1(message.head.time)),
        end_time: message
            .ending
            .as_ref()
            .map(|ending| time_to_v1(ending.time)),
        end_reason: message
            .ending
            .as_ref()
            .map_or(v1::EndReason::Unspecified, |ending| {
                reason_to_v1(ending.reason)
            })
            .into(),
        error: message
            .ending
            .as_ref()
            .map(|ending| ending.error.clone())
            .unwrap_or_default(),
        cancel_requested: message.cancel_requested(),
        sequence: message.head.sequence,
        cursor: message.head.to_string(),
    }
}

/// Size in bytes of what clients see of blocks and tasks beside their content.
pub fn size_beside_content<'a>(
    blocks: impl Iterator<Item = &'a Block>,
    tasks: impl Iterator<Item = &'a Task>,
) -> usize {
    let blocks = blocks.map(|block| {
        let block_len = block_to_v1(block).encoded_len();
        block_len.saturating_sub(inline_size(block))
    });
    let tasks = tasks.map(|task| task_to_v1(task).encoded_len());
    blocks.chain(tasks).sum()
}

fn inline_size(block: &Block) -> usize {
    block.content.as_ref().map_or(0, Content::inline_size)
}

/// A message cut to fit into one frame: first the text, then the blocks that fit
/// beside it; the others by reference.
pub fn fitted(mut message: v1::Message) -> v1::Message {
    let room = limits::FRAME_BYTES_MAX - FRAME_RESERVE;
    let mut size = message.encoded_len();
    if size <= room {
        return message;
    }
    let blocks = message.blocks.iter().enumerate();
    let blocks =
        blocks.filter_map(|(index, block)| Some((index, block_from_v1(block.clone()).ok()?)));
    let mut largest: Vec<_> = blocks.collect();
    largest.sort_by_key(|(_, block)| std::cmp::Reverse(inline_size(block)));
    for (index, mut block) in largest {
        if size <= room {
            return message;
        }
        if let Some(content) = &mut block.content
            && content.inline_size() > 0
        {
            let reference = ContentRef {
                id: None,
                size: content.inline_size() as u64,
                media_type: content.media_type().to_owned(),
                sha256: String::new(),
            };
            content.store_at(reference);
            size -= message.blocks[index].encoded_len();
            message.blocks[index] = block_into_v1(block);
            size += message.blocks[index].encoded_len();
        }
    }
    if size > room {
        let kept = message.text.len().saturating_sub(size - room);
        message
            .text
            .truncate(message.text.floor_char_boundary(kept));
        message.text_truncated = true;
    }
    message
}

/// A role for clients.
pub fn role_to_v1(role: Role) -> v1::Role {
    match role {
        Role::User => v1::Role::User,
        Role::Assistant => v1::Role::Assistant,
        Role::System => v1::Role::System,
        Role::Tool => v1::Role::Tool,
    }
}

/// A role that a client named or that was stored.
pub fn role_from_v1(role: v1::Role) -> Option<Role> {
    match role {
        v1::Role::Unspecified => None,
        v1::Role::User => Some(Role::User),
        v1::Role::Assistant => Some(Role::Assistant),
        v1::Role::System => Some(Role::System),
        v1::Role::Tool => Some(Role::Tool),
    }
}

/// A state for clients.
pub fn state_to_v1(state: MessageState) -> v1::MessageState {
    match state {
        MessageState::Streaming => v1::MessageState::Streaming,
        MessageState::Completed => v1::MessageState::Completed,
        MessageState::Failed => v1::MessageState::Failed,
        MessageState::Cancelled => v1::MessageState::Cancelled,
        MessageState::Interrupted => v1::MessageState::Interrupted,
    }
}

/// A state that a client named or that was stored.
pub fn state_from_v1(state: v1::MessageState) -> Option<MessageState> {
    match state {
        v1::MessageState::Unspecified => None,
        v1::MessageState::Streaming => Some(MessageState::Streaming),
        v1::MessageState::Completed => Some(MessageState::Completed),
        v1::MessageState::Failed => Some(MessageState::Failed),
        v1::MessageState::Cancelled => Some(MessageState::Cancelled),
        v1::MessageState::Interrupted => Some(MessageState::Interrupted),
    }
}

/// A reason for clients.
pub fn reason_to_v1(reason: EndReason) -> v1::EndReason {
    match reason {
        EndReason::Client => v1::EndReason::Client,
        EndReason::WriterLost => v1::EndReason::WriterLost,
        EndReason::CancelRequested => v1::EndReason::CancelRequested,
        EndReason::TaskEnded => v1::EndReason::TaskEnded,
    }
}

/// A reason that was stored.
pub fn reason_from_v1(reason: v1::EndReason) -> Option<EndReason> {
    match reason {
        v1::EndReason::Unspecified => None,
        v1::EndReason::Client => Some(EndReason::Client),
        v1::EndReason::WriterLost => Some(EndReason::WriterLost),
        v1::EndReason::CancelRequested => Some(EndReason::CancelRequested),
        v1::EndReason::TaskEnded => Some(EndReason::TaskEnded),
    }
}

#[cfg(test)]
mod tests {
    use v1::content_block::Content as V1;

    use super::*;

    fn block(id: usize, text: &str, metadata_bytes: usize) -> v1::ContentBlock {
        let note = prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(
                "n".repeat(metadata_bytes),
            )),
        };
        let time = Some(prost_types::Timestamp::default());
        v1::ContentBlock {
            block_id: format!("b{id}"),
            state: v1::BlockState::Sealed.into(),
            content_type: v1::ContentType::Text.into(),
            metadata: Some(prost_types::Struct {
                fields: [("note".to_owned(), note)].into(),
            }),
            create_time: time,
            update_time: time,
            content: Some(V1::Text(v1::TextContent {
                source: Some(v1::text_content::Source::Text(text.to_owned())),
            })),
            ..Default::default()
        }
    }

    #[test]
    fn the_largest_blocks_make_room_for_the_text() {
        let text = "x".repeat(500_000);
        let mut blocks: Vec<_> = (0..30).map(|id| block(id, "small", 45_000)).collect();
        blocks.push(block(30, &text, 0));
        let sent = fitted(v1::Message {
            blocks: blocks.clone(),
            text: text.clone(),
            ..Default::default()
        });
        assert!(sent.encoded_len() <= limits::FRAME_BYTES_MAX);
        assert_eq!(sent.text, text);
        assert!(!sent.text_truncated);
        assert_eq!(sent.blocks[..30], blocks[..30]);
        let expected = Some(V1::Text(v1::TextContent {
            source: Some(v1::text_content::Source::ContentRef(v1::ContentRef {
                size: 500_000,
                media_type: "text/plain".to_owned(),
                ..Default::default()
            })),
        }));
        assert_eq!(sent.blocks[30].content, expected);
    }

    #[test]
    fn text_is_cut_where_it_does_not_fit_by_itself() {
        let sent = fitted(v1::Message {
            blocks: vec![block(0, &"x".repeat(1_000_000), 0)],
            text: "ü".repeat(limits::FRAME_BYTES_MAX),
            ..Default::default()
        });
        assert!(sent.encoded_len() <= limits::FRAME_BYTES_MAX);
        assert!(sent.text_truncated);
        assert!(sent.text.len() > limits::FRAME_BYTES_MAX - 2 * FRAME_RESERVE);
    }
}
