//! Server-sent events, of which only the data counts. Servers differ: a line that is
//! not understood is passed over, and what the last line began ends with the answer.

use std::mem::take;

/// Reads the data of events from bytes as they come.
#[derive(Default)]
pub(super) struct SseReader {
    /// A line that has not ended.
    line: Vec<u8>,
    /// The last byte was a CR: an LF after it ends no other line.
    is_after_cr: bool,
    /// Of an event that has not ended.
    data: Option<String>,
}

impl SseReader {
    /// The data of each event that ends in these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_of_cr = take(&mut self.is_after_cr) && byte == b'\n';
            match byte {
                b'\n' if is_of_cr => {}
                b'\n' | b'\r' => {
                    self.is_after_cr = byte == b'\r';
                    events.extend(self.end_line());
                }
                byte => self.line.push(byte),
            }
        }
        events
    }

    /// The data of an event that nobody has ended.
    pub(super) fn end(&mut self) -> Option<String> {
        self.end_line().or_else(|| self.data.take())
    }

    /// Takes in a line. An empty one ends the event before it.
    fn end_line(&mut self) -> Option<String> {
        let line = take(&mut self.line);
        if line.is_empty() {
            return self.data.take();
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}');
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of all events in the text, which comes in pieces of so many bytes.
    fn events(text: &str, piece: usize) -> Vec<String> {
        let mut reader = SseReader::default();
        let pieces = text.as_bytes().chunks(piece);
        let mut events: Vec<_> = pieces.flat_map(|bytes| reader.read(bytes)).collect();
        events.extend(reader.end());
        events
    }

    #[test]
    fn events_are_read_however_lines_end_and_wherever_they_are_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}data: é\n\n: a comment\n\nevent: x\nid: 1\ndata:b\ndata: c\n\n";
            let text = text.replace('\n', end);
            for piece in 1..text.len() {
                assert_eq!(events(&text, piece), ["é", "b\nc"], "{end:?} {piece}");
            }
        }
    }

    #[test]
    fn lines_that_are_not_understood_are_passed_over() {
        let text = "nonsense\nother: x\nid: 1\nid: 2\nretry: soon\ndata: a\n\ndata\n\n";
        assert_eq!(events(text, 7), ["a", ""]);
    }

    #[test]
    fn the_last_event_counts_though_no_empty_line_ends_it() {
        for text in ["data: a\n\ndata: b\n", "data: a\n\ndata: b"] {
            assert_eq!(events(text, 3), ["a", "b"]);
        }
        assert_eq!(events("data: a\n\n", 3), ["a"]);
    }
}
