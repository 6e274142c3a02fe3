//! Writing what was decided on a loaded message.

use std::collections::HashSet;

use redis::{Cmd, ToRedisArgs};

use super::{
    Loaded, Store, StoreError,
    content::{part_count, staged},
    entry::encode,
    known::guard,
    reply::Outcome,
    snapshot::changed_fields,
};
use crate::domain::{
    Time, content::Block, event::Change, ids::RequestId, message::Message, offload::Blob,
};

/// Of content that a message no longer has, for those who read of it in the log, so
/// much is kept: the latest.
const REPLACED_MAX: usize = 16;
/// How often content is brought that Redis loses before it is referred to.
const STAGINGS_MAX: usize = 3;

/// A decision to be written, if the message is still what it was decided on.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The message that was decided on; none where it is created.
    pub before: Option<&'a Loaded>,
    /// The message with the changes applied.
    pub after: &'a Message,
    /// What was decided; none where only the right to write changes.
    pub changes: &'a [Change],
    /// When.
    pub time: Time,
    /// Content to be kept out of line.
    pub blobs: &'a [Blob],
    /// What a repeat is recognised by, with the digest of the request and what
    /// else it is answered.
    pub request: Option<(&'a RequestId, &'a str, &'a str)>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is written; the sequence of its last event, 0 where there is none.
    Done(u64),
    /// Somebody else was first: load and decide anew.
    Conflict,
    /// The message to be changed is gone.
    Missing,
    /// The message to be created is there.
    Exists,
}

impl Store {
    /// Writes a decision, or tells why it no longer stands. Its content is brought
    /// before, and stays where it was brought if the decision was not written: for
    /// another attempt, to which it need not be sent again if it has the same names,
    /// or to be thrown away by [`unstage`](Store::unstage).
    pub async fn commit(&self, commit: Commit<'_>) -> Result<Committed, StoreError> {
        for _ in 0..STAGINGS_MAX {
            self.stage(commit.blobs).await?;
            if let Some(committed) = self.commit_staged(&commit).await? {
                return Ok(committed);
            }
        }
        Err(StoreError::Evicted)
    }

    /// None where not all is there that was staged.
    async fn commit_staged(&self, commit: &Commit<'_>) -> Result<Option<Committed>, StoreError> {
        let call = self.commit_call(commit);
        // A right to write is granted anew to whoever has it.
        let is_repeatable = commit.request.is_some() || commit.changes.is_empty();
        let answer = match is_repeatable {
            true => self.link.repeatable(&call).await?,
            false => self.link.write(&call).await?,
        };
        let mut outcome = Outcome::parse(answer)?;
        Ok(Some(match outcome.word.as_str() {
            "ok" => {
                let after = commit.after;
                self.known.learn(&after.id, &guard(after), &self.keys);
                Committed::Done(outcome.take()?)
            }
            "conflict" => Committed::Conflict,
            "lost" => return Ok(None),
            "corrupt" => return Err(StoreError::corrupt("a message has no log")),
            "missing" => Committed::Missing,
            "exists" => Committed::Exists,
            _ => return Err(outcome.unknown()),
        }))
    }

    fn commit_call(&self, commit: &Commit<'_>) -> Cmd {
        let after = commit.after;
        let log = self.keys.log(&after.session, &after.id);
        let contents: Vec<String> = commit
            .blobs
            .iter()
            .map(|b| self.keys.content(&b.id))
            .collect();
        let [message, text_prefix] = self.keys.of_message(&after.id);
        let due = self.keys.due();
        let (all, gone) = self.contents_after(commit, &contents);
        let mut keys = vec![message.as_str(), text_prefix.as_str(), due];
        keys.extend(contents.iter().map(String::as_str));
        keys.extend(gone.iter().copied());
        let mut call = self.functions.write("commit", &keys);

        let loaded = commit.before.map(|before| before.revision);
        // Not from 1 again: a message created anew must not look like the one
        // that was loaded before.
        let fresh = u64::try_from(commit.time.timestamp_micros()).unwrap_or_default();
        call.arg(
            loaded
                .map(|revision| revision.to_string())
                .unwrap_or_default(),
        )
        .arg(loaded.map_or(fresh, |revision| revision + 1))
        .arg(&log)
        .arg(commit.time.timestamp_micros());
        let (request, fingerprint, detail) = commit
            .request
            .map_or(("", "", ""), |(id, fingerprint, detail)| {
                (id.as_str(), fingerprint, detail)
            });
        call.arg(request).arg(fingerprint).arg(detail);

        let before = commit.before.map(|before| &before.message);
        call.arg(after.id.as_str())
            .arg(self.due_argument(before, after, commit.time));
        list(&mut call, &lengths(before, after));
        let parts =
            staged(commit.blobs).map(|(place, blob)| (place + 1, part_count(blob.bytes.len())));
        list(&mut call, &parts.collect::<Vec<_>>());
        list(&mut call, &encode(commit.changes, commit.time));
        let mut fields = changed_fields(before, after, &log);
        if !contents.is_empty() {
            fields.push(("contents".to_owned(), all.join(" ").into_bytes()));
        }
        list(&mut call, &fields);
        list(&mut call, &texts(before, after));
        add_blobs(&mut call, commit.blobs, after);
        call.arg(gone.len());
        call
    }

