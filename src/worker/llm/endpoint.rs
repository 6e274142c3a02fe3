//! Where a model is, and one request to it over HTTP.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use futures_util::{Stream, StreamExt, stream};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};
use serde_json::Value;

use super::{LlmError, sse::SseReader, stream::error_text};
use crate::worker::{clock, secret::Secret};

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
    url: Url,
    key: Option<Secret>,
    http: Client,
}

impl Endpoint {
    /// # Errors
    /// Where `url` is none of HTTP, the key does not fit into a header, or the system
    /// has no certificates to trust.
    pub fn new(url: &str, model: &str, key: Option<Secret>, pace: Pace) -> Result<Self, LlmError> {
        let setup = |error: &dyn ToString| LlmError::Setup(error.to_string());
        let mut url = Url::parse(url).map_err(|error| setup(&error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(setup(&"neither http:// nor https://"));
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["chat", "completions"]);
        }
        let key = key.filter(|key| !key.is_empty());
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
            url,
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
            .post(self.url.clone())
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
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok())
            .and_then(|value| delay(value, clock::now()));
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

    /// What an error says.
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
        self.brief(match serde_json::from_str::<Value>(&text) {
            Ok(value) => error_text(value.get("error").unwrap_or(&value)),
            Err(_) => text.trim().to_owned(),
        })
    }

    /// An error of its answer, as it may be told.
    pub(super) fn told(&self, error: LlmError) -> LlmError {
        match error {
            LlmError::Reported(text) => LlmError::Reported(self.brief(text)),
            LlmError::Malformed(text) => LlmError::Malformed(self.brief(text)),
            error => error,
        }
    }

    /// What it said, cut, and without the key, which some repeat.
    fn brief(&self, text: String) -> String {
        let mut text = match &self.key {
            Some(key) => key.redact(&text),
            None => text,
        };
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text
    }
}

/// How long Retry-After asks to wait: so many seconds, or until a date.
fn delay(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let text = retry_after.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(DateTime::parse_from_rfc2822(text).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

/// The data of server-sent events.
fn events(answer: Response) -> impl Stream<Item = Result<String, LlmError>> + Send {
    let mut reader = SseReader::default();
    let pieces = answer.bytes_stream().map(Some);
    // The end is a piece as well: it may end an event.
    let pieces = pieces.chain(stream::iter([None]));
    pieces.flat_map(move |piece| {
        stream::iter(match piece {
            Some(Ok(bytes)) => reader.read(&bytes).into_iter().map(Ok).collect(),
            Some(Err(error)) => vec![Err(broken(error))],
            None => reader.end().into_iter().map(Ok).collect(),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let pace = Pace {
            connect_timeout: Duration::from_secs(1),
            first_token_timeout: Duration::from_secs(1),
            token_timeout: Duration::from_secs(1),
            retries: 0,
            retry_delay_max: Duration::from_secs(1),
        };
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Endpoint::new(url, "m", Some(Secret::new("sk-1234")), pace).unwrap()
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        for (text, seconds) in [
            ("7", Some(7)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(10)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(delay(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_empty_key_is_none() {
        let key = |text| {
            let endpoint = endpoint("http://x/v1");
            let key = Some(Secret::new(text));
            Endpoint::new("http://x/v1", "m", key, endpoint.pace)
                .unwrap()
                .key
        };
        assert!(key(" \n").is_none() && key("sk-1234").is_some());
    }

    #[test]
    fn the_path_is_added_before_a_query() {
        for (url, asked) in [
            ("http://x/v1", "http://x/v1/chat/completions"),
            ("http://x/v1/", "http://x/v1/chat/completions"),
            ("http://x", "http://x/chat/completions"),
            ("http://x/v1?api=2", "http://x/v1/chat/completions?api=2"),
        ] {
            assert_eq!(endpoint(url).url.as_str(), asked);
        }
    }
}
