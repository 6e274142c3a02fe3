//! What the service accepts. GetServerInfo tells clients.

use std::time::Duration;

/// Longest id, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// Longest metadata, params or custom event data, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// How deep metadata may be nested. Readers of protobuf give up at 100 messages
/// in one another; a level of an object takes three.
pub const METADATA_DEPTH_MAX: usize = 24;
/// Longest delta of one append, in bytes.
pub const DELTA_BYTES_MAX: usize = 256 * 1024;
/// Largest content of one block, in bytes.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most blocks in a message.
pub const BLOCKS_MAX: usize = 1_000;
/// Most tasks of a message that are neither completed, failed nor cancelled.
pub const OPEN_TASKS_MAX: usize = 100;
/// Largest answer or frame, in bytes: half of what gRPC clients accept unasked.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most bytes of what a message keeps beside its content (metadata, params,
/// captions, errors ...), so that it fits into a frame with some of its text.
pub const BESIDE_CONTENT_BYTES_MAX: usize = 1024 * 1024;
/// Content over this many bytes is kept out of line (the seed's threshold).
pub const INLINE_BYTES_MAX: usize = 10_000;
/// Page size where a request names none.
pub const PAGE_SIZE_DEFAULT: usize = 50;
/// Largest page; larger wishes are cut to it.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// Longest url of a medium, in bytes.
pub const URL_BYTES_MAX: usize = 8_192;
/// Longest text for people (error, caption, reason), in bytes. Errors travel in
/// HTTP/2 headers, which clients limit to 8 KiB.
pub const NOTE_BYTES_MAX: usize = 4_096;
/// Longest one-line text (status text, file name), in bytes.
pub const LINE_BYTES_MAX: usize = 1_024;
/// Longest short name (media type, language, tool), in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most attempts at a task where a request names no number.
pub const ATTEMPTS_DEFAULT: u32 = 5;
/// Shortest time that a writer lease may last: a writer needs it to renew.
pub const WRITER_TTL_MIN: Duration = Duration::from_millis(100);
/// Longest time that a writer lease may last: so long a reader may wait for a
/// writer that is gone.
pub const WRITER_TTL_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a writer lease lasts where a request names no time.
pub const WRITER_TTL_DEFAULT: Duration = Duration::from_secs(30);
/// How long a writer has to end a message that is to be cancelled, where a
/// request names no time.
pub const CANCEL_GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that it can be given.
pub const CANCEL_GRACE_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest delay that a worker can name before a failed task is tried again.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Lease of a task where a claim names none.
pub const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest lease of a task.
pub const LEASE_MIN: Duration = Duration::from_secs(5);
/// Longest lease of a task.
pub const LEASE_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest time that a claim waits for a task.
pub const CLAIM_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Shortest time that a task, or an attempt at it, can be given.
pub const TASK_TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Longest time that a task, or an attempt at it, can be given.
pub const TASK_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Most queues that a worker claims from at once.
pub const CLAIM_QUEUES_MAX: usize = 64;
/// Most leases that are renewed in one call.
pub const RENEWALS_MAX: usize = 1_000;
/// Most blocks that a checkpoint of a task keeps.
pub const KEPT_BLOCKS_MAX: usize = 1_000;
/// Request ids that a message remembers.
pub const REPEATS_MAX: usize = 64;
/// Most events in one entry of a log: a reader looks this far back for the
/// entry that holds a cursor.
pub const ENTRY_EVENTS_MAX: u64 = 64;
/// Most bytes of a chunk of content that is read.
pub const CHUNK_BYTES: usize = 256 * 1024;
