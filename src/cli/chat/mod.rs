//! `throughline chat`: a person and an agent, in a terminal. A second terminal can
//! look on.

mod follow;
mod lines;
mod screen;

use std::{io::Write as _, time::Duration};

use clap::{Args, ValueEnum};
use tonic::{Code, transport::Channel};

use self::{
    follow::Follow,
    lines::Lines,
    screen::{Ended, Screen},
};
use super::{CliError, DEFAULT_SERVER};
use crate::{
    proto::{
        self as v1, MessageState, Role, Workflow, content_block::Content,
        message_service_client::MessageServiceClient, session_service_client::SessionServiceClient,
        task_service_client::TaskServiceClient, text_content,
    },
    runtime::drain::StopSignals,
    wire::values::duration_to_v1,
};

/// How long an agent has to stop once it is asked to.
const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// Settings of `throughline chat`.
#[derive(Args, Debug)]
pub(super) struct ChatArgs {
    /// Which session to join; it is begun if there is none.
    ///
    /// Without it a new one.
    #[arg(long, value_name = "ID", required_if_eq("watch", "true"))]
    session: Option<String>,

    /// Whose session it is, where it is begun.
    #[arg(long, value_name = "ID", default_value = "me")]
    user: String,

    /// How the agent goes about it.
    #[arg(long, value_enum, default_value = "simple")]
    workflow: Kind,

    /// How often the agent may refine or plan anew; its own default where 0.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    max_iterations: u32,

    /// Only look on.
    #[arg(long)]
    watch: bool,

    /// Any instance of the service.
    #[arg(long, value_name = "URL", env = "THROUGHLINE_SERVER", default_value = DEFAULT_SERVER)]
    server: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Answer, with tools if there are any.
    Simple,
    /// Draft, judge, refine.
    Critic,
    /// Plan, carry out in parallel, put together.
    Planner,
}

impl From<Kind> for Workflow {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Simple => Self::Simple,
            Kind::Critic => Self::Critic,
            Kind::Planner => Self::Planner,
        }
    }
}

pub(super) async fn run(args: ChatArgs) -> Result<(), CliError> {
    let server = args.server.clone();
    let outcome = match args.watch {
        true => look_on(args).await,
        false => talk(args).await,
    };
    outcome.map_err(|error| error.at(&server))
}

/// Shows what others say in a session, until stopped.
async fn look_on(args: ChatArgs) -> Result<(), CliError> {
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    let channel = super::connect(&args.server)?;
    let mut follow = Follow::new(channel, args.session.unwrap_or_default());
    let mut screen = Screen::new();
    tokio::select! {
        caught_up = follow.catch_up(&mut screen) => caught_up?,
        () = stop.next() => return Ok(()),
    }
    screen.note("looking on")?;
    loop {
        tokio::select! {
            seen = follow.next() => match seen? {
                Some(frame) => drop(screen.show(frame)?),
                None => return Ok(screen.end()?),
            },
            () = stop.next() => return Ok(screen.end()?),
        }
    }
}

async fn talk(args: ChatArgs) -> Result<(), CliError> {
    let mut chat = Chat::begin(args).await?;
    let outcome = chat.go_on().await;
    chat.screen.end()?;
    outcome
}

