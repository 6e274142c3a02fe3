//! Messages as clients see them.

use super::{Engine, EngineError};
use crate::{
    domain::{
        content::Content,
        ids::{ContentId, MessageId, UserId},
        limits,
        message::Message,
        principal::Principal,
        refusal::Refusal,
    },
    proto as v1,
    store::{Loaded, Reload, Version},
    wire::message::{fitted, message_to_v1},
};

/// A message with its text, of which more may be out of line than fits.
#[derive(Debug, Clone)]
pub struct View {
    /// The message.
    pub message: Message,
    text: String,
    is_truncated: bool,
}

/// Which message somebody has seen, and when in its life.
#[derive(Debug, Clone)]
pub struct Seen {
    owner: UserId,
    version: Version,
}

#[cfg(test)]
impl Seen {
    /// A message of this user, as it never was.
    pub(crate) fn never(owner: &str) -> Self {
        Self {
            owner: UserId::parse(owner).unwrap(),
            version: Version::NONE,
        }
    }
}

impl View {
    pub(super) fn without_text(message: Message) -> Self {
        Self {
            message,
            text: String::new(),
            is_truncated: false,
        }
    }

    /// The message for clients, cut to fit into one frame.
    pub fn to_v1(self) -> v1::Message {
        self.to_v1_of(|message| message)
    }

    /// The same of what `asked` leaves of it, which has more room then.
    pub fn to_v1_of(self, asked: impl FnOnce(v1::Message) -> v1::Message) -> v1::Message {
        let whole = message_to_v1(self.message, self.text, self.is_truncated);
        fitted(asked(whole))
    }
}

/// One TEXT block's part of the text.
enum Part<'a> {
    Inline(&'a str),
    /// Out of line, and how long it is.
    Stored(&'a ContentId, u64),
}

impl Engine {
    /// A message as it stands.
    pub async fn message(
        &self,
        principal: &Principal,
        id: &MessageId,
    ) -> Result<(View, Seen), EngineError> {
        let loaded = self.load_for(principal, id).await?;
        self.see(loaded).await
    }

    /// The same, if it is not as it was when it was seen.
    pub async fn message_unless(
        &self,
        principal: &Principal,
        id: &MessageId,
        seen: &Seen,
    ) -> Result<Option<(View, Seen)>, EngineError> {
        let unknown = || Refusal::MessageUnknown(id.clone());
        let loaded = match self.store.load_unless(id, &seen.version).await? {
            Reload::Unchanged => {
                principal.authorize(&seen.owner, unknown())?;
                return Ok(None);
            }
            Reload::Changed(loaded) => *loaded.ok_or_else(unknown)?,
        };
        principal.authorize(&loaded.message.user, unknown())?;
        self.see(loaded).await.map(Some)
    }

    async fn see(&self, loaded: Loaded) -> Result<(View, Seen), EngineError> {
        let seen = Seen {
            owner: loaded.message.user.clone(),
            version: loaded.version(),
        };
        Ok((self.view(loaded.message).await?, seen))
    }

    /// Adds to a message the text that it keeps out of line, as far as it fits
    /// into a frame.
    pub(super) async fn view(&self, message: Message) -> Result<View, EngineError> {
        let (parts, is_truncated) = parts(&message);
        let stored: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Stored(id, size) => Some((*id, *size)),
                Part::Inline(_) => None,
            })
            .collect();
        let mut stored = self.store.read_texts(&stored).await?.into_iter();
        let text = parts
            .iter()
            .map(|part| match part {
                Part::Inline(text) => (*text).to_owned(),
                Part::Stored(..) => stored.next().unwrap_or_default(),
            })
            .collect();
        Ok(View {
            text,
            is_truncated,
            message,
        })
    }
}

/// The parts of the text that fit at least in part, and whether others do not.
fn parts(message: &Message) -> (Vec<Part<'_>>, bool) {
    let mut parts = Vec::new();
    let mut size = 0;
    for content in message.text_blocks().filter_map(|b| b.content.as_ref()) {
        if size > limits::FRAME_BYTES_MAX as u64 {
            return (parts, true);
        }
        size += content.size();
        match (content.text(), content.stored().and_then(|s| s.id.as_ref())) {
            (Some(text), _) => parts.push(Part::Inline(text)),
            (None, Some(id)) => parts.push(Part::Stored(id, content.size())),
            (None, None) => {}
        }
    }
    (parts, false)
}

/// The bytes of content, where they are inline.
pub(super) fn inline_bytes(content: Option<&Content>) -> bytes::Bytes {
    content.and_then(Content::inline).unwrap_or_default()
}
