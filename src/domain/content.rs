//! What a message is made of.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    Metadata, Time,
    ids::{BlockId, ContentId, TaskId},
    limits,
};

/// One piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Unique within the message.
    pub id: BlockId,
    /// What may happen to the block.
    pub state: BlockState,
    /// The kind of content; unknown only in a placeholder.
    pub kind: Option<ContentKind>,
    /// What the product keeps with the block.
    pub metadata: Metadata,
    /// The task whose result the block stands for, or is, or under whose lease it
    /// was added.
    pub task: Option<TaskId>,
    /// Why the content that a placeholder stood for will not come, or why what
    /// was there is withdrawn.
    pub error: Option<String>,
    /// When the block was added.
    pub create_time: Time,
    /// When the block was last changed otherwise than by appended text.
    pub update_time: Time,
    /// Absent in a placeholder, where a task ended without content, and where it
    /// is withdrawn.
    pub content: Option<Content>,
}

/// What may happen to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState {
    /// Text may be appended.
    Open,
    /// Nothing changes any more.
    Sealed,
    /// A task is going to produce the content.
    Placeholder,
}

/// The kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ContentKind {
    Text,
    Image,
    Audio,
    Video,
    File,
    Code,
    Markdown,
    Html,
    Json,
    Thinking,
    ToolCall,
    ToolResult,
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Kinds made of text, which can grow.
    Textual(Textual),
    /// Kinds made of bytes, which come whole.
    Media(Media),
}

/// Content made of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Textual {
    /// Which kind, with what belongs to it.
    pub kind: TextKind,
    /// The text, or where it is.
    pub body: Body,
}

/// The kinds made of text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TextKind {
    Text,
    Markdown,
    Html,
    Json,
    Thinking,
    Code { language: String, filename: String },
    ToolCall { call_id: String, name: String },
    ToolResult { call_id: String, is_error: bool },
}

/// A text, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The text itself.
    Inline(String),
    /// Kept out of line.
    Stored(ContentRef),
}

/// Content made of bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// Which kind.
    pub kind: MediaKind,
    /// The bytes, or where they are.
    pub source: Source,
    /// For example `image/png`.
    pub media_type: String,
    /// For people.
    pub caption: String,
    /// Of a file.
    pub filename: String,
    /// In pixels; 0 where unknown.
    pub width: u32,
    /// In pixels; 0 where unknown.
    pub height: u32,
    /// Of a sound or moving picture.
    pub duration: Option<chrono::TimeDelta>,
    /// In bytes; 0 where unknown.
    pub size: u64,
}

/// The kinds made of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    File,
}

/// Bytes, or where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Somewhere in the net; never fetched by the service.
    Url(String),
    /// The bytes themselves.
    Inline(Bytes),
    /// Kept out of line.
    Stored(ContentRef),
}

/// Where content lies that is not inline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRef {
    /// Its name; none for the text of an open block, which is read by message
    /// and block.
    pub id: Option<ContentId>,
    /// Length in bytes.
    pub size: u64,
    /// For example `image/png`.
    pub media_type: String,
    /// SHA-256 in lower-case hex; empty for open text.
    pub sha256: String,
}

impl Content {
    /// Which kind of content this is.
    pub fn kind(&self) -> ContentKind {
        match self {
            Self::Textual(textual) => textual.kind.content_kind(),
            Self::Media(media) => media.kind.content_kind(),
        }
    }

