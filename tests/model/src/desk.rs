//! Where requests are answered: the paths, the key, and which rule decides.

use std::{
    future::pending,
    sync::{Mutex, PoisonError},
};

use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, header};
use serde_json::{Value, json};

use crate::{
    chunks::Chunks,
    plan::Plan,
    record::{Record, Visit},
    refusal::{Refusal, json_response, response},
    reply::{Fault, Reply},
    request::ChatRequest,
    script::Script,
    stream::{Body, streamed},
    whole::whole,
};

/// What all connections share.
pub(crate) struct Desk {
    script: Mutex<Script>,
    record: Record,
}

impl Desk {
    pub(crate) fn new(script: Script, record: Record) -> Self {
        Self {
            script: Mutex::new(script),
            record,
        }
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/record") => {
                let record = json!({"exchanges": self.record.exchanges()});
                json_response(StatusCode::OK, &record)
            }
            (&Method::GET, "/v1/models") => match self.check_key(&head.headers) {
                Ok(()) => json_response(StatusCode::OK, &self.models()),
                Err(refusal) => refusal.response(),
            },
            (&Method::POST, "/v1/chat/completions") => self.chat(&head.headers, body).await,
            (method, path) => Refusal::no_path(method.as_str(), path).response(),
        }
    }

    fn models(&self) -> Value {
        let models = self.with_script(|script| match script.models.is_empty() {
            true => vec!["throughline-model".to_owned()],
            false => script.models.clone(),
        });
        let model =
            |id| json!({"id": id, "object": "model", "created": 0, "owned_by": "throughline"});
        json!({"object": "list", "data": models.into_iter().map(model).collect::<Value>()})
    }

    async fn chat(&self, headers: &HeaderMap, body: Incoming) -> Response<Body> {
        // Where a client has gone before it had said all, nobody reads the refusal.
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null);
        let mut visit = self.record.begin(body.clone());
        match self.decide(headers, &body, &visit) {
            Ok((request, reply)) => respond(request, reply, visit).await,
            Err(refusal) => refuse(refusal, &mut visit),
        }
    }

    /// Checks the request, and finds what to reply.
    fn decide(
        &self,
        headers: &HeaderMap,
        body: &Value,
        visit: &Visit,
    ) -> Result<(ChatRequest, Reply), Refusal> {
        self.check_key(headers)?;
        let request = ChatRequest::parse(body).map_err(Refusal::invalid)?;
        let reply = self.with_script(|script| script.reply(&request, visit))?;
        Ok((request, reply))
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(key) = self.with_script(|script| script.api_key.clone()) else {
            return Ok(());
        };
        let given = headers.get(header::AUTHORIZATION);
        match given.is_some_and(|given| given == &format!("Bearer {key}")) {
            true => Ok(()),
            false => Err(Refusal::wrong_key()),
        }
    }

    fn with_script<T>(&self, use_it: impl FnOnce(&mut Script) -> T) -> T {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(&mut script)
    }
}

impl Script {
    /// What the first rule says that fits; takes one use of it.
    fn reply(&mut self, request: &ChatRequest, visit: &Visit) -> Result<Reply, Refusal> {
        if !self.models.is_empty() && !self.models.contains(&request.model) {
            return Err(Refusal::no_model(&request.model));
        }
        if self.rules.is_empty() {
            return Ok(Reply::echo());
        }
        let mut rules = self.rules.iter_mut().enumerate();
        let (at, rule) = rules
            .find(|(_, rule)| rule.fits(request, visit.number))
            .ok_or_else(Refusal::no_rule)?;
        visit.rule(at);
        rule.times = rule.times.map(|times| times - 1);
        Ok(rule.reply.clone())
    }
}

async fn respond(request: ChatRequest, reply: Reply, mut visit: Visit) -> Response<Body> {
    match &reply.fault {
        Some(Fault::Silence) => pending::<()>().await,
        Some(Fault::Status { code, retry_after }) => {
            let refusal = Refusal::scripted(*code, retry_after.clone());
            return refuse(refusal, &mut visit);
        }
        Some(Fault::Hang { .. } | Fault::Cut { .. } | Fault::Error { .. }) | None => {}
    }
    let plan = Plan::new(&reply, &request, visit.number);
    if !request.stream {
        let body = whole(&reply, &plan, visit).await;
        return response(StatusCode::OK, "application/json", body);
    }
    visit.status(200);
    let chunks = Chunks {
        reply,
        plan,
        wants_usage: request.wants_usage,
    };
    response(StatusCode::OK, "text/event-stream", streamed(chunks, visit))
}

fn refuse(refusal: Refusal, visit: &mut Visit) -> Response<Body> {
    visit.status(refusal.status());
    visit.end();
    refusal.response()
}
