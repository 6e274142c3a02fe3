//! Bare Redis: the floor under every measurement. It speaks the protocol
//! itself, so that no library stands between the generator and Redis.

use std::{
    io::{ErrorKind, Write},
    path::Path,
    str::FromStr,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::sleep,
};

use super::BenchError;

/// How much is read at once, at least.
const READ_BYTES: usize = 64 * 1024;

const CONNECT_PAUSE: Duration = Duration::from_millis(1);

/// One connection.
pub(super) struct Redis {
    stream: UnixStream,
    /// Came in, and was not given out.
    received: BytesMut,
}

impl Redis {
    pub(super) async fn connect(socket: &Path) -> Result<Self, BenchError> {
        let stream = loop {
            match UnixStream::connect(socket).await {
                // More connect at once than Redis lets wait for it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(CONNECT_PAUSE).await,
                connected => break connected?,
            }
        };
        Ok(Self {
            stream,
            received: BytesMut::new(),
        })
    }

    /// Sends a command and waits for its answer, which is given as it came.
    pub(super) async fn call(&mut self, command: &[&[u8]]) -> Result<Bytes, BenchError> {
        let mut bytes = Vec::new();
        encode(command, &mut bytes);
        self.send_and_wait(&bytes).await
    }

    /// The same with a command that was encoded before.
    pub(super) async fn send_and_wait(&mut self, command: &[u8]) -> Result<Bytes, BenchError> {
        self.send(command).await?;
        self.reply().await
    }

    /// A number that INFO gives in one of its sections.
    pub(super) async fn info<N: FromStr>(
        &mut self,
        section: &str,
        name: &str,
    ) -> Result<N, BenchError> {
        let reply = self.call(&[b"INFO", section.as_bytes()]).await?;
        let text = String::from_utf8_lossy(&reply);
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().parse().ok());
        value.ok_or_else(|| BenchError::Redis(format!("INFO without {name}")))
    }

    /// Sends commands that were encoded before.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<(), BenchError> {
        Ok(self.stream.write_all(commands).await?)
    }

    /// The next answer, as it came.
    pub(super) async fn reply(&mut self) -> Result<Bytes, BenchError> {
        loop {
            if let Some(length) = reply_length(&self.received) {
                let reply = self.received.split_to(length).freeze();
                return match reply.first() {
                    Some(b'-') => Err(refused(&reply)),
                    _ => Ok(reply),
                };
            }
            self.received.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(BenchError::Redis("it closed the connection".to_owned()));
            }
        }
    }
}

/// The texts in an answer, in order, from lists in lists as well.
pub(super) fn texts(reply: &[u8]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    let mut rest = reply;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        if line[0] == b'$' && line[1] != b'-' {
            let length = leading_number(&line[1..]).min(rest.len());
            texts.push(&rest[..length]);
            rest = rest.get(length + 2..).unwrap_or_default();
        }
    }
    texts
}

/// The number in decimal digits that a text begins with.
pub(super) fn leading_number(text: &[u8]) -> usize {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Adds a command to what will be sent.
pub(super) fn encode(command: &[&[u8]], bytes: &mut Vec<u8>) {
    const INFALLIBLE: &str = "a Vec takes all that is written";
    write!(bytes, "*{}\r\n", command.len()).expect(INFALLIBLE);
    for argument in command {
        write!(bytes, "${}\r\n", argument.len()).expect(INFALLIBLE);
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
}

fn refused(reply: &[u8]) -> BenchError {
    let text = String::from_utf8_lossy(reply);
    BenchError::Redis(text.trim_start_matches('-').trim_end().to_owned())
}

/// How long the first answer in `bytes` is; none where more has to come in.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    // -1 stands for nothing, in place of a text as of a list.
    let count = || leading_number(&bytes[1..line]);
    match bytes[0] {
        b'$' if bytes[1] == b'-' => Some(line),
        b'$' => {
            let whole = line + count() + 2;
            (bytes.len() >= whole).then_some(whole)
        }
        b'*' => (0..count()).try_fold(line, |end, _| Some(end + reply_length(&bytes[end..])?)),
        _ => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_to_be_whole() {
        for whole in [
            &b"+OK\r\n"[..],
            b":12\r\n",
            b"-ERR no\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$3\r\na\nb\r\n",
            b"*-1\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        ] {
            let followed = [whole, b"+next\r\n"].concat();
            assert_eq!(reply_length(&followed), Some(whole.len()));
            for cut in 0..whole.len() {
                assert_eq!(reply_length(&whole[..cut]), None, "{:?}", &whole[..cut]);
            }
        }
    }

    #[test]
    fn texts_are_found_in_nested_lists() {
        let reply = b"*2\r\n$1\r\na\r\n*3\r\n:7\r\n$-1\r\n$3\r\nb\nc\r\n";
        assert_eq!(texts(reply), [&b"a"[..], b"b\nc"]);
    }

    #[test]
    fn a_command_is_a_list_of_texts() {
        let mut bytes = Vec::new();
        encode(&[b"GET", b"key"], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}
