//! Errors in place of answers, in OpenAI's form.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::{
    request::Invalid,
    stream::{Body, body},
};

/// An error of the server.
pub(crate) struct Refusal {
    status: StatusCode,
    invalid: Invalid,
    retry_after: Option<String>,
}

impl Refusal {
    /// The request is at fault.
    pub(crate) fn invalid(invalid: Invalid) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            invalid,
            retry_after: None,
        }
    }

    pub(crate) fn no_rule() -> Self {
        let message = "no rule of the script is for this request";
        Self::coded(StatusCode::BAD_REQUEST, "no_rule", message)
    }

    pub(crate) fn wrong_key() -> Self {
        let message = "Incorrect API key provided.";
        Self::coded(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn no_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist.");
        Self::coded(StatusCode::NOT_FOUND, "model_not_found", &message)
    }

    pub(crate) fn no_path(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self::coded(StatusCode::NOT_FOUND, "unknown_url", &message)
    }

    /// The script wants it.
    pub(crate) fn scripted(code: u16, retry_after: Option<String>) -> Self {
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            retry_after,
            ..Self::coded(status, "scripted", "the script wants this error")
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn response(self) -> Response<Body> {
        let error = json!({"error": {
            "message": self.invalid.message,
            "type": self.kind(),
            "param": self.invalid.param,
            "code": self.invalid.code,
        }});
        let mut response = json_response(self.status, &error);
        let retry_after = self.retry_after.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(value)) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn coded(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self {
            status,
            invalid: Invalid {
                code: Some(code),
                ..Invalid::new("", message)
            },
            retry_after: None,
        }
    }
}

/// A response of JSON.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let json = Bytes::from(value.to_string());
    let pieces = futures_util::stream::iter([Ok(json)]);
    response(status, "application/json", body(pieces))
}

/// A response of this type.
pub(crate) fn response(status: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
