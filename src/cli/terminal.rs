//! Readable lines on stdout: text that grows, and lines between it.

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
    has_colours: bool,
    /// Put before every line of text.
    indent: &'static str,
    /// Text has been written that did not end its line.
    is_mid_line: bool,
}

impl Terminal {
    /// Colours are used on a terminal, unless `plain` or the NO_COLOR of the
    /// environment is set.
    pub(super) fn new(plain: bool, indent: &'static str) -> Self {
        let unwanted = plain || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            has_colours: io::stdout().is_terminal() && !unwanted,
            indent,
            is_mid_line: false,
        }
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

    /// Writes text right after the text before it, and shows it at once.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
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
        if self.is_mid_line {
            self.is_mid_line = false;
            writeln!(io::stdout())?;
        }
        Ok(())
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
