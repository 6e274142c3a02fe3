//! The Redis functions, and how they are called.

use std::time::Duration;

use redis::Cmd;

use super::{StoreOptions, keys::Keys};
use crate::domain::{limits::BLOCK_BYTES_MAX, offload::sha256_hex};

/// A time to live that Redis can add to the time it is: a thousand years.
const MILLIS_MAX: u64 = 1_000 * 365 * 24 * 60 * 60 * 1_000;

/// Lines of the sources that begin with this are for those who publish entries;
/// for all others they are comments.
const PUBLISHING: &str = "--push ";

const SOURCES: [&str; 22] = [
    include_str!("functions/prelude.lua"),
    include_str!("functions/append.lua"),
    include_str!("functions/extend.lua"),
    include_str!("functions/stage.lua"),
    include_str!("functions/unstage.lua"),
    include_str!("functions/commit.lua"),
    include_str!("functions/load.lua"),
    include_str!("functions/replay.lua"),
    include_str!("functions/look.lua"),
    include_str!("functions/keep.lua"),
    include_str!("functions/delete.lua"),
    include_str!("functions/take_due.lua"),
    include_str!("functions/postpone.lua"),
    include_str!("functions/create_session.lua"),
    include_str!("functions/change_session.lua"),
    include_str!("functions/admit.lua"),
    include_str!("functions/delete_session.lua"),
    include_str!("functions/forget.lua"),
    include_str!("functions/offer.lua"),
    include_str!("functions/take.lua"),
    include_str!("functions/discard.lua"),
    include_str!("functions/probe.lua"),
];

/// The library as Redis gets it. Its name has a digest of its source, so that
/// instances of different versions or settings work on one Redis, each with its
/// own.
pub(super) struct Library {
    name: String,
    source: String,
}

impl Library {
    /// The functions, with these settings in them.
    pub(super) fn new(options: &StoreOptions, keys: &Keys) -> Self {
        let content_ttl = options.content_ttl.max(options.message_ttl);
        let source = match options.publishes {
            true => SOURCES.concat().replace(PUBLISHING, ""),
            false => SOURCES.concat(),
        };
        let source = source
            .replace("@MESSAGE_TTL@", &millis(options.message_ttl).to_string())
            .replace("@CONTENT_TTL@", &millis(content_ttl).to_string())
            .replace("@SESSION_TTL@", &millis(options.session_ttl).to_string())
            .replace("@RETAINED@", &options.retained_entries.to_string())
            .replace("@TEXT_BYTES_MAX@", &BLOCK_BYTES_MAX.to_string())
            .replace("@CHANNELS@", &keys.channel_prefix())
            .replace("@BELL@", &keys.bell());
        let name = format!("throughline_{}", &sha256_hex(source.as_bytes())[..12]);
        let source = source.replace("@LIBRARY@", &name);
        Self {
            source: format!("#!lua name={name}\n{source}"),
            name,
        }
    }

    /// What gives Redis the library. Loading it again changes nothing.
    pub(super) fn load(&self) -> Cmd {
        let mut command = redis::cmd("FUNCTION");
        command.arg("LOAD").arg("REPLACE").arg(&self.source);
        command
    }

    /// A call of a function that writes these keys; arguments are added to it.
    pub(super) fn write(&self, function: &str, keys: &[impl AsRef<str>]) -> Cmd {
        self.call("FCALL", function, keys)
    }

    /// A call of a function that reads these keys; arguments are added to it.
    pub(super) fn read(&self, function: &str, keys: &[impl AsRef<str>]) -> Cmd {
        self.call("FCALL_RO", function, keys)
    }

    fn call(&self, command: &str, function: &str, keys: &[impl AsRef<str>]) -> Cmd {
        let mut call = redis::cmd(command);
        call.arg(format!("{}_{function}", self.name))
            .arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        call
    }
}

/// A time to live as Redis takes it: not 0, and not too far away.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, MILLIS_MAX)
}
