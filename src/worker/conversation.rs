//! A session's messages as the turns of a conversation that a model goes on with.

use super::llm::request::Turn;
use crate::proto::{self as v1, MessageState, Role};

/// The history without the task's own message, and the request after it, unless the
/// history ends with it already.
pub(super) fn of(history: &[v1::Message], task: &v1::Task, request: &str) -> Vec<Turn> {
    let said: Vec<_> = history
        .iter()
        .filter(|message| message.message_id != task.message_id)
        .filter(|message| message.state() == MessageState::Completed)
        .filter(|message| !message.text.trim().is_empty())
        .collect();
    let last_of_user = said
        .iter()
        .rev()
        .find(|message| message.role() == Role::User);
    let is_said = last_of_user.is_some_and(|message| message.text.trim() == request.trim());
    let mut turns: Vec<_> = said
        .iter()
        // It comes last, wherever it stands.
        .filter(|message| !is_said || Some(*message) != last_of_user)
        .map(|message| turn(message))
        .collect();
    turns.push(Turn::user(request));
    turns
}

/// A tool's message stands alone here, without the call that a model would want to see.
fn turn(message: &v1::Message) -> Turn {
    let text = message.text.as_str();
    match message.role() {
        Role::Assistant => Turn::assistant(text),
        Role::System => Turn::system(text),
        Role::User | Role::Tool | Role::Unspecified => Turn::user(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, role: Role, state: MessageState, text: &str) -> v1::Message {
        v1::Message {
            message_id: id.to_owned(),
            role: role.into(),
            state: state.into(),
            text: text.to_owned(),
            ..Default::default()
        }
    }

    fn turns(history: &[v1::Message]) -> Vec<(&'static str, String)> {
        let task = v1::Task {
            message_id: "own".to_owned(),
            ..Default::default()
        };
        let turns = of(history, &task, "How are you?");
        let text = |turn: Turn| (turn.role, turn.content.unwrap_or_default());
        turns.into_iter().map(text).collect()
    }

    #[test]
    fn the_request_is_not_repeated_where_the_user_has_said_it() {
        let completed = MessageState::Completed;
        let history = [
            message("1", Role::User, completed, "Hi"),
            message("2", Role::Assistant, completed, "Hello"),
            message("3", Role::User, completed, "How are you? "),
            message("own", Role::Assistant, MessageState::Streaming, ""),
        ];
        let expected = [
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "How are you?"),
        ];
        let expected = expected.map(|(role, text)| (role, text.to_owned()));
        assert_eq!(turns(&history), expected);
        assert_eq!(turns(&history[..2]), expected);
    }

    #[test]
    fn what_is_not_whole_or_says_nothing_is_left_out() {
        let history = [
            message("1", Role::User, MessageState::Failed, "broken"),
            message("2", Role::Assistant, MessageState::Completed, " "),
        ];
        assert_eq!(turns(&history).len(), 1);
    }
}
