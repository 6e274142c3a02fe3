//! Reading content.

use bytes::Bytes;

use super::{Engine, EngineError, view::inline_bytes};
use crate::domain::{
    content::ContentRef,
    ids::{BlockId, ContentId, MessageId},
    principal::Principal,
    refusal::Refusal,
};

/// Which content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSource {
    /// Out of line, by its name.
    Stored(ContentId),
    /// That of a block, wherever it is.
    Block(MessageId, BlockId),
}

impl Engine {
    /// Reads `limit` bytes of content from `offset` on; all that follow where
    /// `limit` is 0. Says what the whole is.
    pub async fn read_content(
        &self,
        principal: &Principal,
        source: &ContentSource,
        offset: u64,
        limit: u64,
    ) -> Result<(ContentRef, Bytes), EngineError> {
        let (reference, data) = match source {
            ContentSource::Stored(id) => self.read_stored(principal, id).await?,
            ContentSource::Block(message, block) => {
                self.read_block(principal, message, block).await?
            }
        };
        let length = data.len() as u64;
        if offset > length {
            return Err(Refusal::RangeBeyondEnd { offset, length }.into());
        }
        let end = match limit {
            0 => length,
            limit => length.min(offset.saturating_add(limit)),
        };
        // Both are at most the length of what is in memory.
        Ok((reference, data.slice(offset as usize..end as usize)))
    }

    async fn read_stored(
        &self,
        principal: &Principal,
        id: &ContentId,
    ) -> Result<(ContentRef, Bytes), EngineError> {
        let content = self
            .store
            .read_content(id)
            .await?
            .ok_or(Refusal::ContentUnknown)?;
        principal.authorize(&content.user, Refusal::ContentUnknown)?;
        Ok((content.reference, content.data))
    }

    async fn read_block(
        &self,
        principal: &Principal,
        message: &MessageId,
        block: &BlockId,
    ) -> Result<(ContentRef, Bytes), EngineError> {
        let loaded = self.load_for(principal, message).await?;
        let block = loaded
            .message
            .block(block)
            .ok_or_else(|| Refusal::BlockUnknown(block.clone()))?;
        let stored = block.content.as_ref().and_then(|content| content.stored());
        if let Some(id) = stored.and_then(|stored| stored.id.as_ref()) {
            return self.read_stored(principal, id).await;
        }
        let data = inline_bytes(block.content.as_ref());
        let reference = ContentRef {
            id: None,
            size: data.len() as u64,
            media_type: block
                .content
                .as_ref()
                .map(|content| content.media_type().to_owned())
                .unwrap_or_default(),
            sha256: String::new(),
        };
        Ok((reference, data))
    }
}
