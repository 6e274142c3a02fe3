//! The REST API as a table: which request is which RPC.

use http::Method;
use percent_encoding::percent_decode_str;
use prost_reflect::MethodDescriptor;

use super::{json, problem::Problem};

/// One row. The paths of the seed are among them.
pub(super) struct Route {
    /// HEAD is where GET is.
    pub(super) method: &'static str,
    /// Names in braces are fields of the RPC's request.
    pub(super) path: &'static str,
    /// As in `TaskService/GetTask`.
    pub(super) rpc: &'static str,
    pub(super) takes: Takes,
    pub(super) gives: Gives,
}

/// What the body of a request is. Other fields come in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// The RPC's request, but for what the path says.
    Request,
    /// A field of it, of which so much can be changed. The names of what is there
    /// are the `update_mask`.
    Field(&'static str, &'static [&'static str]),
    /// CreateMessage's request, or a text with its type that is a whole message
    /// of the user.
    Message,
}

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// The RPC's answer.
    Json,
    /// Bytes as they are, or a range of them.
    Content,
    /// Events, resumed by this field of the request.
    Events { resume: &'static str },
}

/// Names in a query for fields that the RPC calls otherwise.
pub(super) const ALIASES: [(&str, &str, &str); 4] = [
    ("MessageService/ListMessages", "limit", "page_size"),
    ("MessageService/ListMessages", "offset", "skip"),
    ("MessageService/WatchMessage", "last_id", "cursor"),
    ("SessionService/WatchSession", "last_id", "resume_token"),
];

const OF_MESSAGE: Gives = Gives::Events { resume: "cursor" };
const OF_SESSION: Gives = Gives::Events {
    resume: "resume_token",
};

macro_rules! routes {
    ($($method:ident $path:literal $rpc:literal $takes:expr, $gives:expr;)*) => {
        pub(super) const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: concat!("/api/v1/", $path),
            rpc: $rpc,
            takes: $takes,
            gives: $gives,
        }),*];
    };
}

use Gives::{Content, Json};
use Takes::{Message, Nothing, Request};

const SESSION: Takes = Takes::Field("session", &["metadata"]);

routes! {
    POST "sessions" "SessionService/CreateSession" Request, Json;
    GET "sessions" "SessionService/ListSessions" Nothing, Json;
    GET "sessions/{session_id}" "SessionService/GetSession" Nothing, Json;
    PATCH "sessions/{session.session_id}" "SessionService/UpdateSession" SESSION, Json;
    DELETE "sessions/{session_id}" "SessionService/CloseSession" Nothing, Json;
    POST "sessions/{session_id}/erase" "SessionService/DeleteSession" Request, Json;
    GET "sessions/{session_id}/stream" "SessionService/WatchSession" Nothing, OF_SESSION;
    POST "sessions/{session_id}/messages" "MessageService/CreateMessage" Message, Json;
    GET "sessions/{session_id}/messages" "MessageService/ListMessages" Nothing, Json;
    GET "sessions/{session_id}/messages/{message_id}/stream" "MessageService/WatchMessage" Nothing, OF_MESSAGE;
    POST "sessions/{session_id}/tasks" "TaskService/SubmitTask" Request, Json;
    GET "messages/{message_id}" "MessageService/GetMessage" Nothing, Json;
    DELETE "messages/{message_id}" "MessageService/DeleteMessage" Nothing, Json;
    POST "messages/{message_id}/append" "MessageService/AppendText" Request, Json;
    POST "messages/{message_id}/content" "MessageService/AddContent" Request, Json;
    PATCH "messages/{message_id}/content/{block.block_id}" "MessageService/UpdateContent" Request, Json;
    GET "messages/{message_id}/content/{block_id}" "MessageService/ReadContent" Nothing, Content;
    GET "content/{content_id}" "MessageService/ReadContent" Nothing, Content;
    POST "messages/{message_id}/complete" "MessageService/EndMessage" Request, Json;
    POST "messages/{message_id}/cancel" "MessageService/RequestCancel" Request, Json;
    POST "messages/{message_id}/writer" "MessageService/AcquireWriter" Request, Json;
    POST "messages/{message_id}/events" "MessageService/PublishEvent" Request, Json;
    GET "messages/{message_id}/events" "MessageService/ListEvents" Nothing, Json;
    GET "messages/{message_id}/inspect" "AdminService/InspectMessage" Nothing, Json;
    POST "messages/{message_id}/tasks" "TaskService/StartTask" Request, Json;
    GET "messages/{message_id}/tasks" "TaskService/ListTasks" Nothing, Json;
    GET "messages/{message_id}/tasks/{task_id}" "TaskService/GetTask" Nothing, Json;
    PATCH "messages/{message_id}/tasks/{task_id}" "TaskService/UpdateTask" Request, Json;
    POST "messages/{message_id}/tasks/{task_id}/cancel" "TaskService/CancelTask" Request, Json;
    POST "tasks/claim" "TaskService/ClaimTask" Request, Json;
    POST "tasks/renew" "TaskService/RenewTask" Request, Json;
    POST "cleanup" "MessageService/CleanupMessages" Request, Json;
    GET "info" "AdminService/GetServerInfo" Nothing, Json;
}

