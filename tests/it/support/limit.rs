//! The longest that a test may take.

use std::{
    io::{Write, stderr},
    process,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// Several times what the longest test takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(300);

/// While it lives, the test that began it must end in time; otherwise the whole run
/// ends, and says by which test. Waits have limits of their own: this is for one
/// that was given none, and would let the run hang without a word.
pub struct Limit {
    _over: Sender<()>,
}

impl Limit {
    /// Called on the test's own thread, which has its name.
    pub fn of_this_test() -> Self {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        let (over, is_over) = channel();
        thread::spawn(move || {
            if is_over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                // The test harness keeps to itself what `eprintln!` is given.
                let _ = writeln!(stderr(), "{test} has not ended within {LONGEST:?}");
                process::exit(101);
            }
        });
        Self { _over: over }
    }
}
