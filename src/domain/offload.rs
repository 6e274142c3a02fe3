//! Content that is too large to stay in a snapshot or an event is kept apart.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    content::{Block, Content, ContentRef},
    event::Change,
    ids::{BlockId, ContentId},
    limits,
    message::Message,
};

/// Content to be kept out of line, in the same commit as what refers to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// What refers to it.
    pub reference: ContentRef,
    /// Its name.
    pub id: ContentId,
    /// All of it.
    pub bytes: Bytes,
}

/// Names of the blobs of a write. Where it is decided anew, the same content has the
/// same name again, so that a store which has it need not be given it once more.
#[derive(Debug)]
pub struct BlobNames {
    fresh: fn() -> ContentId,
    /// With the SHA-256 of what they are the names of, in order.
    drawn: Vec<(String, ContentId)>,
    /// Those of content that a later decision no longer has.
    given_up: Vec<ContentId>,
    /// How many of them this decision has.
    count: usize,
}

impl BlobNames {
    /// No names yet; `fresh` draws them.
    pub fn new(fresh: fn() -> ContentId) -> Self {
        Self {
            fresh,
            drawn: Vec::new(),
            given_up: Vec::new(),
            count: 0,
        }
    }

    /// The latest decision was written: its names stay.
    pub fn keep(&mut self) {
        self.drawn.drain(..self.count);
    }

    /// Names of what was perhaps brought to a store and is not referred to.
    pub fn into_left(self) -> Vec<ContentId> {
        let drawn = self.drawn.into_iter().map(|(_, id)| id);
        self.given_up.into_iter().chain(drawn).collect()
    }

    fn of_next(&mut self, sha256: &str) -> ContentId {
        let place = self.count;
        self.count += 1;
        match self.drawn.get(place) {
            Some((same, id)) if same == sha256 => id.clone(),
            _ => {
                let id = (self.fresh)();
                let other = self.drawn.drain(place..).map(|(_, id)| id);
                self.given_up.extend(other);
                self.drawn.push((sha256.to_owned(), id.clone()));
                id
            }
        }
    }
}

/// Replaces oversize content in `changes` by references, and gives what they
/// refer to.
pub fn offload(
    message: Option<&Message>,
    changes: &mut [Change],
    names: &mut BlobNames,
) -> Vec<Blob> {
    names.count = 0;
    let mut blobs = Vec::new();
    // Texts as they will be when the change that ends the message is applied.
    let mut open: Vec<Block> = message
        .map(|message| message.open_blocks().cloned().collect())
        .unwrap_or_default();
    for change in changes {
        match change {
            Change::ContentAdded(block) | Change::ContentUpdated(block) => {
                open.retain(|old| old.id != block.id);
                if block.open_text().is_some() {
                    open.push(block.clone());
                }
                if block.is_oversize()
                    && let Some(content) = &mut block.content
                    && let Some(bytes) = content.inline()
                {
                    let blob = Blob::new(names, content, bytes);
                    content.store_at(blob.reference.clone());
                    blobs.push(blob);
                }
            }
            Change::TextAppended { block, delta, .. } => {
                let grown = open.iter_mut().find(|open| open.id == *block);
                let content = grown.and_then(|block| block.content.as_mut());
                if let Some(text) = content.and_then(Content::text_mut) {
                    text.push_str(delta);
                }
            }
            Change::Ended { sealed, .. } => {
                for blob in seal(&open, names) {
                    sealed.push(blob.0);
                    blobs.push(blob.1);
                }
            }
            _ => {}
        }
    }
    blobs
}

type Sealed = ((BlockId, ContentRef), Blob);

/// The long ones among the texts that an end seals.
fn seal(open: &[Block], names: &mut BlobNames) -> Vec<Sealed> {
    let long = open.iter().filter_map(|block| {
        let content = block.content.as_ref()?;
        let bytes = content.inline()?;
        (bytes.len() > limits::INLINE_BYTES_MAX).then(|| {
            let blob = Blob::new(names, content, bytes);
            ((block.id.clone(), blob.reference.clone()), blob)
        })
    });
    long.collect()
}

impl Blob {
    fn new(names: &mut BlobNames, content: &Content, bytes: Bytes) -> Self {
        let sha256 = sha256_hex(&bytes);
        let id = names.of_next(&sha256);
        let reference = ContentRef {
            id: Some(id.clone()),
            size: bytes.len() as u64,
            media_type: content.media_type().to_owned(),
            sha256,
        };
        Self {
            reference,
            id,
            bytes,
        }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fresh() -> ContentId {
        static DRAWN: AtomicUsize = AtomicUsize::new(0);
        ContentId::parse(&format!("c{}", DRAWN.fetch_add(1, Ordering::Relaxed))).unwrap()
    }

    /// A decision that has content of these digests.
    fn decide(names: &mut BlobNames, digests: &[&str]) -> Vec<ContentId> {
        names.count = 0;
        digests.iter().map(|digest| names.of_next(digest)).collect()
    }

    #[test]
    fn what_a_later_decision_has_no_more_is_left_and_what_is_written_is_not() {
        let mut names = BlobNames::new(fresh);
        let first = decide(&mut names, &["image", "short text"]);
        let second = decide(&mut names, &["image", "longer text"]);
        assert_eq!(first[0], second[0], "it is there already");
        assert_ne!(first[1], second[1]);
        names.keep();
        assert_eq!(names.into_left(), first[1..]);

        let mut names = BlobNames::new(fresh);
        decide(&mut names, &["image", "text"]);
        let last = decide(&mut names, &["image"]);
        assert!(names.into_left().contains(&last[0]), "it was not written");
    }
}
