//! Blocks and what they hold.

use bytes::Bytes;
use chrono::TimeDelta;
use prost_types::Duration;

use super::{
    Malformed,
    values::{metadata_from_v1, metadata_to_v1, time_from_v1, time_to_v1},
};
use crate::{
    domain::{
        content::{
            Block, BlockState, Body, Content, ContentKind, ContentRef, Media, MediaKind, Source,
            TextKind, Textual,
        },
        ids::{BlockId, ContentId, TaskId},
    },
    proto::{self as v1, content_block::Content as V1},
};

/// A block for clients and for the store.
pub fn block_to_v1(block: &Block) -> v1::ContentBlock {
    block_into_v1(block.clone())
}

/// The same, of a block whose content need not be copied.
pub fn block_into_v1(block: Block) -> v1::ContentBlock {
    v1::ContentBlock {
        block_id: block.id.to_string(),
        state: match block.state {
            BlockState::Open => v1::BlockState::Open,
            BlockState::Sealed => v1::BlockState::Sealed,
            BlockState::Placeholder => v1::BlockState::Placeholder,
        }
        .into(),
        content_type: block
            .kind
            .map_or(v1::ContentType::Unspecified, kind_to_v1)
            .into(),
        metadata: metadata_to_v1(&block.metadata),
        task_id: block
            .task
            .as_ref()
            .map(TaskId::to_string)
            .unwrap_or_default(),
        error: block.error.unwrap_or_default(),
        create_time: Some(time_to_v1(block.create_time)),
        update_time: Some(time_to_v1(block.update_time)),
        content: block.content.map(content_to_v1),
    }
}

/// A block that was stored.
pub fn block_from_v1(block: v1::ContentBlock) -> Result<Block, Malformed> {
    let state = match block.state() {
        v1::BlockState::Open => BlockState::Open,
        v1::BlockState::Sealed => BlockState::Sealed,
        v1::BlockState::Placeholder => BlockState::Placeholder,
        v1::BlockState::Unspecified => return Err(Malformed::new("state", "is unknown")),
    };
    let task = (!block.task_id.is_empty())
        .then(|| TaskId::parse(&block.task_id).map_err(|e| Malformed::new("task_id", e)))
        .transpose()?;
    Ok(Block {
        id: BlockId::parse(&block.block_id).map_err(|e| Malformed::new("block_id", e))?,
        state,
        kind: kind_from_v1(block.content_type()),
        metadata: metadata_from_v1(block.metadata.as_ref(), "metadata")?,
        task,
        error: (!block.error.is_empty()).then_some(block.error),
        create_time: time_from_v1(block.create_time.as_ref(), "create_time")?,
        update_time: time_from_v1(block.update_time.as_ref(), "update_time")?,
        content: block.content.map(content_from_v1).transpose()?,
    })
}

/// A kind of content for clients.
pub fn kind_to_v1(kind: ContentKind) -> v1::ContentType {
    match kind {
        ContentKind::Text => v1::ContentType::Text,
        ContentKind::Image => v1::ContentType::Image,
        ContentKind::Audio => v1::ContentType::Audio,
        ContentKind::Video => v1::ContentType::Video,
        ContentKind::File => v1::ContentType::File,
        ContentKind::Code => v1::ContentType::Code,
        ContentKind::Markdown => v1::ContentType::Markdown,
        ContentKind::Html => v1::ContentType::Html,
        ContentKind::Json => v1::ContentType::Json,
        ContentKind::Thinking => v1::ContentType::Thinking,
        ContentKind::ToolCall => v1::ContentType::ToolCall,
        ContentKind::ToolResult => v1::ContentType::ToolResult,
    }
}

/// A kind of content that a client named, or that was stored.
pub fn kind_from_v1(kind: v1::ContentType) -> Option<ContentKind> {
    Some(match kind {
        v1::ContentType::Unspecified => return None,
        v1::ContentType::Text => ContentKind::Text,
        v1::ContentType::Image => ContentKind::Image,
        v1::ContentType::Audio => ContentKind::Audio,
        v1::ContentType::Video => ContentKind::Video,
        v1::ContentType::File => ContentKind::File,
        v1::ContentType::Code => ContentKind::Code,
        v1::ContentType::Markdown => ContentKind::Markdown,
        v1::ContentType::Html => ContentKind::Html,
        v1::ContentType::Json => ContentKind::Json,
        v1::ContentType::Thinking => ContentKind::Thinking,
        v1::ContentType::ToolCall => ContentKind::ToolCall,
        v1::ContentType::ToolResult => ContentKind::ToolResult,
    })
}