    /// Keys of the message's content out of line once these are added, and of what
    /// goes because it was replaced long ago.
    fn contents_after<'a>(
        &self,
        commit: &Commit<'a>,
        new: &'a [String],
    ) -> (Vec<&'a str>, Vec<&'a str>) {
        // What was replaced comes first, the oldest in front, since what was there
        // a moment ago is still asked for.
        let blocks = commit.after.blocks.iter();
        let stored = blocks.filter_map(|block| block.content.as_ref()?.stored()?.id.as_ref());
        let referred: HashSet<String> = stored.map(|id| self.keys.content(id)).collect();
        let old = commit.before.map_or("", |before| &before.contents);
        let all = || old.split_whitespace().chain(new.iter().map(String::as_str));
        let (kept, mut gone): (Vec<&str>, Vec<&str>) =
            all().partition(|key| referred.contains(*key));
        let excess = match new {
            [] => 0,
            _ => gone.len().saturating_sub(REPLACED_MAX),
        };
        let replaced = gone.split_off(excess);
        (replaced.into_iter().chain(kept).collect(), gone)
    }
}

/// A list of rows, led by its length.
fn list(call: &mut Cmd, rows: &[impl ToRedisArgs]) {
    call.arg(rows.len());
    for row in rows {
        call.arg(row);
    }
}

/// The open texts that the decision is about, each with the length it was
/// decided on: nobody may have appended since.
fn lengths<'a>(before: Option<&'a Message>, after: &Message) -> Vec<(&'a str, usize)> {
    let open = before.into_iter().flat_map(Message::open_blocks);
    open.filter(|old| after.block(&old.id) != Some(*old))
        .map(|old| (old.id.as_str(), old.open_text().map_or(0, str::len)))
        .collect()
}

/// What happens to the texts of open blocks, as (block, operation, text).
fn texts<'a>(
    before: Option<&'a Message>,
    after: &'a Message,
) -> Vec<(&'a str, &'static str, &'a str)> {
    let old_text = |block: &Block| before?.block(&block.id)?.open_text();
    let operation = |block: &'a Block| {
        let id = block.id.as_str();
        match (old_text(block), block.open_text()) {
            (None, None) => None,
            (Some(_), None) => Some((id, "drop", "")),
            (None, Some(new)) => Some((id, "set", new)),
            (Some(old), Some(new)) => match new.strip_prefix(old) {
                Some("") => None,
                Some(more) => Some((id, "append", more)),
                None => Some((id, "set", new)),
            },
        }
    };
    after.blocks.iter().filter_map(operation).collect()
}

fn add_blobs(call: &mut Cmd, blobs: &[Blob], message: &Message) {
    let mut staged = staged(blobs).map(|(place, _)| place).peekable();
    call.arg(blobs.len());
    for (place, blob) in blobs.iter().enumerate() {
        match staged.next_if_eq(&place) {
            Some(_) => call.arg(""),
            None => call.arg(blob.bytes.as_ref()),
        };
        let reference = &blob.reference;
        call.arg(&reference.media_type)
            .arg(reference.size)
            .arg(&reference.sha256)
            .arg(message.user.as_str());
    }
}
