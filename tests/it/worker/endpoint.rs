//! A model's endpoint that says what a test wants it to say, and keeps what it was
//! asked.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::support::eventually;

/// What the endpoint does when it is asked.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers, word by word, at this pace.
    Say(String, Duration),
    /// Calls tools: name and arguments of each.
    Call(Vec<(&'static str, &'static str)>),
    /// Sends these events, and nothing after them.
    Events(Vec<Value>),
    /// The same, with so long between them.
    Slowly(Vec<Value>, Duration),
    /// Sends these events, and breaks the connection.
    Break(Vec<Value>),
    /// Sends these events, and then nothing, until the client goes away.
    Stall(Vec<Value>),
    /// Sends this as it is.
    Raw(&'static str),
    /// Answers with this status, and headers.
    Status(u16, &'static str),
    /// Says this much, and then no more, until the client goes away.
    Hang(&'static str),
}

/// Answers with this text.
pub fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into(), Duration::ZERO)
}

/// Answers with this JSON document.
pub fn say_json(value: &Value) -> Act {
    say(value.to_string())
}

/// One call that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    pub body: Value,
    /// When the client went away from a call that hung.
    pub gone: Option<Instant>,
    /// When the first token was sent.
    pub first_token: Option<Instant>,
}

impl Asked {
    /// The text of the last turn.
    pub fn last(&self) -> &str {
        let turns = self.body["messages"].as_array().unwrap();
        turns.last().unwrap()["content"]
            .as_str()
            .unwrap_or_default()
    }

    /// Which shape the answer was to have.
    pub fn shape(&self) -> Option<&str> {
        self.body["response_format"]["json_schema"]["name"].as_str()
    }
}

type Script = dyn Fn(&Asked, usize) -> Act + Send + Sync;
type Record = Arc<Mutex<Vec<Asked>>>;

pub struct Endpoint {
    pub url: String,
    record: Record,
    _connections: JoinSet<()>,
}

impl Endpoint {
    /// The script gets a call and its number, from 0.
    pub async fn start(script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let record = Record::default();
        let script: Arc<Script> = Arc::new(script);
        let mut connections = JoinSet::new();
        let kept = record.clone();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, script.clone(), kept.clone()));
            }
        });
        Self {
            url,
            record,
            _connections: connections,
        }
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.record.lock().unwrap().clone()
    }

    pub async fn was_asked(&self, times: usize) {
        eventually("a call of the model", || async {
            self.asked().len() >= times
        })
        .await;
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, record: Record) {
    stream.set_nodelay(true).unwrap();
    let Some(body) = read(&mut stream).await else {
        return;
    };
    let asked = Asked {
        body,
        gone: None,
        first_token: None,
    };
    let (number, act) = {
        let mut record = record.lock().unwrap();
        record.push(asked.clone());
        let number = record.len() - 1;
        (number, script(&asked, number))
    };
    let note = |change: &dyn Fn(&mut Asked)| change(&mut record.lock().unwrap()[number]);
    // A client that has gone away is none of our concern.
    let _ = answer(&mut stream, act, &note).await;
}

async fn answer(
    stream: &mut TcpStream,
    act: Act,
    note: &(impl Fn(&dyn Fn(&mut Asked)) + Sync),
) -> std::io::Result<()> {
    match act {
        Act::Status(status, headers) => {
            let body = r#"{"error": {"message": "as the script says"}}"#;
            let head = format!(
                "HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\nconnection: \
                 close\r\n{headers}\r\n{body}",
                body.len()
            );
            return stream.write_all(head.as_bytes()).await;
        }
        Act::Say(text, pace) => {
            begin(stream).await?;
            for word in text.split_inclusive(' ') {
                note(&|asked| {
                    asked.first_token.get_or_insert_with(Instant::now);
                });
                send(stream, &delta(word)).await?;
                sleep(pace).await;
            }
            send(stream, &finish("stop")).await?;
        }
        Act::Call(calls) => {
            begin(stream).await?;
            for (at, (name, arguments)) in calls.into_iter().enumerate() {
                let (front, back) = arguments.split_at(arguments.len() / 2);
                let call = json!({"index": at, "id": format!("c{at}"), "type": "function",
                    "function": {"name": name, "arguments": front}});
                send(
                    stream,
                    &json!({"choices": [{"delta": {"tool_calls": [call]}}]}),
                )
                .await?;
                let rest = json!({"index": at, "function": {"arguments": back}});
                send(
                    stream,
                    &json!({"choices": [{"delta": {"tool_calls": [rest]}}]}),
                )
                .await?;
            }
            send(stream, &finish("tool_calls")).await?;
        }
        Act::Events(events) => {
            begin(stream).await?;
            for event in events {
                send(stream, &event).await?;
            }
            return Ok(());
        }
        Act::Slowly(events, pace) => {
            begin(stream).await?;
            for event in events {
                send(stream, &event).await?;
                sleep(pace).await;
            }
            return Ok(());
        }
        Act::Break(events) => {
            // Less than is announced.
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: \
                        1000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            for event in events {
                send(stream, &event).await?;
            }
            return Ok(());
        }
        Act::Stall(events) => {
            begin(stream).await?;
            for event in events {
                send(stream, &event).await?;
            }
            let _ = stream.read(&mut [0]).await;
            return Ok(());
        }
        Act::Raw(text) => {
            begin(stream).await?;
            return stream.write_all(text.as_bytes()).await;
        }
        Act::Hang(text) => {
            if !text.is_empty() {
                begin(stream).await?;
                send(stream, &delta(text)).await?;
            }
            let _ = stream.read(&mut [0]).await;
            note(&|asked| asked.gone = Some(Instant::now()));
            return Ok(());
        }
    }
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}});
    send(stream, &usage).await?;
    stream.write_all(b"data: [DONE]\n\n").await
}

async fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await
}

async fn send(stream: &mut TcpStream, event: &Value) -> std::io::Result<()> {
    stream
        .write_all(format!("data: {event}\n\n").as_bytes())
        .await
}

pub fn delta(text: &str) -> Value {
    json!({"choices": [{"delta": {"content": text}}]})
}

pub fn finish(reason: &str) -> Value {
    json!({"choices": [{"delta": {}, "finish_reason": reason}]})
}

/// The body of a request; none where the client has gone away.
async fn read(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length? {
                return serde_json::from_str(body).ok();
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
