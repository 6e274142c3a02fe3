//! The data directory of a private Redis: whose it is, and where the socket is.

use std::{
    fmt::Write,
    fs::{DirBuilder, File, Permissions, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::EmbeddedError;
use crate::runtime::redis_url::RedisUrl;

/// The name that Redis binds, relative to its directory.
pub(super) const SOCKET: &str = "redis.sock";

/// Longest path that a Unix socket can be reached by; 104 bytes with a NUL on
/// some systems, 108 on others.
const SOCKET_PATH_MAX: usize = 100;

/// A data directory that is ours for as long as this lives.
pub(super) struct Home {
    pub(super) directory: PathBuf,
    /// Where the socket can be connected to.
    pub(super) socket: PathBuf,
    _lock: File,
    _shortcut: Option<TempDir>,
}

impl Home {
    /// Makes the directory where it is missing, and takes it.
    pub(super) fn open(directory: PathBuf) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Directory {
            path: directory.clone(),
            source,
        };
        make_private(&directory).map_err(failed)?;
        // Absolute, since it goes into a URL.
        let directory = directory.canonicalize().map_err(failed)?;
        let lock = lock(&directory)?;
        let (socket, shortcut) = reachable_socket(&directory).map_err(failed)?;
        Ok(Self {
            directory,
            socket,
            _lock: lock,
            _shortcut: shortcut,
        })
    }

    pub(super) fn url(&self) -> RedisUrl {
        let mut url = "redis+unix://".to_owned();
        for &byte in self.socket.as_os_str().as_bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                    url.push(char::from(byte));
                }
                _ => write!(url, "%{byte:02X}").expect("a String takes all that is written"),
            }
        }
        RedisUrl::from(url)
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn lock(directory: &Path) -> Result<File, EmbeddedError> {
    let failed = |source| EmbeddedError::Directory {
        path: directory.to_owned(),
        source,
    };
    let file = File::create(directory.join("throughline.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A path to the socket that is short enough to connect to: its own, or one
/// through a link to its directory.
fn reachable_socket(directory: &Path) -> io::Result<(PathBuf, Option<TempDir>)> {
    let socket = directory.join(SOCKET);
    if socket.as_os_str().len() <= SOCKET_PATH_MAX {
        return Ok((socket, None));
    }
    // Not where TMPDIR says, which may be long as well.
    let shortcut = tempfile::Builder::new()
        .prefix("throughline-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in("/tmp")?;
    let link = shortcut.path().join("data");
    symlink(directory, &link)?;
    Ok((link.join(SOCKET), Some(shortcut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_spells_out_what_has_a_meaning_in_urls() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::open(parent.path().join("a b?c#d%e")).unwrap();
        let url = home.url();
        assert!(url.as_str().ends_with("/a%20b%3Fc%23d%25e/redis.sock"));
    }

    #[test]
    fn the_directory_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::open(parent.path().join("new/home")).unwrap();
        let mode = home.directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_socket_far_down_is_reached_by_a_shortcut() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::open(parent.path().join("far/".repeat(40))).unwrap();
        assert!(home.socket.as_os_str().len() <= SOCKET_PATH_MAX);
        let leads_to = home.socket.parent().unwrap().canonicalize().unwrap();
        assert_eq!(leads_to, home.directory);
    }
}
