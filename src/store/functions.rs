//! The Redis functions, and how they are called.

use std::sync::LazyLock;

use redis::Cmd;

use crate::domain::offload::sha256_hex;

const SOURCES: [&str; 13] = [
    include_str!("functions/prelude.lua"),
    include_str!("functions/append.lua"),
    include_str!("functions/commit.lua"),
    include_str!("functions/load.lua"),
    include_str!("functions/replay.lua"),
    include_str!("functions/look.lua"),
    include_str!("functions/keep.lua"),
    include_str!("functions/delete.lua"),
    include_str!("functions/create_session.lua"),
    include_str!("functions/change_session.lua"),
    include_str!("functions/admit.lua"),
    include_str!("functions/delete_session.lua"),
    include_str!("functions/probe.lua"),
];

/// The library as Redis gets it. Its name has a digest of its source, so that
/// instances of different versions work on one Redis, each with its own.
struct Library {
    name: String,
    source: String,
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let source = SOURCES.concat();
    let name = format!("throughline_{}", &sha256_hex(source.as_bytes())[..12]);
    let source = source.replace("@LIBRARY@", &name);
    Library {
        source: format!("#!lua name={name}\n{source}"),
        name,
    }
});

/// What gives Redis the library. Loading it again changes nothing.
pub(super) fn load_library() -> Cmd {
    let mut command = redis::cmd("FUNCTION");
    command.arg("LOAD").arg("REPLACE").arg(&LIBRARY.source);
    command
}

/// A call of a function that writes; the number of keys, keys and arguments
/// follow.
fn fcall(command: &str, function: &str, keys: &[&str]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(format!("{}_{function}", LIBRARY.name))
        .arg(keys.len())
        .arg(keys);
    call
}

/// A call without keys.
pub(super) fn call(function: &str) -> Cmd {
    fcall("FCALL", function, &[])
}

/// A call of a function that writes these keys; arguments are added to it.
pub(super) fn write(function: &str, keys: &[&str]) -> Cmd {
    fcall("FCALL", function, keys)
}

/// A call of a function that reads these keys; arguments are added to it.
pub(super) fn read(function: &str, keys: &[&str]) -> Cmd {
    fcall("FCALL_RO", function, keys)
}
