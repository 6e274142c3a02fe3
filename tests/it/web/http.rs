//! HTTP as far as the tests need it: one request a connection, without chunks.

use std::collections::HashMap;

use serde_json::Value;
use throughline::runtime::serve::Service;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use crate::support::{World, soon};

/// An answer, or its beginning.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The `reason` of a problem.
    pub fn reason(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.json()["reason"].as_str().unwrap().to_owned()
    }
}

/// Sends a request, and waits for all of its answer.
pub async fn send(service: &Service, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (mut answer, mut stream) = begin(service, line, headers, body).await;
    soon("the answer's body", stream.read_to_end(&mut answer.body))
        .await
        .unwrap();
    answer
}

/// Sends a request, and waits for the head of its answer.
pub async fn begin(
    service: &Service,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Answer, BufReader<TcpStream>) {
    let stream = TcpStream::connect(service.address).await.unwrap();
    begin_on(stream, line, headers, body).await
}

/// The same without a body, from a client that takes in little unasked. The system
/// would take in many megabytes for it.
pub async fn begin_slowly(service: &Service, line: &str) -> (Answer, BufReader<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket.connect(service.address).await.unwrap();
    begin_on(stream, line, &[], b"").await
}

async fn begin_on(
    mut stream: TcpStream,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Answer, BufReader<TcpStream>) {
    let mut head = format!("{line} HTTP/1.0\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: {}\r\n", stream.peer_addr().unwrap());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // An early refusal closes the connection.
    let _ = stream.write_all(body).await;
    let mut stream = BufReader::new(stream);
    let answer = read_head(&mut stream).await;
    (answer, stream)
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> Answer {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read = soon("the answer's head", stream.read_line(&mut line)).await;
        assert!(read.unwrap() > 0, "the connection ended after {lines:?}");
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines[1..].iter().map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    Answer {
        status,
        headers: headers.collect(),
        body: Vec::new(),
    }
}

pub async fn get(world: &World, path: &str) -> Answer {
    send(&world.services[0], &format!("GET {path}"), &[], b"").await
}

pub async fn post(world: &World, path: &str, json: Value) -> Answer {
    call(world, "POST", path, json).await
}

/// Sends JSON to the first instance.
pub async fn call(world: &World, method: &str, path: &str, json: Value) -> Answer {
    let headers = [("content-type", "application/json")];
    let line = format!("{method} {path}");
    send(
        &world.services[0],
        &line,
        &headers,
        json.to_string().as_bytes(),
    )
    .await
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// A stream of events, read as EventSource reads it.
pub struct Events {
    stream: BufReader<TcpStream>,
    /// How many comments came.
    pub comments: usize,
}

impl Events {
    /// Opens a stream that there is.
    pub async fn open(service: &Service, path: &str, last_id: Option<&str>) -> Self {
        let headers: Vec<_> = last_id
            .map(|id| ("last-event-id", id))
            .into_iter()
            .collect();
        let (answer, stream) = begin(service, &format!("GET {path}"), &headers, b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        Self::reading(stream)
    }

    /// Reads a stream that was opened.
    pub fn reading(stream: BufReader<TcpStream>) -> Self {
        Self {
            stream,
            comments: 0,
        }
    }

    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        soon("the next event", self.read()).await
    }

    /// Comments come for ever where nothing else does.
    async fn read(&mut self) -> Option<Event> {
        let mut event = Event {
            id: String::new(),
            name: String::new(),
            data: Value::Null,
        };
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                Some(("retry", _)) => {}
                Some(("", _)) => self.comments += 1,
                None if event.name.is_empty() => {}
                None => return Some(event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Where the next heartbeat says to resume.
    pub async fn heartbeat(&mut self) -> String {
        soon("a heartbeat", async {
            while self.line().await != ": heartbeat" {}
            let line = self.line().await;
            line.strip_prefix("id: ").unwrap_or_default().to_owned()
        })
        .await
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.unwrap();
        assert!(read > 0, "the stream goes on");
        line.trim_end().to_owned()
    }

    /// The next event, which is there.
    pub async fn event(&mut self) -> Event {
        self.next().await.expect("the stream goes on")
    }

    /// All that comes up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        rest
    }
}