    /// The media type, as the client gave it or as the kind implies.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Textual(textual) => textual.kind.media_type(),
            Self::Media(media) if media.media_type.is_empty() => "application/octet-stream",
            Self::Media(media) => &media.media_type,
        }
    }

    /// The bytes, where they are inline.
    pub fn inline(&self) -> Option<Bytes> {
        match self {
            Self::Textual(Textual {
                body: Body::Inline(text),
                ..
            }) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Media(Media {
                source: Source::Inline(bytes),
                ..
            }) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Length of the content that is inline; 0 for any other.
    pub fn inline_size(&self) -> usize {
        match self {
            Self::Textual(Textual {
                body: Body::Inline(text),
                ..
            }) => text.len(),
            Self::Media(Media {
                source: Source::Inline(bytes),
                ..
            }) => bytes.len(),
            _ => 0,
        }
    }

    /// Length of the content, wherever it is; 0 for what is in the net.
    pub fn size(&self) -> u64 {
        match self.stored() {
            Some(stored) => stored.size,
            None => self.inline_size() as u64,
        }
    }

    /// Where the content is kept out of line.
    pub fn stored(&self) -> Option<&ContentRef> {
        match self {
            Self::Textual(Textual {
                body: Body::Stored(reference),
                ..
            })
            | Self::Media(Media {
                source: Source::Stored(reference),
                ..
            }) => Some(reference),
            _ => None,
        }
    }

    /// The same content with its bytes kept elsewhere.
    pub fn store_at(&mut self, reference: ContentRef) {
        match self {
            Self::Textual(textual) => textual.body = Body::Stored(reference),
            Self::Media(media) => media.source = Source::Stored(reference),
        }
    }

    /// The text, where it is inline.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Textual(Textual {
                body: Body::Inline(text),
                ..
            }) => Some(text),
            _ => None,
        }
    }

    /// The text that can grow: none for media and for text out of line.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Textual(Textual {
                body: Body::Inline(text),
                ..
            }) => Some(text),
            _ => None,
        }
    }

    /// Whether the content is what its kind says: JSON is, once it is JSON.
    pub fn is_sound(&self) -> bool {
        match (self.kind(), self.text()) {
            (ContentKind::Json, Some(text)) => serde_json::from_str::<IgnoredAny>(text).is_ok(),
            _ => true,
        }
    }

    /// Whether both say the same, wherever the bytes are kept.
    pub fn same_as(&self, other: &Self, digest: impl Fn(&[u8]) -> String) -> bool {
        let normal = |content: &Self| {
            let mut content = content.clone();
            let reference = ContentRef {
                id: None,
                size: 0,
                media_type: String::new(),
                sha256: match (content.inline(), content.stored()) {
                    (Some(bytes), _) => digest(&bytes),
                    (None, Some(stored)) => stored.sha256.clone(),
                    (None, None) => return content,
                },
            };
            content.store_at(reference);
            content
        };
        normal(self) == normal(other)
    }
}

impl Textual {
    /// Plain text without a character yet.
    pub fn empty_text() -> Self {
        Self {
            kind: TextKind::Text,
            body: Body::Inline(String::new()),
        }
    }
}

impl TextKind {
    fn content_kind(&self) -> ContentKind {
        match self {
            Self::Text => ContentKind::Text,
            Self::Markdown => ContentKind::Markdown,
            Self::Html => ContentKind::Html,
            Self::Json => ContentKind::Json,
            Self::Thinking => ContentKind::Thinking,
            Self::Code { .. } => ContentKind::Code,
            Self::ToolCall { .. } => ContentKind::ToolCall,
            Self::ToolResult { .. } => ContentKind::ToolResult,
        }
    }

    fn media_type(&self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Json | Self::ToolCall { .. } => "application/json",
            Self::Text | Self::Thinking | Self::Code { .. } | Self::ToolResult { .. } => {
                "text/plain"
            }
        }
    }
}

impl MediaKind {
    fn content_kind(self) -> ContentKind {
        match self {
            Self::Image => ContentKind::Image,
            Self::Audio => ContentKind::Audio,
            Self::Video => ContentKind::Video,
            Self::File => ContentKind::File,
        }
    }
}

impl Block {
    /// Whether appended text that names no block goes here, if the block is the
    /// last one.
    pub fn is_open_text(&self) -> bool {
        self.state == BlockState::Open && self.kind == Some(ContentKind::Text)
    }

    /// Whether it stands for a text of which nothing has come.
    pub fn is_awaited_text(&self) -> bool {
        self.state == BlockState::Placeholder
            && self.kind == Some(ContentKind::Text)
            && self.content.is_none()
    }

    /// The text of an open block.
    pub fn open_text(&self) -> Option<&str> {
        match self.state {
            BlockState::Open => self.content.as_ref().and_then(Content::text),
            BlockState::Sealed | BlockState::Placeholder => None,
        }
    }

    /// Whether the content is inline and too large to stay there.
    pub fn is_oversize(&self) -> bool {
        let size = self.content.as_ref().map_or(0, Content::inline_size);
        self.state != BlockState::Open && size > limits::INLINE_BYTES_MAX
    }
}
