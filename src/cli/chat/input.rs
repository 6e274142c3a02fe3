//! What a person types, or another program pipes in.
//!
//! It is read by a thread of its own: a read can't be given up, and the program must
//! not wait for one when it ends.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

/// The lines of stdin, as they come.
pub(super) struct Lines(mpsc::Receiver<io::Result<String>>);

impl Lines {
    pub(super) fn read() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        thread::spawn(move || {
            for line in io::stdin().lines() {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// The next line; none where there are no more.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        self.0.recv().await.transpose()
    }
}

/// All of stdin.
pub(super) async fn read_all() -> io::Result<String> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // Nobody waits for it where the program is about to end.
        let _ = sender.send(io::read_to_string(io::stdin()));
    });
    receiver.await.unwrap_or_else(|_| Ok(String::new()))
}
