//! Content that is kept out of line.
//!
//! Redis does nothing else while it takes in a value or gives it out. So content
//! that is long is kept in parts, each of which travels by itself.

use bytes::Bytes;
use redis::{Cmd, Value};
use tracing::debug;

use super::{
    Store, StoreError,
    reply::{array, parse},
};
use crate::domain::{
    content::ContentRef,
    ids::{ContentId, UserId},
    limits::FRAME_BYTES_MAX,
    offload::Blob,
};

/// Bytes of a part. What is stored is laid out by it.
const PART_BYTES: usize = 256 * 1024;
/// The field of content that is kept as a whole.
const WHOLE: &str = "data";

/// Content that is kept out of line.
#[derive(Debug, Clone)]
pub struct StoredContent {
    /// What it is.
    pub reference: ContentRef,
    /// Who owns the session that it belongs to.
    pub user: UserId,
    /// Where the bytes are.
    pub bytes: StoredBytes,
}

/// Bytes that are read piece by piece.
#[derive(Debug, Clone)]
pub enum StoredBytes {
    /// All of them.
    Whole(Bytes),
    /// They are in parts, in content of this name.
    Parts(ContentId),
}

impl Store {
    /// Finds content; none where there is no such content.
    pub async fn content(&self, id: &ContentId) -> Result<Option<StoredContent>, StoreError> {
        let mut call = redis::cmd("HMGET");
        call.arg(self.keys.content(id))
            .arg(&["type", "size", "sha256", "user", WHOLE]);
        let mut fields = array(self.link.read_one(call).await?)?.into_iter();
        let mut next = || fields.next().unwrap_or_default();
        let (media_type, size, sha256, user, data) = (next(), next(), next(), next(), next());
        if user == Value::Nil {
            return Ok(None);
        }
        let user: String = parse(user)?;
        Ok(Some(StoredContent {
            reference: ContentRef {
                id: Some(id.clone()),
                size: parse(size)?,
                media_type: parse(media_type)?,
                sha256: parse(sha256)?,
            },
            user: UserId::parse(&user).map_err(StoreError::corrupt)?,
            bytes: match data {
                Value::Nil => StoredBytes::Parts(id.clone()),
                data => StoredBytes::Whole(parse::<Vec<u8>>(data)?.into()),
            },
        }))
    }

    /// Reads bytes from `offset` on, up to the end of the part that they are in;
    /// none where that is gone.
    pub async fn read_bytes(
        &self,
        bytes: &StoredBytes,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        // None has more bytes than memory.
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let (found, offset) = match bytes {
            StoredBytes::Whole(bytes) => (Some(bytes.clone()), offset),
            StoredBytes::Parts(id) => {
                let mut call = redis::cmd("HGET");
                call.arg(self.keys.content(id))
                    .arg(part(offset / PART_BYTES));
                let part: Option<Vec<u8>> = parse(self.link.read_one(call).await?)?;
                (part.map(Bytes::from), offset % PART_BYTES)
            }
        };
        Ok(found.map(|bytes| bytes.slice(offset.min(bytes.len())..)))
    }

    /// Reads texts that are kept out of line, in the same order, and of each as much
    /// as could be sent in one frame; what has expired is empty.
    pub async fn read_texts(&self, texts: &[(&ContentId, u64)]) -> Result<Vec<String>, StoreError> {
        let mut calls = redis::pipe();
        for (id, size) in texts {
            let size = usize::try_from(*size).unwrap_or(usize::MAX);
            // One byte more than fits, so that it is seen not to fit.
            let fields: Vec<_> = fields(size.min(FRAME_BYTES_MAX + 1)).collect();
            calls.cmd("HMGET").arg(self.keys.content(id)).arg(fields);
        }
        let answers = self.link.read(&calls).await?;
        answers.into_iter().map(join_text).collect()
    }

    /// Brings content to Redis to which a commit is about to refer, but for what is
    /// there from an earlier attempt.
    pub(super) async fn stage(&self, blobs: &[Blob]) -> Result<(), StoreError> {
        let mut calls = redis::pipe();
        for (_, blob) in staged(blobs) {
            calls.add_command(self.stage_call(blob));
        }
        let held = self.link.read(&calls).await?;
        calls.clear();
        let mut bytes = 0;
        for ((_, blob), held) in staged(blobs).zip(held) {
            if parse::<usize>(held)? == part_count(blob.bytes.len()) {
                continue;
            }
            let parts = blob.bytes.chunks(PART_BYTES);
            for (field, part) in fields(blob.bytes.len()).zip(parts) {
                if bytes + part.len() > PART_BYTES {
                    self.link.read(&calls).await?;
                    calls.clear();
                    bytes = 0;
                }
                bytes += part.len();
                let mut call = self.stage_call(blob);
                call.arg(field).arg(part);
                calls.add_command(call);
            }
        }
        self.link.read(&calls).await.map(drop)
    }

    fn stage_call(&self, blob: &Blob) -> Cmd {
        let key = self.keys.content(&blob.id);
        self.functions.write("stage", &[key])
    }

    /// Throws away what was staged for a commit that was not made. What cannot be
    /// thrown away now goes by itself; what a commit refers to stays.
    pub async fn unstage(&self, contents: &[ContentId]) {
        let keys: Vec<_> = contents.iter().map(|id| self.keys.content(id)).collect();
        if !keys.is_empty() {
            let call = self.functions.write("unstage", &keys);
            if let Err(error) = self.link.read_one(call).await {
                debug!(%error, "content that nothing refers to stays a while");
            }
        }
    }
}

/// Those of several contents that do not fit into the call of their commit, each
/// with its place among them.
pub(super) fn staged(blobs: &[Blob]) -> impl Iterator<Item = (usize, &Blob)> {
    let mut room = PART_BYTES;
    blobs.iter().enumerate().filter(move |(_, blob)| {
        let left = room.checked_sub(blob.bytes.len());
        room = left.unwrap_or(room);
        left.is_none()
    })
}

/// How many parts content of this length is in.
pub(super) fn part_count(length: usize) -> usize {
    length.div_ceil(PART_BYTES)
}

/// The fields that they are in.
fn fields(length: usize) -> impl Iterator<Item = String> {
    let is_whole = length <= PART_BYTES;
    (0..part_count(length)).map(move |number| match is_whole {
        true => WHOLE.to_owned(),
        false => part(number),
    })
}

fn part(number: usize) -> String {
    format!("{WHOLE}:{number:04}")
}

/// A text from the fields that it is in. It may end within a character, where not
/// all of it was read.
fn join_text(fields: Value) -> Result<String, StoreError> {
    let fields: Vec<Option<Vec<u8>>> = parse(fields)?;
    let bytes = fields.into_iter().flatten().reduce(|mut all, part| {
        all.extend_from_slice(&part);
        all
    });
    String::from_utf8(bytes.unwrap_or_default()).or_else(|error| {
        let problem = error.utf8_error();
        let mut bytes = error.into_bytes();
        bytes.truncate(problem.valid_up_to());
        match (problem.error_len(), String::from_utf8(bytes)) {
            (None, Ok(text)) => Ok(text),
            _ => Err(StoreError::corrupt(problem)),
        }
    })
}