/// A reference for clients and for the store.
pub fn reference_to_v1(reference: &ContentRef) -> v1::ContentRef {
    v1::ContentRef {
        content_id: reference
            .id
            .as_ref()
            .map(ContentId::to_string)
            .unwrap_or_default(),
        size: i64::try_from(reference.size).unwrap_or(i64::MAX),
        media_type: reference.media_type.clone(),
        sha256: reference.sha256.clone(),
    }
}

/// A reference that was stored.
pub fn reference_from_v1(reference: v1::ContentRef) -> Result<ContentRef, Malformed> {
    let id = match reference.content_id.as_str() {
        "" => None,
        id => Some(ContentId::parse(id).map_err(|e| Malformed::new("content_id", e))?),
    };
    Ok(ContentRef {
        id,
        size: u64::try_from(reference.size).map_err(|e| Malformed::new("size", e))?,
        media_type: reference.media_type,
        sha256: reference.sha256,
    })
}

/// Every textual kind has its own v1 message, and in it its own `source`.
macro_rules! source_to_v1 {
    ($module:ident, $body:expr) => {
        Some(match $body {
            Body::Inline(text) => v1::$module::Source::Text(text),
            Body::Stored(reference) => v1::$module::Source::ContentRef(reference_to_v1(&reference)),
        })
    };
}

fn content_to_v1(content: Content) -> V1 {
    match content {
        Content::Textual(textual) => textual_to_v1(textual),
        Content::Media(media) => media_to_v1(media),
    }
}

fn textual_to_v1(textual: Textual) -> V1 {
    let Textual { kind, body } = textual;
    match kind {
        TextKind::Text => V1::Text(v1::TextContent {
            source: source_to_v1!(text_content, body),
        }),
        TextKind::Markdown => V1::Markdown(v1::MarkdownContent {
            source: source_to_v1!(markdown_content, body),
        }),
        TextKind::Html => V1::Html(v1::HtmlContent {
            source: source_to_v1!(html_content, body),
        }),
        TextKind::Json => V1::Json(v1::JsonContent {
            source: source_to_v1!(json_content, body),
        }),
        TextKind::Thinking => V1::Thinking(v1::ThinkingContent {
            source: source_to_v1!(thinking_content, body),
        }),
        TextKind::Code { language, filename } => V1::Code(v1::CodeContent {
            source: source_to_v1!(code_content, body),
            language,
            filename,
        }),
        TextKind::ToolCall { call_id, name } => V1::ToolCall(v1::ToolCallContent {
            source: source_to_v1!(tool_call_content, body),
            call_id,
            name,
        }),
        TextKind::ToolResult { call_id, is_error } => V1::ToolResult(v1::ToolResultContent {
            source: source_to_v1!(tool_result_content, body),
            call_id,
            is_error,
        }),
    }
}

macro_rules! media_source_to_v1 {
    ($module:ident, $source:expr) => {
        Some(match $source {
            Source::Url(url) => v1::$module::Source::Url(url),
            Source::Inline(bytes) => v1::$module::Source::Data(bytes),
            Source::Stored(reference) => {
                v1::$module::Source::ContentRef(reference_to_v1(&reference))
            }
        })
    };
}

fn media_to_v1(media: Media) -> V1 {
    let Media {
        kind,
        source,
        media_type,
        caption,
        filename,
        width,
        height,
        duration,
        size,
    } = media;
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    let duration = duration.map(|duration| Duration {
        seconds: duration.num_seconds(),
        nanos: duration.subsec_nanos(),
    });
    match kind {
        MediaKind::Image => V1::Image(v1::ImageContent {
            source: media_source_to_v1!(image_content, source),
            media_type,
            caption,
            width,
            height,
            size,
        }),
        MediaKind::Audio => V1::Audio(v1::AudioContent {
            source: media_source_to_v1!(audio_content, source),
            media_type,
            caption,
            duration,
            size,
        }),
        MediaKind::Video => V1::Video(v1::VideoContent {
            source: media_source_to_v1!(video_content, source),
            media_type,
            caption,
            width,
            height,
            duration,
            size,
        }),
        MediaKind::File => V1::File(v1::FileContent {
            source: media_source_to_v1!(file_content, source),
            media_type,
            filename,
            caption,
            size,
        }),
    }
}

macro_rules! body_from_v1 {
    ($module:ident, $source:expr) => {
        match $source {
            // An absent source is an empty text: open blocks begin so.
            None => Body::Inline(String::new()),
            Some(v1::$module::Source::Text(text)) => Body::Inline(text),
            Some(v1::$module::Source::ContentRef(reference)) => {
                Body::Stored(reference_from_v1(reference).map_err(|e| e.within("content_ref"))?)
            }
        }
    };
}

