//! The one table of keys.
//!
//! | key | type | what | life |
//! |---|---|---|---|
//! | `message:{id}` | hash | snapshot of a message | 24 h, sliding |
//! | `message:{id}:text:{block}` | string | text of an open block, grown by APPEND | with the message |
//! | `stream:session:{session}:message:{id}` | stream | log of a message | with the message |
//! | `stream:session:{id}` | stream | log of a session: which messages were created | with the session |
//! | `session:{id}` | hash | a session | 7 days, sliding |
//! | `session:{id}:messages` | zset | its messages by create time, in µs | with the session |
//! | `user:{id}:sessions` | zset | a user's sessions by last activity, in µs | with the sessions |
//! | `due` | zset | messages to which something happens by itself, by when, in µs | - |
//! | `queue:{name}` | zset | tickets of tasks that wait, as `{message} {task}`, by when they can be taken, in ms | 24 h after the last one |
//! | `queue:{name}:bell` | list | one element where a ticket was added that nobody has looked for yet | with the queue |
//! | `content:{id}` | hash | content over 10,000 bytes: type, size, sha256, user, and `data`, or `data:0000` … in parts of 256 KiB | 7 days, at least its message's; a minute until a message refers to it |
//!
//! Braces mark what is filled in, they are not part of the keys. Channels, which
//! name the database since Redis shares them between all of its databases:
//!
//! | channel | what is published there |
//! |---|---|
//! | `throughline:{database}:bell` | key of a message that now exists, has ended, is gone, is to be cancelled or has another writer |
//! | `throughline:{database}:{key of a log}` | with `--tail push`: entries of the log |
//!
//! Fields of a message's hash:
//!
//! | field | what |
//! |---|---|
//! | `status` | streaming, completed, failed, cancelled or interrupted |
//! | `role`, `session`, `user`, `parent`, `metadata` (JSON), `created` (µs) | as created |
//! | `ended` (µs), `end_reason`, `error` | how it ended |
//! | `log` | key of its log |
//! | `block:0000` … | a block, as protobuf `ContentBlock` |
//! | `task:0000` … | a task, as protobuf `Task` |
//! | `lease:0000` … | the worker's lease of that task: see store/snapshot.rs |
//! | `checkpoint:0000` … | what its attempts left for the next (JSON) |
//! | `kept:0000` … | the blocks that belong to that, apart by spaces |
//! | `open` | the blocks that text can be appended to, apart by spaces |
//! | `tail` | the one among them that an append goes to which names none |
//! | `guard` | while it is streaming: fence, tail, session, user, once a cancel was requested `cancel`, and of each task that is held `task:attempt:tail`, where it has a tail of its own, and `task:attempt/block` for each other block of it that is open; apart by spaces |
//! | `contents` | keys of its content out of line, apart by spaces; of what was replaced the last 16 |
//! | `fence` | which writer may write, 0 for anybody; once a cancel was requested, followed by ` cancel` |
//! | `lease` | who that is, and for how long: see store/snapshot.rs |
//! | `cancel` | when a requested cancel is carried out (µs) |
//! | `revision` | changes with every write but appended text |
//! | `repeats` | the last 64 request ids and what they were answered |
//! | `schema` | version of this layout: 1 |

use crate::domain::ids::{BlockId, ContentId, Label, MessageId, SessionId, UserId};

/// Version of the layout of a message's hash.
pub(super) const SCHEMA: &str = "1";

/// Builds the names of keys and channels.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Number of the Redis database that the keys are in.
    pub(super) database: i64,
}

impl Keys {
    /// What the key of a log is put behind, to make its channel.
    pub(super) fn channel_prefix(&self) -> String {
        format!("throughline:{}:", self.database)
    }

    pub(super) fn bell(&self) -> String {
        format!("throughline:{}:bell", self.database)
    }

    pub(super) fn message(&self, id: &MessageId) -> String {
        format!("message:{id}")
    }

    pub(super) fn message_of(&self, key: &str) -> Option<MessageId> {
        MessageId::parse(key.strip_prefix("message:")?).ok()
    }

    /// What the id of a block is put behind, to make the key of its text.
    pub(super) fn text_prefix(&self, id: &MessageId) -> String {
        format!("message:{id}:text:")
    }

    pub(super) fn text(&self, id: &MessageId, block: &BlockId) -> String {
        format!("message:{id}:text:{block}")
    }

    pub(super) fn log(&self, session: &SessionId, message: &MessageId) -> String {
        format!("stream:session:{session}:message:{message}")
    }

    pub(super) fn session_log(&self, session: &SessionId) -> String {
        format!("stream:session:{session}")
    }

    pub(super) fn session(&self, id: &SessionId) -> String {
        format!("session:{id}")
    }

    pub(super) fn session_messages(&self, id: &SessionId) -> String {
        format!("session:{id}:messages")
    }

    /// All queues have to be in one partition, so that one connection can wait for
    /// any number of them.
    pub(super) fn queue(&self, name: &Label) -> [String; 2] {
        [format!("queue:{name}"), format!("queue:{name}:bell")]
    }

    pub(super) fn queue_of_bell(&self, key: &str) -> Option<Label> {
        let name = key.strip_prefix("queue:")?.strip_suffix(":bell")?;
        Label::parse(name).ok()
    }

    pub(super) fn due(&self) -> &'static str {
        "due"
    }

    /// A pattern of all indexes of messages, and the session in such a key.
    pub(super) fn all_session_messages(&self) -> &'static str {
        "session:*:messages"
    }

    pub(super) fn session_of_index(&self, key: &str) -> Option<SessionId> {
        let id = key.strip_prefix("session:")?.strip_suffix(":messages")?;
        SessionId::parse(id).ok()
    }

    pub(super) fn user_sessions(&self, user: &UserId) -> String {
        format!("user:{user}:sessions")
    }

    pub(super) fn content(&self, id: &ContentId) -> String {
        format!("content:{id}")
    }
}
