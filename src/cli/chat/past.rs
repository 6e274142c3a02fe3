//! What was said before somebody joined.

use super::Chat;
use crate::{
    cli::{CliError, terminal::Look, terminal::printable},
    proto::{ListMessagesRequest, Message, MessageState, Role, Session},
};

/// How many messages are shown to who joins.
const RECALLED_MESSAGES: i32 = 20;

impl Chat {
    /// Shows the last messages of the session that have ended. Gives their ids.
    pub(super) async fn recall(&mut self, session: &Session) -> Result<Vec<String>, CliError> {
        let count = i32::try_from(session.message_count).unwrap_or(i32::MAX);
        let request = ListMessagesRequest {
            session_id: self.session_id.clone(),
            skip: count.saturating_sub(RECALLED_MESSAGES).max(0),
            ..Default::default()
        };
        let call = || {
            let (mut client, request) = (self.messages.clone(), request.clone());
            async move { client.list_messages(request).await }
        };
        let listed = self.retry.call(&mut self.terminal, call).await?;
        let has_ended = |message: &&Message| message.state() != MessageState::Streaming;
        let mut shown = Vec::new();
        for message in listed.messages.iter().filter(has_ended) {
            self.show_past(message)?;
            shown.push(message.message_id.clone());
        }
        Ok(shown)
    }

    fn show_past(&mut self, message: &Message) -> Result<(), CliError> {
        match message.role() {
            Role::User => {
                let line = format!("> {}", printable(&message.text));
                let line = self.terminal.paint(Look::Bold, line);
                self.terminal.line(line)?;
            }
            _ => {
                self.terminal.text(&message.text)?;
                self.terminal.end_text()?;
            }
        }
        Ok(())
    }
}