macro_rules! media_source_from_v1 {
    ($module:ident, $source:expr) => {
        match $source {
            None => return Err(Malformed::new("source", "must be url or data")),
            Some(v1::$module::Source::Url(url)) => Source::Url(url),
            Some(v1::$module::Source::Data(bytes)) => Source::Inline(bytes),
            Some(v1::$module::Source::ContentRef(reference)) => {
                Source::Stored(reference_from_v1(reference).map_err(|e| e.within("content_ref"))?)
            }
        }
    };
}

/// Content that a client sent or that was stored.
pub fn content_from_v1(content: V1) -> Result<Content, Malformed> {
    let name = field_name(&content);
    textual_or_media(content).map_err(|malformed| malformed.within(name))
}

fn textual_or_media(content: V1) -> Result<Content, Malformed> {
    let (kind, body) = match content {
        V1::Text(c) => (TextKind::Text, body_from_v1!(text_content, c.source)),
        V1::Markdown(c) => (
            TextKind::Markdown,
            body_from_v1!(markdown_content, c.source),
        ),
        V1::Html(c) => (TextKind::Html, body_from_v1!(html_content, c.source)),
        V1::Json(c) => (TextKind::Json, body_from_v1!(json_content, c.source)),
        V1::Thinking(c) => (
            TextKind::Thinking,
            body_from_v1!(thinking_content, c.source),
        ),
        V1::Code(c) => (
            TextKind::Code {
                language: c.language,
                filename: c.filename,
            },
            body_from_v1!(code_content, c.source),
        ),
        V1::ToolCall(c) => (
            TextKind::ToolCall {
                call_id: c.call_id,
                name: c.name,
            },
            body_from_v1!(tool_call_content, c.source),
        ),
        V1::ToolResult(c) => (
            TextKind::ToolResult {
                call_id: c.call_id,
                is_error: c.is_error,
            },
            body_from_v1!(tool_result_content, c.source),
        ),
        V1::Image(_) | V1::Audio(_) | V1::Video(_) | V1::File(_) => return media_from_v1(content),
    };
    Ok(Content::Textual(Textual { kind, body }))
}

fn media_from_v1(content: V1) -> Result<Content, Malformed> {
    let mut media = Media {
        kind: MediaKind::File,
        source: Source::Inline(Bytes::new()),
        media_type: String::new(),
        caption: String::new(),
        filename: String::new(),
        width: 0,
        height: 0,
        duration: None,
        size: 0,
    };
    let (media_type, caption, size, duration);
    match content {
        V1::Image(c) => {
            media.kind = MediaKind::Image;
            media.source = media_source_from_v1!(image_content, c.source);
            (media.width, media.height) = (c.width, c.height);
            (media_type, caption, size, duration) = (c.media_type, c.caption, c.size, None);
        }
        V1::Audio(c) => {
            media.kind = MediaKind::Audio;
            media.source = media_source_from_v1!(audio_content, c.source);
            (media_type, caption, size, duration) = (c.media_type, c.caption, c.size, c.duration);
        }
        V1::Video(c) => {
            media.kind = MediaKind::Video;
            media.source = media_source_from_v1!(video_content, c.source);
            (media.width, media.height) = (c.width, c.height);
            (media_type, caption, size, duration) = (c.media_type, c.caption, c.size, c.duration);
        }
        V1::File(c) => {
            media.source = media_source_from_v1!(file_content, c.source);
            media.filename = c.filename;
            (media_type, caption, size, duration) = (c.media_type, c.caption, c.size, None);
        }
        _ => return Err(Malformed::new("content", "is not a medium")),
    }
    media.media_type = media_type;
    media.caption = caption;
    media.duration = duration.as_ref().map(time_delta).transpose()?;
    media.size = match &media.source {
        Source::Inline(bytes) => bytes.len() as u64,
        _ => u64::try_from(size).map_err(|_| Malformed::new("size", "must not be negative"))?,
    };
    Ok(Content::Media(media))
}

fn time_delta(duration: &Duration) -> Result<TimeDelta, Malformed> {
    let duration = super::values::duration_from_v1(duration, "duration")?;
    TimeDelta::from_std(duration).map_err(|e| Malformed::new("duration", e))
}

/// The name of the field that holds the content.
pub fn field_name(content: &V1) -> &'static str {
    match content {
        V1::Text(_) => "text",
        V1::Image(_) => "image",
        V1::Audio(_) => "audio",
        V1::Video(_) => "video",
        V1::File(_) => "file",
        V1::Code(_) => "code",
        V1::Markdown(_) => "markdown",
        V1::Html(_) => "html",
        V1::Json(_) => "json",
        V1::Thinking(_) => "thinking",
        V1::ToolCall(_) => "tool_call",
        V1::ToolResult(_) => "tool_result",
    }
}
