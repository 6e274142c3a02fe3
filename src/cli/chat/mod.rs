//! `throughline chat`: a person types, an agent answers; or, with `--watch`, both are
//! followed from elsewhere.

mod block;
mod input;
mod past;
mod turn;
mod view;
mod watch;

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tonic::transport::Channel;

use self::{input::Lines, turn::Outcome};
use super::{CliError, ServerArgs, follow::Retry, terminal::Terminal};
use crate::{
    proto::{
        CreateSessionRequest, GetSessionRequest, MessageState, Session, Workflow,
        message_service_client::MessageServiceClient, session_service_client::SessionServiceClient,
        task_service_client::TaskServiceClient,
    },
    runtime::drain::StopSignals,
};

/// Settings of `throughline chat`.
#[derive(Args, Debug)]
pub(super) struct ChatArgs {
    /// Go on with a session that there is. Without it a new one is begun.
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// Only show what is said in the session, by both sides.
    #[arg(long, requires = "session", conflicts_with_all = ["workflow", "max_iterations"])]
    watch: bool,

    /// How the agent finds its answers.
    #[arg(long, value_enum, default_value = "simple")]
    workflow: WorkflowArg,

    /// How often it may refine or plan anew. Without it the workflow's default.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    max_iterations: u32,

    /// Whose session a new one is.
    #[arg(long, value_name = "ID", default_value = "me")]
    user: String,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorkflowArg {
    /// Prompt, history and tools until there is an answer.
    Simple,
    /// Draft, judge, refine.
    Critic,
    /// Plan, carry out in parallel, synthesise.
    Planner,
}

impl From<WorkflowArg> for Workflow {
    fn from(workflow: WorkflowArg) -> Self {
        match workflow {
            WorkflowArg::Simple => Self::Simple,
            WorkflowArg::Critic => Self::Critic,
            WorkflowArg::Planner => Self::Planner,
        }
    }
}

pub(super) async fn run(args: ChatArgs) -> Result<(), CliError> {
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    let mut chat = Chat::new(&args)?;
    let outcome = match args.watch {
        true => chat.watch(&mut stop).await,
        false => chat.converse(&args, &mut stop).await,
    };
    chat.terminal.end_text()?;
    outcome.map_err(|error| args.server.blame(error))
}

/// A conversation with an agent, from this side.
struct Chat {
    sessions: SessionServiceClient<Channel>,
    messages: MessageServiceClient<Channel>,
    tasks: TaskServiceClient<Channel>,
    terminal: Terminal,
    retry: Retry,
    /// Empty until it is begun.
    session_id: String,
    workflow: Workflow,
    max_iterations: u32,
}

impl Chat {
    fn new(args: &ChatArgs) -> Result<Self, CliError> {
        let channel = args.server.connect()?;
        Ok(Self {
            sessions: SessionServiceClient::new(channel.clone()),
            messages: MessageServiceClient::new(channel.clone()),
            tasks: TaskServiceClient::new(channel),
            terminal: Terminal::new(false, ""),
            retry: Retry::new(),
            session_id: args.session.clone().unwrap_or_default(),
            workflow: args.workflow.into(),
            max_iterations: args.max_iterations,
        })
    }

    async fn converse(&mut self, args: &ChatArgs, stop: &mut StopSignals) -> Result<(), CliError> {
        match std::io::stdin().is_terminal() {
            true => {
                tokio::select! {
                    begun = self.begin(args) => begun?,
                    () = stop.next() => return Ok(()),
                }
                self.answer_lines(stop).await
            }
            false => self.answer_all_input(args, stop).await,
        }
    }

    /// Makes the session, or finds it and shows what was said in it.
    async fn begin(&mut self, args: &ChatArgs) -> Result<(), CliError> {
        if let Some(session) = self.session(args).await? {
            self.recall(&session).await?;
        }
        let command = format!(
            "throughline chat --session {} --watch{}",
            self.session_id,
            args.server.flag()
        );
        let note = format!("to watch from elsewhere: `{command}`");
        Ok(self.terminal.note(&note)?)
    }

    /// Makes the session; finds it, and gives it, where there is one.
    async fn session(&mut self, args: &ChatArgs) -> Result<Option<Session>, CliError> {
        match args.session {
            Some(_) => self.find_session().await.map(Some),
            None => self.make_session(&args.user).await.map(|()| None),
        }
    }

    async fn make_session(&mut self, user: &str) -> Result<(), CliError> {
        let request = CreateSessionRequest {
            session_id: crate::engine::fresh_id(),
            user_id: user.to_owned(),
            ..Default::default()
        };
        let call = || {
            let (mut client, request) = (self.sessions.clone(), request.clone());
            async move { client.create_session(request).await }
        };
        self.retry.call(&mut self.terminal, call).await?;
        self.session_id = request.session_id;
        Ok(())
    }

    async fn find_session(&mut self) -> Result<Session, CliError> {
        let call = || {
            let mut client = self.sessions.clone();
            let session_id = self.session_id.clone();
            async move { client.get_session(GetSessionRequest { session_id }).await }
        };
        let answer = self.retry.call(&mut self.terminal, call).await?;
        Ok(answer.session.unwrap_or_default())
    }

    /// All that is piped in is one question. Without one no session is made.
    async fn answer_all_input(
        &mut self,
        args: &ChatArgs,
        stop: &mut StopSignals,
    ) -> Result<(), CliError> {
        let question = tokio::select! {
            question = input::read_all() => question?,
            () = stop.next() => return Ok(()),
        };
        let question = question.trim();
        if question.is_empty() {
            return Err(CliError::NoQuestion);
        }
        tokio::select! {
            session = self.session(args) => session.map(drop)?,
            () = stop.next() => return Ok(()),
        }
        match self.ask(question, stop).await? {
            Outcome::Ended(MessageState::Completed) => Ok(()),
            outcome => Err(CliError::NoAnswer(outcome.to_string())),
        }
    }

    /// Every line is a question, until there are no more.
    async fn answer_lines(&mut self, stop: &mut StopSignals) -> Result<(), CliError> {
        let mut lines = Lines::read();
        loop {
            self.terminal.prompt()?;
            let line = tokio::select! {
                line = lines.next() => line?,
                () = stop.next() => None,
            };
            let Some(line) = line else {
                // The shell's prompt begins a line of its own.
                return Ok(self.terminal.line("")?);
            };
            if line.trim().is_empty() {
                continue;
            }
            match self.ask(line.trim(), stop).await {
                Ok(Outcome::Left) => return Ok(()),
                Ok(Outcome::Ended(_) | Outcome::Gone) => {}
                // Another question may be taken.
                Err(CliError::Call(refusal)) => self.terminal.note(refusal.message())?,
                Err(error) => return Err(error),
            }
        }
    }
}
