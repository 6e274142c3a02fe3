//! What the model answers to what: a list of rules, of which the first that fits
//! a request decides.

use serde::{Deserialize, Serialize};

use crate::{reply::Reply, request::ChatRequest};

/// What a model knows. Without a rule it echoes; with rules, a request that none
/// of them fits is refused with 400, `no_rule`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// What `Authorization: Bearer` must carry. Absent: anything or nothing.
    pub api_key: Option<String>,
    /// Models that there are. Empty: whichever is asked for.
    pub models: Vec<String>,
    /// The first that fits and is not used up decides.
    pub rules: Vec<Rule>,
}

/// One kind of request, and what it is answered.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Which requests it is for.
    pub when: When,
    /// How often it can be used. Absent: without end.
    pub times: Option<u32>,
    /// What it answers.
    pub reply: Reply,
}

/// Which requests a rule is for: those for which all that is given here is true.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Occurs in the last user message.
    pub user: Option<String>,
    /// Occurs in the last system or developer message.
    pub system: Option<String>,
    /// Occurs in any message.
    pub any: Option<String>,
    /// Is the role of the last message.
    pub last_role: Option<String>,
    /// Is the model asked for.
    pub model: Option<String>,
    /// Whether there are tools that may be called.
    pub tools: Option<bool>,
    /// Whether JSON is asked for.
    pub response_format: Option<bool>,
    /// Is the name of the JSON schema asked for.
    pub schema: Option<String>,
    /// Is the request's number, from 1, of all that this model was asked.
    pub call: Option<usize>,
}

impl Script {
    /// One that echoes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule that can be used without end.
    pub fn rule(mut self, when: When, reply: Reply) -> Self {
        self.rules.push(Rule {
            when,
            times: None,
            reply,
        });
        self
    }

    /// Adds a rule that can be used so often.
    pub fn rule_times(mut self, times: u32, when: When, reply: Reply) -> Self {
        self.rules.push(Rule {
            when,
            times: Some(times),
            reply,
        });
        self
    }

    /// Refuses whoever does not have this key.
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_key = Some(key.to_owned());
        self
    }

    /// Knows these models only.
    pub fn models(mut self, models: &[&str]) -> Self {
        self.models = models.iter().map(|&model| model.to_owned()).collect();
        self
    }
}

impl Rule {
    /// Whether it is for this request. A reply that calls tools is only for
    /// those that offer some: even a model that never tires of tools answers
    /// where it has none.
    pub(crate) fn fits(&self, request: &ChatRequest, number: usize) -> bool {
        let can_reply = self.reply.tool_calls.is_empty() || request.offers_tools;
        can_reply && self.times != Some(0) && self.when.fits(request, number)
    }
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Those whose last user message has this text in it.
    pub fn user(text: &str) -> Self {
        Self::any().and_user(text)
    }

    /// Those whose last system message has this text in it.
    pub fn system(text: &str) -> Self {
        Self::any().and_system(text)
    }

    /// The one with this number, from 1.
    pub fn call(number: usize) -> Self {
        Self {
            call: Some(number),
            ..Self::default()
        }
    }

    /// Those with this text in any message.
    pub fn anywhere(text: &str) -> Self {
        Self {
            any: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// Those for JSON of the schema with this name.
    pub fn schema(name: &str) -> Self {
        Self {
            schema: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// And whose last user message has this text in it.
    pub fn and_user(mut self, text: &str) -> Self {
        self.user = Some(text.to_owned());
        self
    }

    /// And whose last system message has this text in it.
    pub fn and_system(mut self, text: &str) -> Self {
        self.system = Some(text.to_owned());
        self
    }

    /// And whose last message has this role.
    pub fn last_role(mut self, role: &str) -> Self {
        self.last_role = Some(role.to_owned());
        self
    }

    /// And that ask for this model.
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// And that offer tools, or do not.
    pub fn tools(mut self, tools: bool) -> Self {
        self.tools = Some(tools);
        self
    }

    /// And that ask for JSON, or do not.
    pub fn response_format(mut self, response_format: bool) -> Self {
        self.response_format = Some(response_format);
        self
    }

    fn fits(&self, request: &ChatRequest, number: usize) -> bool {
        occurs(&self.user, request.last_text(&["user"]))
            && occurs(&self.system, request.last_text(&["system", "developer"]))
            && self.any.as_ref().is_none_or(|text| request.has_text(text))
            && is(&self.last_role, request.last_role())
            && is(&self.model, &request.model)
            && is(&self.schema, &request.schema)
            && self.tools.is_none_or(|tools| tools == request.offers_tools)
            && self
                .response_format
                .is_none_or(|wanted| wanted == request.wants_json)
            && self.call.is_none_or(|call| call == number)
    }
}

fn occurs(wanted: &Option<String>, text: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| text.contains(wanted))
}

fn is(wanted: &Option<String>, text: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| text == wanted)
}
