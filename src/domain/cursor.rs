//! Places in a message's log.

use std::{fmt, str::FromStr};

use super::Time;

/// A place in a message's log: the event with this sequence, and everything
/// before it. A reader that has processed the event at a cursor resumes *after*
/// it.
///
/// Written `<sequence>-<time>`, time in microseconds since 1970. The time is a
/// check that the place still holds the event that the reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Dense from 1 within a message.
    pub sequence: u64,
    /// When the event happened.
    pub time: Time,
}

impl Cursor {
    /// The place before the first event.
    pub const BEGINNING: Self = Self {
        sequence: 0,
        time: Time::UNIX_EPOCH,
    };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.time.timestamp_micros())
    }
}

/// A place as a client names it: the time may be left out, and is not checked
/// then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Dense from 1 within a message; 0 is the place before the first event.
    pub sequence: u64,
    /// When the event happened, where the client knows it.
    pub time: Option<Time>,
}

impl Position {
    /// The place before the first event.
    pub const BEGINNING: Self = Self {
        sequence: 0,
        time: None,
    };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequence = self.sequence;
        match self.time {
            Some(time) => Cursor { sequence, time }.fmt(f),
            None => write!(f, "{sequence}"),
        }
    }
}

impl From<Cursor> for Position {
    fn from(cursor: Cursor) -> Self {
        Self {
            sequence: cursor.sequence,
            time: Some(cursor.time),
        }
    }
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// `""`: a snapshot, then what comes after it.
    Snapshot,
    /// `"0"`: the first event that is retained.
    Earliest,
    /// `"$"`: only what comes after now.
    Latest,
    /// What comes after this place.
    After(Position),
}

/// A text that names no place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor \"<sequence>-<time>\", a sequence, \"0\", \"$\" or empty")]
pub struct InvalidCursor;

impl FromStr for Start {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        match text {
            "" => Ok(Self::Snapshot),
            "0" => Ok(Self::Earliest),
            "$" => Ok(Self::Latest),
            text => text.parse().map(Self::After),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let Position { sequence, time } = text.parse()?;
        let time = time.ok_or(InvalidCursor)?;
        Ok(Self { sequence, time })
    }
}

impl FromStr for Position {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (sequence, time) = match text.split_once('-') {
            None => (text, None),
            Some((sequence, micros)) => {
                let micros = i64::try_from(number(micros)?).map_err(|_| InvalidCursor)?;
                let time = Time::from_timestamp_micros(micros).ok_or(InvalidCursor)?;
                (sequence, Some(time))
            }
        };
        match number(sequence)? {
            // Redis reads ids up to 2^64 - 1; half of that is never reached.
            0 | 0x8000_0000_0000_0000.. => Err(InvalidCursor),
            sequence => Ok(Self { sequence, time }),
        }
    }
}

/// Digits only, without a leading zero: a place has one spelling.
fn number(digits: &str) -> Result<u64, InvalidCursor> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    match digits.parse() {
        Ok(number) if canonical => Ok(number),
        _ => Err(InvalidCursor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_is_written() {
        let time = Time::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let cursor = Cursor { sequence: 7, time };
        assert_eq!(cursor.to_string(), "7-1700000000000001");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!(
            cursor.to_string().parse(),
            Ok(Start::After(Position::from(cursor)))
        );
    }

    #[test]
    fn special_starts_have_their_own_spelling() {
        assert_eq!("".parse(), Ok(Start::Snapshot));
        assert_eq!("0".parse(), Ok(Start::Earliest));
        assert_eq!("$".parse(), Ok(Start::Latest));
        let bare = Position {
            sequence: 12,
            time: None,
        };
        assert_eq!("12".parse(), Ok(Start::After(bare)));
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        let broken = [
            "x",
            "-",
            "1-",
            "-1",
            "+1",
            "01",
            "00",
            "0-1",
            "1-x",
            "1-2-3",
            " 1",
            "1 ",
            "1-01",
            "18446744073709551615",
            "9223372036854775808",
            "99999999999999999999",
            "1-99999999999999999999",
            "1-9223372036854775807",
            "１",
        ];
        for text in broken {
            assert_eq!(text.parse::<Start>(), Err(InvalidCursor), "{text}");
        }
    }
}