/// A route, and what the path gives for each of its names.
pub(super) type Found = (&'static Route, Vec<(&'static str, String)>);

/// The route of a request.
pub(super) fn find(method: &Method, path: &str) -> Result<Found, Problem> {
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(named) = route.read(path) else {
            continue;
        };
        if route.method == method.as_str() {
            return Ok((route, named));
        }
        others.push(route.method);
    }
    if others.contains(&"GET") {
        others.push("HEAD");
    }
    match others.is_empty() {
        true => Err(Problem::NoRoute),
        false => Err(Problem::Method(others.join(", "))),
    }
}

impl Route {
    pub(super) fn rpc(&self) -> MethodDescriptor {
        json::method(&format!("/throughline.v1.{}", self.rpc))
            .expect("a test looks up each row of the table")
    }

    /// Names in the path, each a path of fields in the request.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(name)
    }

    fn read(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let mut named = Vec::new();
        let mut segments = path.split('/');
        for pattern in self.path.split('/') {
            let segment = segments.next()?;
            match name(pattern) {
                Some(name) if !segment.is_empty() => {
                    let value = percent_decode_str(segment).decode_utf8_lossy();
                    named.push((name, value.into_owned()));
                }
                _ if segment == pattern => {}
                _ => return None,
            }
        }
        segments.next().is_none().then_some(named)
    }
}

fn name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_an_rpc_and_its_fields() {
        for route in ROUTES {
            let input = route.rpc().input();
            for name in route.names() {
                let first = name.split('.').next().unwrap_or_default();
                let field = input.get_field_by_name(first);
                assert!(field.is_some(), "{} has no {name}", route.rpc);
            }
        }
    }

    #[test]
    fn every_rpc_but_the_stream_both_ways_has_a_row() {
        for service in ["Session", "Message", "Task", "Admin"] {
            let one = ROUTES.iter().find(|route| route.rpc.starts_with(service));
            let service = one.unwrap().rpc().parent_service().clone();
            for method in service
                .methods()
                .filter(|method| !method.is_client_streaming())
            {
                let is_it = |route: &&Route| route.rpc() == method;
                assert!(
                    ROUTES.iter().any(|route| is_it(&route)),
                    "{}",
                    method.name()
                );
            }
        }
    }

    #[test]
    fn a_path_gives_its_names_decoded() {
        let (route, named) = find(&Method::GET, "/api/v1/messages/a%2Fb/tasks/t").unwrap();
        assert_eq!(route.rpc, "TaskService/GetTask");
        assert_eq!(
            named,
            [
                ("message_id", "a/b".to_owned()),
                ("task_id", "t".to_owned())
            ]
        );
        for path in [
            "/api/v1/messages/",
            "/api/v1/messages//tasks",
            "/",
            "/api/v1/sessions/",
        ] {
            assert!(
                matches!(find(&Method::GET, path), Err(Problem::NoRoute)),
                "{path}"
            );
        }
    }
}
