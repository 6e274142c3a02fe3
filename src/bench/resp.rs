//! Bare Redis: the floor under every measurement. It speaks the protocol
//! itself, so that no library stands between the generator and Redis.

use std::{io::Write, path::Path};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::BenchError;

/// How much is read at once, at least.
const READ_BYTES: usize = 64 * 1024;

/// One connection.
pub(super) struct Redis {
    stream: UnixStream,
    /// Came in, and was not given out.
    received: BytesMut,
}

impl Redis {
    pub(super) async fn connect(socket: &Path) -> Result<Self, BenchError> {
        Ok(Self {
            stream: UnixStream::connect(socket).await?,
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

    /// The text that a command such as INFO is answered with.
    pub(super) async fn text(&mut self, command: &[&[u8]]) -> Result<String, BenchError> {
        let reply = self.call(command).await?;
        let text = String::from_utf8_lossy(&reply);
        let (_, text) = text.split_once("\r\n").unwrap_or_default();
        Ok(text.to_owned())
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
    let count = || -> usize {
        let digits = std::str::from_utf8(&bytes[1..line]).unwrap_or_default();
        // -1 stands for nothing, in place of text as of a list.
        digits.trim_end().parse().unwrap_or(0)
    };
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
    fn a_command_is_a_list_of_texts() {
        let mut bytes = Vec::new();
        encode(&[b"GET", b"key"], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }
}
