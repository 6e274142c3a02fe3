//! REST: a request becomes the request of an RPC, by the table.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;
use tonic::{Status, body::Body};

use super::{
    content,
    fields::{Fields, set},
    json,
    problem::Problem,
    routes::{self, ALIASES, Gives, Route, Takes},
    rpc::{Call, Rpcs},
    short, sse,
};
use crate::api::status::invalid;

/// Largest body: a block of 16 MiB in base64, and what goes with it.
pub(super) const BODY_BYTES_MAX: usize = 24 * 1024 * 1024;

pub(super) async fn answer(rpcs: &Rpcs, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let (route, named) = routes::find(&head.method, head.uri.path())?;
    let method = route.rpc();
    let input = method.input();
    let mut fields = match route.takes {
        Takes::Nothing => Fields::new(),
        takes => taken(takes, &input, read_object(&head.headers, body).await?)?,
    };
    add_query(
        route,
        &input,
        head.uri.query().unwrap_or_default(),
        &mut fields,
    )?;
    for (name, value) in named {
        set(&input, &mut fields, name, value.into());
    }
    match route.gives {
        Gives::Json => {
            let call = Call {
                head: &head,
                method: &method,
                message: json::read(&input, Value::Object(fields))?,
            };
            let answer = rpcs.unary(call).await?;
            Ok(json_response(json::write(&method.output(), &answer)?))
        }
        Gives::Content => content::answer(rpcs, &head, &method, fields).await,
        Gives::Events { resume } => sse::answer(rpcs, head, &method, fields, resume).await,
    }
}

pub(super) fn json_response(json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(json)));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A whole body of a bearable size.
pub(super) async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(Problem::MediaType);
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge(BODY_BYTES_MAX)),
        Err(_) => Err(Status::cancelled("the body did not come in whole").into()),
    }
}

/// An object; an empty one where there is no body at all.
async fn read_object(headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let body = read_body(headers, body).await?;
    if body.is_empty() {
        return Ok(Fields::new());
    }
    // A page from elsewhere can send other types without asking first.
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(Problem::MediaType);
    }
    match serde_json::from_slice(json::bounded(&body)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("request", "must be an object").into()),
        Err(problem) => Err(invalid("request", problem).into()),
    }
}

fn is_json(content_type: &HeaderValue) -> bool {
    let kind = content_type.as_bytes().split(|byte| *byte == b';').next();
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// What of the RPC's request a body says.
fn taken(takes: Takes, input: &MessageDescriptor, mut body: Fields) -> Result<Fields, Status> {
    if takes == Takes::Message {
        body = short::message(body)?;
    }
    let Takes::Field(field, _) = takes else {
        short::complete(input, &mut body);
        return Ok(body);
    };
    let mask = body
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    Ok(Fields::from_iter([
        (field.to_owned(), Value::Object(body)),
        ("update_mask".to_owned(), mask.into()),
    ]))
}

fn add_query(
    route: &Route,
    input: &MessageDescriptor,
    query: &str,
    fields: &mut Fields,
) -> Result<(), Status> {
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let field = query_field(route, input, &name)
            .ok_or_else(|| invalid(&name, "is not a parameter of this request"))?;
        let value = query_value(&name, &field, &text)?;
        match fields.get_mut(field.name()) {
            Some(Value::Array(list)) => list.extend(value.as_array().cloned().unwrap_or_default()),
            Some(_) => return Err(invalid(&name, "must be given once")),
            None => set(input, fields, field.name(), value),
        }
    }
    short::complete(input, fields);
    Ok(())
}

/// The field that a name in a query means: one that is neither in the path nor
/// in the body.
fn query_field(route: &Route, input: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let alias = ALIASES
        .iter()
        .find(|(rpc, alias, _)| *rpc == route.rpc && *alias == name);
    let name = alias.map_or(name, |(_, _, field)| field);
    let field = input
        .get_field_by_name(name)
        .or_else(|| input.get_field_by_json_name(name))?;
    is_in_query(route, &field).then_some(field)
}

/// Whether a field of an RPC's request comes in the query.
pub(super) fn is_in_query(route: &Route, field: &FieldDescriptor) -> bool {
    let is_in_body = match route.takes {
        // Which bytes is what Range says.
        Takes::Nothing => route.gives == Gives::Content,
        Takes::Field(body, _) => field.name() == body,
        Takes::Request | Takes::Message => true,
    };
    !is_in_body && route.names().all(|name| name != field.name())
}

fn query_value(name: &str, field: &FieldDescriptor, text: &str) -> Result<Value, Status> {
    if field.is_list() {
        return Ok(text.split(',').filter(|one| !one.is_empty()).collect());
    }
    let not_whole = |_| invalid(name, "must be a whole number");
    match field.kind() {
        Kind::Bool => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(invalid(name, "must be true or false")),
        },
        Kind::Int32 => text.parse::<i32>().map(Value::from).map_err(not_whole),
        _ => Ok(text.into()),
    }
}
