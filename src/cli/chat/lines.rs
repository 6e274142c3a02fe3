//! What a person types, line by line, or what comes through a pipe.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    thread,
};

use tokio::sync::mpsc::{Receiver, channel};

/// The lines of stdin.
pub(super) struct Lines {
    typed: Receiver<String>,
    has_person: bool,
}

impl Lines {
    /// Begins to read. The thread that does ends with the process: nothing else can
    /// interrupt a read of stdin.
    pub(super) fn read() -> Self {
        // One is read ahead, so that the next is only asked for when it is wanted.
        let (lines, typed) = channel(1);
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            typed,
            has_person: io::stdin().is_terminal(),
        }
    }

    /// Whether somebody sits there and types.
    pub(super) fn has_person(&self) -> bool {
        self.has_person
    }

    /// Asks a person for the next line.
    pub(super) fn ask(&self) -> io::Result<()> {
        if self.has_person {
            write!(io::stderr(), "> ")?;
        }
        Ok(())
    }

    /// The next line; none where there are no more. Can be dropped without loss.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.typed.recv().await
    }
}
