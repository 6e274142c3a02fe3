//! Reading content.

use std::ops::Range;

use bytes::Bytes;

use super::{Engine, EngineError, view::inline_bytes};
use crate::{
    domain::{
        content::ContentRef,
        ids::{BlockId, ContentId, MessageId},
        limits::CHUNK_BYTES,
        principal::Principal,
        refusal::Refusal,
    },
    store::{Store, StoredBytes, StoredContent},
};

/// Which content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentSource {
    /// Out of line, by its name.
    Stored(ContentId),
    /// That of a block, wherever it is.
    Block(MessageId, BlockId),
}

/// Content that is being read. Of what is kept in parts, no more than one is held at
/// a time.
pub struct ContentReader {
    /// What the whole is.
    pub reference: ContentRef,
    store: Store,
    bytes: StoredBytes,
    /// What is still to be read.
    range: Range<u64>,
}

impl ContentReader {
    /// Reads on: at least one byte, at most [`CHUNK_BYTES`]; none at the end.
    ///
    /// Fails where the content has expired, or was deleted, since it was opened.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let read = self.store.read_bytes(&self.bytes, self.range.start).await?;
        let mut chunk = read
            .filter(|bytes| !bytes.is_empty())
            .ok_or(Refusal::ContentUnknown)?;
        let left = self.range.end - self.range.start;
        chunk.truncate(left.min(CHUNK_BYTES as u64) as usize);
        self.range.start += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

impl Engine {
    /// Opens content to read `limit` bytes of it from `offset` on; all that follow
    /// where `limit` is 0.
    pub async fn read_content(
        &self,
        principal: &Principal,
        source: &ContentSource,
        offset: u64,
        limit: u64,
    ) -> Result<ContentReader, EngineError> {
        let (reference, bytes) = match source {
            ContentSource::Stored(id) => self.find_stored(principal, id).await?,
            ContentSource::Block(message, block) => {
                self.find_block(principal, message, block).await?
            }
        };
        let length = reference.size;
        if offset > length {
            return Err(Refusal::RangeBeyondEnd { offset, length }.into());
        }
        let end = match limit {
            0 => length,
            limit => length.min(offset.saturating_add(limit)),
        };
        Ok(ContentReader {
            reference,
            store: self.store.clone(),
            bytes,
            range: offset..end,
        })
    }

    async fn find_stored(
        &self,
        principal: &Principal,
        id: &ContentId,
    ) -> Result<(ContentRef, StoredBytes), EngineError> {
        let found = self.store.content(id).await?;
        let StoredContent {
            reference,
            user,
            bytes,
        } = found.ok_or(Refusal::ContentUnknown)?;
        principal.authorize(&user, Refusal::ContentUnknown)?;
        Ok((reference, bytes))
    }

    async fn find_block(
        &self,
        principal: &Principal,
        message: &MessageId,
        block: &BlockId,
    ) -> Result<(ContentRef, StoredBytes), EngineError> {
        let loaded = self.load_for(principal, message).await?;
        let block = loaded
            .message
            .block(block)
            .ok_or_else(|| Refusal::BlockUnknown(block.clone()))?;
        let stored = block.content.as_ref().and_then(|content| content.stored());
        if let Some(id) = stored.and_then(|stored| stored.id.as_ref()) {
            return self.find_stored(principal, id).await;
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
        Ok((reference, StoredBytes::Whole(data)))
    }
}
