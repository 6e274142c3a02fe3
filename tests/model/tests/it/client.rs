//! A client that takes in what comes, broken or not.

use std::{future::Future, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Bytes, body::Incoming, client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use throughline_model::Model;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that is going to happen.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.expect("it happens soon")
}

/// A request in the simplest form.
pub fn ask(user: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": user}]})
}

/// The same for a stream that reports its usage.
pub fn ask_streamed(user: &str) -> Value {
    with(
        ask(user),
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    )
}

/// A request that offers a tool.
pub fn with_tool(body: Value) -> Value {
    let parameters = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    let function = json!({"name": "look", "parameters": parameters});
    with(
        body,
        json!({"tools": [{"type": "function", "function": function}]}),
    )
}

/// The body with these arguments as well.
pub fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().cloned().unwrap();
    body.as_object_mut().unwrap().extend(more);
    body
}

/// What came in answer to a request.
pub struct Heard {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// The answer was not cut.
    pub is_whole: bool,
}

impl Heard {
    pub fn text(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// What stands after `data:`, without `[DONE]`.
    pub fn chunks(&self) -> Vec<Value> {
        let data = self
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data:"));
        let chunks = data.filter(|data| data.trim() != "[DONE]");
        chunks
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The deltas of the only choice.
    pub fn deltas(&self) -> Vec<Value> {
        let chunks = self.chunks().into_iter();
        let deltas = chunks.map(|chunk| chunk["choices"][0]["delta"].clone());
        deltas.filter(Value::is_object).collect()
    }

    /// All text of a stream.
    pub fn said(&self) -> String {
        let deltas = self.deltas();
        let texts = deltas.iter().filter_map(|delta| delta["content"].as_str());
        texts.collect()
    }

    pub fn finish_reasons(&self) -> Vec<Value> {
        let chunks = self.chunks().into_iter();
        let reasons = chunks.map(|chunk| chunk["choices"][0]["finish_reason"].clone());
        reasons.filter(|reason| !reason.is_null()).collect()
    }
}

/// Sends a request and takes in all of its answer.
pub async fn post(model: &Model, body: &Value) -> Heard {
    send(
        model,
        "POST",
        "/v1/chat/completions",
        None,
        body.to_string(),
    )
    .await
}

pub async fn get(model: &Model, path: &str) -> Heard {
    send(model, "GET", path, None, String::new()).await
}

pub async fn send(
    model: &Model,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Heard {
    let (response, connection) = soon(begin(model, method, path, key, body)).await;
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let is_whole = loop {
        match soon(body.frame()).await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    drop(connection);
    Heard {
        status: head.status,
        headers: head.headers,
        bytes,
        is_whole,
    }
}

/// Sends a request over a connection that ends when it is dropped.
pub async fn begin(
    model: &Model,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: String,
) -> (Response<Incoming>, JoinSet<()>) {
    let authority = model.base_url();
    let authority = authority.split('/').nth(2).unwrap();
    let stream = TcpStream::connect(authority).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut open = JoinSet::new();
    open.spawn(async move {
        let _ = connection.await;
    });
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", authority)
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    (sender.send_request(request).await.unwrap(), open)
}
