//! A program in a terminal, as a person has it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{FromRawFd, OwnedFd},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use tokio::process::{Child, Command};

use super::eventually;

/// A program whose stdin, stdout and stderr are a terminal of its own.
pub struct Pty {
    pub child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    pub fn run(mut command: Command) -> Self {
        let (keyboard, terminal) = open();
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut output = File::from(keyboard.try_clone().unwrap());
        let seen = screen.clone();
        // Ends with the terminal, whose other side ends with the program.
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                seen.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self {
            child,
            keyboard: keyboard.into(),
            screen,
        }
    }

    /// Types this.
    pub fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// All that was written to the screen, with what drives it.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until this has been written.
    pub async fn shows(&self, text: &str) {
        let what = format!("{text:?} on the screen");
        eventually(&what, || async { self.screen().contains(text) }).await;
    }
}

/// Both sides of a new terminal.
#[allow(unsafe_code, reason = "the standard library has no terminals")]
fn open() -> (OwnedFd, OwnedFd) {
    let (mut keyboard, mut terminal) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the two numbers are written to; name, settings and size may be null.
    let outcome = unsafe {
        libc::openpty(
            &raw mut keyboard,
            &raw mut terminal,
            none,
            none.cast(),
            none.cast(),
        )
    };
    assert_eq!(outcome, 0, "there is a terminal to be had");
    // SAFETY: they are open, and nobody else has them.
    unsafe {
        (
            OwnedFd::from_raw_fd(keyboard),
            OwnedFd::from_raw_fd(terminal),
        )
    }
}
