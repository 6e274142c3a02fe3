//! Readable lines on stdout: text that grows, lines between it, and what is going on.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// How words stand out, where there are colours.
#[derive(Clone, Copy)]
pub(super) enum Look {
    Dim,
    Bold,
    Good,
    Bad,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

/// Stdout, with or without colours.
pub(super) struct Terminal {
    /// Stdout is a terminal, and not a file or another program.
    is_live: bool,
    has_colours: bool,
    /// Put before every line of text.
    indent: &'static str,
    /// Text has been written that did not end its line.
    is_mid_line: bool,
    /// The line that the cursor is on says what is going on.
    has_status: bool,
}

impl Terminal {
    /// Colours are used on a terminal, unless `plain` or the NO_COLOR of the
    /// environment is set.
    pub(super) fn new(plain: bool, indent: &'static str) -> Self {
        let unwanted = plain || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_live = io::stdout().is_terminal();
        Self {
            is_live,
            has_colours: is_live && !unwanted,
            indent,
            is_mid_line: false,
            has_status: false,
        }
    }

    /// Whether somebody sees what is written as it is written.
    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// The words in this look.
    pub(super) fn paint(&self, look: Look, words: impl Display) -> String {
        match self.has_colours {
            true => format!("\x1b[{}m{words}\x1b[0m", look.code()),
            false => words.to_string(),
        }
    }

    /// Writes a line of its own.
    pub(super) fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.end_text()?;
        writeln!(io::stdout(), "{line}")
    }

    /// Writes a line that is not what was asked for: dimmed, or to stderr where
    /// stdout is a file or another program.
    pub(super) fn aside(&mut self, look: Look, line: impl Display) -> io::Result<()> {
        match self.is_live {
            true => self.line(self.paint(look, line)),
            false => writeln!(io::stderr(), "{line}"),
        }
    }

    /// Says something about the command itself, where it does not get in the way of
    /// the output.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.end_text()?;
        writeln!(io::stderr(), "throughline: {text}")
    }

    /// Says what is going on, until the next output takes the place of it. Only on a
    /// terminal, and not while text is being written.
    pub(super) fn status(&mut self, words: &str) -> io::Result<()> {
        if !self.is_live || self.is_mid_line {
            return Ok(());
        }
        self.clear_status()?;
        self.has_status = true;
        // Without wrapping, so that there is one line to clear whatever its width.
        let words = self.paint(Look::Dim, words);
        let mut out = io::stdout().lock();
        write!(out, "\x1b[?7l{words}\x1b[?7h")?;
        out.flush()
    }

    /// Asks for a line.
    pub(super) fn prompt(&mut self) -> io::Result<()> {
        self.end_text()?;
        let mark = self.paint(Look::Bold, "> ");
        let mut out = io::stdout().lock();
        write!(out, "{mark}")?;
        out.flush()
    }

    /// Writes text right after the text before it, and shows it at once.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.clear_status()?;
        let mut out = io::stdout().lock();
        for line in text.split_inclusive('\n') {
            if !self.is_mid_line {
                out.write_all(self.indent.as_bytes())?;
            }
            out.write_all(printable(line).as_bytes())?;
            self.is_mid_line = !line.ends_with('\n');
        }
        out.flush()
    }

    /// Ends the line that text was written to, if there is one.
    pub(super) fn end_text(&mut self) -> io::Result<()> {
        self.clear_status()?;
        if self.is_mid_line {
            self.is_mid_line = false;
            writeln!(io::stdout())?;
        }
        Ok(())
    }

    fn clear_status(&mut self) -> io::Result<()> {
        if !self.has_status {
            return Ok(());
        }
        self.has_status = false;
        let mut out = io::stdout().lock();
        out.write_all(b"\r\x1b[2K")?;
        out.flush()
    }
}

/// The text without what would make a terminal do things: a message must not
/// be able to write escape sequences.
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().filter(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[2J\r\u{9b}1mb\tc\n"), "a[2J1mb\tc\n");
    }
}
