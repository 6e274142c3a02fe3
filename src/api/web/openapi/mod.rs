//! The REST API as an OpenAPI document, from the table and the descriptors. What
//! it says in words are the comments of the protos.

mod comments;
mod schema;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Method, Response};
use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Map, Value, json};
use tonic::body::Body;

use self::schema::{Direction, Schemas};
use super::{
    problem::Problem,
    rest::{is_in_query, json_response},
    routes::{ALIASES, Gives, ROUTES, Route, Takes},
};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

pub(super) fn answer(method: &Method) -> Response<Body> {
    match *method {
        Method::GET => json_response(DOCUMENT.clone()),
        _ => Problem::Method("GET, HEAD".to_owned()).into_response(),
    }
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = path_of(route);
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.to_lowercase()] = operation(route, &mut schemas);
    }
    let mut components = schemas.into_components();
    components.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Throughline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "AI conversations in Redis, every change an event of an ordered, \
                            replayable, resumable log. Fields may be written as here or as in \
                            the protos.",
        },
        "paths": paths,
        "components": {"schemas": components},
    })
}

/// Of a name such as `block.block_id` only the end is shown.
fn path_of(route: &Route) -> String {
    let shown = |name: &'static str| (format!("{{{name}}}"), format!("{{{}}}", last(name)));
    let shown = route.names().map(shown);
    shown.fold(route.path.to_owned(), |path, (name, shown)| {
        path.replace(&name, &shown)
    })
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let rpc = route.rpc();
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), json!(operation_id(route))),
        ("tags".to_owned(), json!([rpc.parent_service().name()])),
        ("description".to_owned(), json!(comments::of_method(&rpc))),
        ("parameters".to_owned(), parameters(route, schemas)),
        ("responses".to_owned(), responses(route, schemas)),
    ]);
    if let Some((schema, required)) = body(route, schemas) {
        let content = json!({"application/json": {"schema": schema}});
        let body = json!({"content": content, "required": required});
        operation.insert("requestBody".to_owned(), body);
    }
    Value::Object(operation)
}

/// The RPC's name; two routes lead to what content is read with.
fn operation_id(route: &Route) -> String {
    let name = route.rpc().name().to_owned();
    match (route.gives, route.names().count()) {
        (Gives::Content, 2) => format!("{name}OfBlock"),
        _ => name,
    }
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Value {
    let input = route.rpc().input();
    let in_path = route.names().map(|name| {
        json!({
            "name": last(name),
            "in": "path",
            "required": true,
            "schema": {"type": "string", "pattern": schema::ID},
        })
    });
    let mut parameters: Vec<Value> = in_path.collect();
    for field in input.fields().filter(|field| is_in_query(route, field)) {
        let required = comments::is_required(&field) && !is_mask(&field);
        let aliases = ALIASES
            .iter()
            .filter(|(rpc, _, of)| *rpc == route.rpc && *of == field.name());
        for name in [field.name()]
            .into_iter()
            .chain(aliases.map(|(_, alias, _)| *alias))
        {
            parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required,
                "description": comments::of_field(&field),
                "style": "form",
                "explode": false,
                "schema": schemas.of_parameter(&field),
            }));
        }
    }
    if let Gives::Events { resume } = route.gives {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": format!("What a browser sends by itself to resume; goes before {resume}."),
            "schema": {"type": "string"},
        }));
    }
    parameters.into()
}

/// A mask is made from the body where it is not given.
fn is_mask(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(kind) if kind.name() == "FieldMask")
}

/// What a body is, and whether there must be one.
fn body(route: &Route, schemas: &mut Schemas) -> Option<(Value, bool)> {
    let input = route.rpc().input();
    let request = schemas.of_request(&input, |name| route.names().any(|field| field == name));
    match route.takes {
        Takes::Nothing => None,
        Takes::Request => Some(request),
        Takes::Message => Some((json!({"anyOf": [schema::short_message(), request.0]}), true)),
        Takes::Field(field, changeable) => {
            let Kind::Message(of) = input.get_field_by_name(field)?.kind() else {
                return None;
            };
            let is_fixed = |name: &str| !changeable.contains(&name);
            let (mut schema, _) = schemas.of_request(&of, is_fixed);
            schema["minProperties"] = json!(1);
            Some((schema, true))
        }
    }
}

fn responses(route: &Route, schemas: &mut Schemas) -> Value {
    let any = json!({"content": {"*/*": {"schema": {}}}});
    let described = |text: &str, mut response: Value| {
        response["description"] = json!(text);
        response
    };
    let problem = json!({"content": {"application/problem+json": {
        "schema": {"$ref": "#/components/schemas/Problem"},
    }}});
    let mut responses = match route.gives {
        Gives::Json => {
            let answer = schemas.reference(&route.rpc().output(), Direction::Out);
            let content = json!({"content": {"application/json": {"schema": answer}}});
            json!({"200": described("What the call answers", content)})
        }
        Gives::Content => json!({
            "200": described("All of it", any.clone()),
            "206": described("The range that was asked for", any),
            "304": described("What the caller has is what there is", json!({})),
        }),
        Gives::Events { .. } => {
            let content = json!({"content": {"text/event-stream": {"schema": {"type": "string"}}}});
            json!({
                "200": described(EVENTS, content),
                "204": described("All was seen, and nothing will follow", json!({})),
            })
        }
    };
    responses["default"] = described("Why the call was refused", problem);
    responses
}

const EVENTS: &str = "Server-sent events. `id` is where to resume. `event` is the type of an event \
    without its prefix, in lower case (`message_start`, `text_delta` ...), or `snapshot`, `gap`, \
    `caught_up` or `end`, and `problem` before the stream ends by accident. `data` is the Event, \
    Message, Gap, CaughtUp or End, in a session with its `messageId`. Heartbeats are comments, \
    with an `id`. \
    With `accept: text/event-stream`, as EventSource sends it, what will pass is told by a \
    `problem` as well, after a `retry`, in place of a status that EventSource gives up at.";

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why a call was refused (RFC 9457). The reason is that of gRPC.",
        "required": ["title", "status", "detail", "code", "reason"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "For people"},
            "code": {"type": "string", "description": "The code of gRPC, as NOT_FOUND"},
            "reason": {"type": "string", "description": "For programs, as MESSAGE_NOT_FOUND"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "fields": {"type": "array", "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {
                    "field": {"type": "string"},
                    "description": {"type": "string"},
                },
            }},
        },
    })
}
