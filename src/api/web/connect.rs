//! The Connect protocol: every RPC as a POST at its gRPC path, with JSON or
//! protobuf, one answer or a stream of them.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use prost::Message;
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};

use super::{
    json,
    problem::{Problem, code_name},
    rest::read_body,
    rpc::{Call, Rpcs, put_message, rewrite, take_message},
};
use crate::api::status::{invalid, only_by_grpc};

/// Marks the envelope that says how a stream ended.
const END_FLAG: u8 = 2;

/// How messages are written, and whether there is a stream of them.
#[derive(Clone, Copy)]
struct Form {
    codec: Codec,
    streams: bool,
}

#[derive(Clone, Copy)]
enum Codec {
    Json,
    Proto,
}

impl Form {
    const ALL: [(&str, Self); 4] = [
        ("application/json", Self::new(Codec::Json, false)),
        ("application/proto", Self::new(Codec::Proto, false)),
        ("application/connect+json", Self::new(Codec::Json, true)),
        ("application/connect+proto", Self::new(Codec::Proto, true)),
    ];

    const fn new(codec: Codec, streams: bool) -> Self {
        Self { codec, streams }
    }

    /// The form of a request, and the type that its answer has.
    fn of(headers: &HeaderMap) -> Option<(&'static str, Self)> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next()?.trim();
        Self::ALL
            .into_iter()
            .find(|(name, _)| kind.eq_ignore_ascii_case(name))
    }
}

impl Codec {
    fn read(self, of: &MessageDescriptor, message: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Json if message.is_empty() => Ok(message),
            Self::Json => json::read_text(of, &message),
            Self::Proto => Ok(message),
        }
    }

    fn write(self, of: &MessageDescriptor, message: Bytes) -> Result<Bytes, Status> {
        match self {
            Self::Json => json::write(of, &message),
            Self::Proto => Ok(message),
        }
    }
}

pub(super) async fn answer(
    rpcs: &Rpcs,
    method: &MethodDescriptor,
    request: Request<Body>,
) -> Response<Body> {
    if request.method() != Method::POST {
        return Problem::Method("POST".to_owned()).into_response();
    }
    let streams = method.is_server_streaming() || method.is_client_streaming();
    let form = Form::of(request.headers()).filter(|(_, form)| form.streams == streams);
    let Some((kind, form)) = form else {
        return Problem::MediaType.into_response();
    };
    let (body, status) = match form.streams {
        true => (
            stream(rpcs, method, form.codec, request).await,
            StatusCode::OK,
        ),
        false => match unary(rpcs, method, form.codec, request).await {
            Ok(answer) => (Body::new(Full::from(answer)), StatusCode::OK),
            Err(status) => return refusal(&status),
        },
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn unary(
    rpcs: &Rpcs,
    method: &MethodDescriptor,
    codec: Codec,
    request: Request<Body>,
) -> Result<Bytes, Status> {
    let (head, body) = request.into_parts();
    let body = read_body(&head.headers, body).await.map_err(status)?;
    let call = Call {
        head: &head,
        method,
        message: codec.read(&method.input(), body)?,
    };
    codec.write(&method.output(), rpcs.unary(call).await?)
}

/// The envelopes of a stream's answers; that of its end is always among them.
async fn stream(
    rpcs: &Rpcs,
    method: &MethodDescriptor,
    codec: Codec,
    request: Request<Body>,
) -> Body {
    let answers = match open(rpcs, method, codec, request).await {
        Ok(answers) => answers,
        Err(status) => return Body::new(Full::from(end(&status))),
    };
    let output = method.output();
    rewrite(
        Bytes::new(),
        answers,
        move |chunk| envelopes(codec, &output, chunk),
        |status| end(&status),
    )
}

async fn open(
    rpcs: &Rpcs,
    method: &MethodDescriptor,
    codec: Codec,
    request: Request<Body>,
) -> Result<Body, Status> {
    if method.is_client_streaming() {
        return Err(only_by_grpc(method.name()));
    }
    let (head, body) = request.into_parts();
    let mut body = read_body(&head.headers, body).await.map_err(status)?;
    let is_plain = body.first() == Some(&0);
    let message = take_message(&mut body).filter(|_| is_plain && body.is_empty());
    let message =
        message.ok_or_else(|| invalid("request", "must be one message that is not compressed"))?;
    let call = Call {
        head: &head,
        method,
        message: codec.read(&method.input(), message)?,
    };
    rpcs.stream(call).await
}

/// Messages as Connect has them; in protobuf it has them as gRPC does.
fn envelopes(codec: Codec, output: &MessageDescriptor, mut chunk: Bytes) -> Result<Bytes, Status> {
    if matches!(codec, Codec::Proto) {
        return Ok(chunk);
    }
    let mut envelopes = BytesMut::with_capacity(2 * chunk.len());
    while let Some(message) = take_message(&mut chunk) {
        put_message(0, &json::write(output, &message)?, &mut envelopes);
    }
    Ok(envelopes.freeze())
}

fn end(status: &Status) -> Bytes {
    let end = match status.code() {
        Code::Ok => json!({}),
        _ => json!({"error": error(status)}),
    };
    let mut envelope = BytesMut::new();
    put_message(END_FLAG, end.to_string().as_bytes(), &mut envelope);
    envelope.freeze()
}

fn status(problem: Problem) -> Status {
    match problem {
        Problem::Refused(status) => status,
        other => invalid("request", other.detail()),
    }
}

fn refusal(status: &Status) -> Response<Body> {
    let error = error(status).to_string();
    let mut response = super::rest::json_response(error.into());
    *response.status_mut() = http_status(status.code());
    response
}

/// An error as Connect writes it.
fn error(status: &Status) -> Value {
    let details = tonic_types::Status::decode(status.details()).unwrap_or_default();
    let details = details.details.into_iter().map(|any| {
        let kind = any.type_url.rsplit('/').next().unwrap_or_default();
        json!({"type": kind, "value": STANDARD_NO_PAD.encode(&any.value)})
    });
    json!({
        "code": error_code(status.code()),
        "message": status.message(),
        "details": details.collect::<Value>(),
    })
}

fn error_code(code: Code) -> String {
    match code {
        Code::Cancelled => "canceled".to_owned(),
        code => code_name(code).to_lowercase(),
    }
}

/// By Connect's own table.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