/// The session that was named, if there is one, or a new one. Returns its id.
async fn join_or_begin(args: &ChatArgs, channel: Channel) -> Result<String, CliError> {
    let mut sessions = SessionServiceClient::new(channel);
    let session_id = args.session.clone().unwrap_or_default();
    if !session_id.is_empty() {
        let request = v1::GetSessionRequest {
            session_id: session_id.clone(),
        };
        match sessions.get_session(request).await {
            Ok(_) => return Ok(session_id),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    let request = v1::CreateSessionRequest {
        session_id,
        user_id: args.user.clone(),
        ..Default::default()
    };
    let created = sessions.create_session(request).await?.into_inner();
    Ok(created.session.unwrap_or_default().session_id)
}

/// A person's side of a conversation.
struct Chat {
    args: ChatArgs,
    session: String,
    messages: MessageServiceClient<Channel>,
    tasks: TaskServiceClient<Channel>,
    follow: Follow,
    screen: Screen,
    lines: Lines,
    stop: StopSignals,
}

/// How an answer came to its end.
enum Answered {
    /// It is there, or the person did not want it any more.
    Whole,
    /// There is none.
    Failed,
    /// The person has left.
    Left,
}

impl Chat {
    async fn begin(args: ChatArgs) -> Result<Self, CliError> {
        let stop = StopSignals::listen().map_err(CliError::Runtime)?;
        let channel = super::connect(&args.server)?;
        let session = join_or_begin(&args, channel.clone()).await?;
        let mut chat = Self {
            messages: MessageServiceClient::new(channel.clone()),
            tasks: TaskServiceClient::new(channel.clone()),
            follow: Follow::new(channel, session.clone()),
            screen: Screen::new(),
            lines: Lines::read(),
            stop,
            session,
            args,
        };
        chat.say_how_to_look_on()?;
        Ok(chat)
    }

    fn say_how_to_look_on(&mut self) -> Result<(), CliError> {
        let (session, server) = (&self.session, &self.args.server);
        let at = match server.as_str() {
            DEFAULT_SERVER => String::new(),
            server => format!(" --server {server}"),
        };
        let note = format!("look on with `throughline chat --session {session} --watch{at}`");
        Ok(writeln!(std::io::stderr(), "throughline: {note}")?)
    }

    /// Takes what the person says and has it answered, again and again.
    async fn go_on(&mut self) -> Result<(), CliError> {
        // What is said from now on is seen from its beginning.
        tokio::select! {
            caught_up = self.follow.catch_up(&mut self.screen) => caught_up?,
            () = self.stop.next() => return Ok(()),
        }
        let mut has_failed = false;
        loop {
            let Some(line) = self.listen().await? else {
                break;
            };
            match self.answer(&line).await? {
                Answered::Whole => has_failed = false,
                Answered::Failed => has_failed = true,
                Answered::Left => break,
            }
        }
        // A person has seen it; a script has to be told.
        match has_failed && !self.lines.has_person() {
            true => Err(CliError::NoAnswer),
            false => Ok(()),
        }
    }

    /// Waits for what the person says next, and shows meanwhile what others do.
    /// None where they leave.
    async fn listen(&mut self) -> Result<Option<String>, CliError> {
        self.lines.ask()?;
        loop {
            tokio::select! {
                line = self.lines.next() => match line {
                    Some(line) if line.trim().is_empty() => self.lines.ask()?,
                    line => return Ok(line),
                },
                frame = self.follow.next() => match frame? {
                    Some(frame) => drop(self.screen.show(frame)?),
                    None => return Ok(None),
                },
                () = self.stop.next() => return Ok(None),
            }
        }
    }

    /// Says a line in the session and shows the answer while it is written.
    async fn answer(&mut self, line: &str) -> Result<Answered, CliError> {
        let said = self.say(line).await?;
        self.screen.pass_over(said);
        let request = v1::SubmitTaskRequest {
            session_id: self.session.clone(),
            task_description: line.to_owned(),
            workflow: Workflow::from(self.args.workflow).into(),
            max_iterations: self.args.max_iterations,
            ..Default::default()
        };
        let submitted = self.tasks.submit_task(request).await?.into_inner();
        let message = submitted.task.unwrap_or_default().message_id;
        let mut is_cancelled = false;
        loop {
            tokio::select! {
                frame = self.follow.next() => {
                    let Some(frame) = frame? else {
                        return Ok(Answered::Left);
                    };
                    let ended = self.screen.show(frame)?;
                    if let Some(Ended { state, .. }) = ended.filter(|ended| ended.message == message) {
                        return Ok(match state {
                            MessageState::Completed => Answered::Whole,
                            MessageState::Cancelled if is_cancelled => Answered::Whole,
                            _ => Answered::Failed,
                        });
                    }
                },
                () = self.stop.next() => match is_cancelled {
                    true => return Ok(Answered::Left),
                    false => {
                        is_cancelled = true;
                        self.cancel(&message).await?;
                    }
                },
            }
        }
    }

    /// Adds what the person says to the session. Returns the message's id.
    async fn say(&mut self, line: &str) -> Result<String, CliError> {
        let source = text_content::Source::Text(line.to_owned());
        let text = v1::TextContent {
            source: Some(source),
        };
        let request = v1::CreateMessageRequest {
            session_id: self.session.clone(),
            role: Role::User.into(),
            blocks: vec![v1::ContentBlock {
                content: Some(Content::Text(text)),
                ..Default::default()
            }],
            complete: true,
            ..Default::default()
        };
        let created = self.messages.create_message(request).await?.into_inner();
        Ok(created.message.unwrap_or_default().message_id)
    }

    async fn cancel(&mut self, message: &str) -> Result<(), CliError> {
        self.screen.note("stopping; once more to leave")?;
        let request = v1::RequestCancelRequest {
            message_id: message.to_owned(),
            reason: "stopped by the person who asked".to_owned(),
            grace: Some(duration_to_v1(CANCEL_GRACE)),
            ..Default::default()
        };
        self.messages.request_cancel(request).await?;
        Ok(())
    }
}
