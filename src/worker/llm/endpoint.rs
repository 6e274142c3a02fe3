//! Where a model is, and one request to it over HTTP.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use reqwest::{
    Client, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};
use serde_json::Value;
use sse_stream::SseStream;

use super::{LlmError, stream::error_text};
use crate::worker::secret::Secret;

/// What of an error's text is kept.
const ERROR_BYTES_MAX: usize = 500;
/// The most that an error's body is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a model may take, and how often it is asked.
#[derive(Clone, Debug)]
pub struct Pace {
    /// To a connection.
    pub connect_timeout: Duration,
    /// From the request to the first token.
    pub first_token_timeout: Duration,
    /// From one token to the next.
    pub token_timeout: Duration,
    /// How often a call is made again that failed before its first token.
    pub retries: u32,
    /// The longest wait before that.
    pub retry_delay_max: Duration,
}

/// Where a model is, and how it is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(super) model: String,
    pub(super) pace: Pace,
    url: String,
    key: Option<Secret>,
    http: Client,
}

impl Endpoint {
    /// # Errors
    /// Where `url` is none of HTTP, the key does not fit into a header, or the system
    /// has no certificates to trust.
    pub fn new(url: &str, model: &str, key: Option<Secret>, pace: Pace) -> Result<Self, LlmError> {
        let setup = |error: &dyn ToString| LlmError::Setup(error.to_string());
        let base = reqwest::Url::parse(url).map_err(|error| setup(&error))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(setup(&"neither http:// nor https://"));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let bearer = key.bearer();
            let bearer = bearer.ok_or_else(|| setup(&"the key has characters that no key has"))?;
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = Client::builder()
            .default_headers(headers)
            .connect_timeout(pace.connect_timeout)
            .tcp_nodelay(true)
            // The key is for this endpoint alone.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| setup(&error.without_url()))?;
        Ok(Self {
            model: model.to_owned(),
            pace,
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            key,
            http,
        })
    }

    /// Sends a request, and gives the data of each event of the answer.
    pub(super) async fn post(
        &self,
        body: &Value,
    ) -> Result<impl Stream<Item = Result<String, LlmError>> + Send + use<>, LlmError> {
        let request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        let answer = request.send().await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let is_json = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        // One that does not stream answers all at once.
        let events = match is_json {
            true => stream::once(async move { answer.text().await.map_err(broken) }).left_stream(),
            false => events(answer).right_stream(),
        };
        Ok(events.boxed())
    }

    async fn refusal(&self, answer: Response) -> LlmError {
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| {
            let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let message = self.message(answer).await;
        let is_passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        let status = status.as_u16();
        match is_passing {
            true => LlmError::Busy {
                status,
                message,
                retry_after,
            },
            false => LlmError::Refused { status, message },
        }
    }

    /// What an error says: briefly, and without the key, which some repeat.
    async fn message(&self, answer: Response) -> String {
        let mut chunks = answer.bytes_stream();
        let mut body = Vec::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                break;
            }
        }
        let text = String::from_utf8_lossy(&body);
        let mut text = match serde_json::from_str::<Value>(&text) {
            Ok(value) => error_text(value.get("error").unwrap_or(&value)),
            Err(_) => text.trim().to_owned(),
        };
        if let Some(key) = &self.key {
            text = key.redact(&text);
        }
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text
    }
}

/// The data of server-sent events.
fn events(answer: Response) -> impl Stream<Item = Result<String, LlmError>> + Send {
    SseStream::from_bytes_stream(answer.bytes_stream()).filter_map(|event| async move {
        match event {
            Ok(event) => event.data.map(Ok),
            Err(sse_stream::Error::Body(error)) => {
                Some(Err(LlmError::Connection(innermost(&*error))))
            }
            Err(error) => Some(Err(LlmError::Malformed(error.to_string()))),
        }
    })
}

fn broken(error: reqwest::Error) -> LlmError {
    LlmError::Connection(innermost(&error.without_url()))
}

/// The cause of an error that says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
