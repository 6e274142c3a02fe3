//! Content that is kept out of line.

use bytes::Bytes;
use redis::Value;

use super::{
    Store, StoreError,
    reply::{array, parse},
};
use crate::domain::{
    content::ContentRef,
    ids::{ContentId, UserId},
};

/// Content that was kept out of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadContent {
    /// What it is.
    pub reference: ContentRef,
    /// Who owns the session that it belongs to.
    pub user: UserId,
    /// All of it.
    pub data: Bytes,
}

impl Store {
    /// Reads content; none where there is no such content.
    pub async fn read_content(&self, id: &ContentId) -> Result<Option<ReadContent>, StoreError> {
        let mut call = redis::cmd("HMGET");
        call.arg(self.keys.content(id))
            .arg(&["type", "size", "sha256", "user", "data"]);
        let mut fields = array(self.link.read_one(call).await?)?.into_iter();
        let mut next = || fields.next().unwrap_or_default();
        let (media_type, size, sha256, user, data) = (next(), next(), next(), next(), next());
        if data == Value::Nil {
            return Ok(None);
        }
        let user: String = parse(user)?;
        Ok(Some(ReadContent {
            reference: ContentRef {
                id: Some(id.clone()),
                size: parse(size)?,
                media_type: parse(media_type)?,
                sha256: parse(sha256)?,
            },
            user: UserId::parse(&user).map_err(StoreError::corrupt)?,
            data: parse::<Vec<u8>>(data)?.into(),
        }))
    }

    /// Reads texts that are kept out of line, in the same order; what has
    /// expired is empty.
    pub async fn read_texts(&self, ids: &[&ContentId]) -> Result<Vec<String>, StoreError> {
        let mut calls = redis::pipe();
        for id in ids {
            calls.cmd("HGET").arg(self.keys.content(id)).arg("data");
        }
        let answers = self.link.read(&calls).await?;
        let texts = answers
            .into_iter()
            .map(|text| parse::<Option<String>>(text).map(Option::unwrap_or_default));
        texts.collect()
    }
}
