//! Errors as HTTP has them: `application/problem+json`, with the reason and the
//! details that gRPC gives.

use std::collections::HashMap;

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

/// What a request is answered with instead of what it asked for.
#[derive(Debug)]
pub(super) enum Problem {
    /// An RPC refused it, or would.
    Refused(Status),
    /// Nothing is at its path.
    NoRoute,
    /// Something is at its path, for these methods.
    Method(String),
    /// Its body is not JSON, or is compressed.
    MediaType,
    /// Its body has more than so many bytes.
    TooLarge(usize),
    /// A page from elsewhere sent it.
    ForeignOrigin,
    /// It calls the service by a name that is perhaps a page's.
    ForeignHost,
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Problem {
    pub(super) fn into_response(self) -> Response<Body> {
        let text = self.to_json().to_string();
        let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
        *response.status_mut() = self.http_status();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        if let Self::Method(allowed) = &self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            headers.insert(ALLOW, allowed);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Self::Refused(status) => http_status(status.code()),
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    /// After how many seconds it may have passed, if it will; at least as long as
    /// gRPC's delay.
    pub(super) fn retry_after(&self) -> Option<u64> {
        let Self::Refused(status) = self else {
            return None;
        };
        let delay = status.get_details_retry_info()?.retry_delay?;
        Some(delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
    }

    /// The document, by RFC 9457.
    pub(super) fn to_json(&self) -> Value {
        let (code, reason, detail) = self.told();
        let http = self.http_status();
        let mut document = Map::from_iter([
            ("title".to_owned(), json!(http.canonical_reason())),
            ("status".to_owned(), json!(http.as_u16())),
            ("detail".to_owned(), json!(detail)),
            ("code".to_owned(), json!(code_name(code))),
            ("reason".to_owned(), json!(reason)),
        ]);
        if let Self::Refused(status) = self {
            document.extend(details(status));
        }
        Value::Object(document)
    }

    /// What is wrong, for people.
    pub(super) fn detail(&self) -> String {
        self.told().2
    }

    fn told(&self) -> (Code, String, String) {
        let (code, reason, detail) = match self {
            Self::Refused(status) => {
                let reason = status.get_details_error_info().map(|info| info.reason);
                let detail = status.message().to_owned();
                return (status.code(), reason.unwrap_or_default(), detail);
            }
            Self::NoRoute => (Code::NotFound, "ROUTE_NOT_FOUND", "nothing is here"),
            Self::Method(_) => (
                Code::Unimplemented,
                "METHOD_NOT_ALLOWED",
                "there is something here, but not for this method",
            ),
            Self::MediaType => (
                Code::InvalidArgument,
                "UNSUPPORTED_MEDIA_TYPE",
                "the content type must be application/json, not compressed",
            ),
            Self::TooLarge(max) => {
                let detail = format!("the body must be at most {max} bytes long");
                return (Code::InvalidArgument, "BODY_TOO_LARGE".to_owned(), detail);
            }
            Self::ForeignOrigin => (
                Code::PermissionDenied,
                "ORIGIN_NOT_ALLOWED",
                "pages of this origin may not call the service",
            ),
            Self::ForeignHost => (
                Code::PermissionDenied,
                "HOST_NOT_ALLOWED",
                "the service is not called by this name: use localhost or an IP address, or \
                 start it with a --cors-origin of this host",
            ),
        };
        (code, reason.to_owned(), detail.to_owned())
    }
}

/// What a code of gRPC is in HTTP.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded | Code::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal | Code::DataLoss | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A code's name, as in `NOT_FOUND`.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What a caller needs to go on: the metadata of the reason, and fields at fault.
fn details(status: &Status) -> Map<String, Value> {
    let mut details = Map::new();
    if let Some(info) = status.get_details_error_info()
        && !info.metadata.is_empty()
    {
        let metadata: HashMap<_, _> = info.metadata;
        details.insert("metadata".to_owned(), json!(metadata));
    }
    if let Some(request) = status.get_details_bad_request() {
        let fields = request.field_violations.into_iter().map(
            |violation| json!({"field": violation.field, "description": violation.description}),
        );
        details.insert("fields".to_owned(), fields.collect());
    }
    details
}
