//! Workers that wait for tasks, and the tickets that are handed to them.
//!
//! However many workers wait, one connection waits for the bells of their queues.
//! When one rings, as many tickets are taken as there are workers for them; who has
//! waited longest comes first. A ticket that nobody is left for is given back.

mod line;
mod listener;

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use self::line::{Arrival, Line};
use super::{Engine, EngineError, clock, grant::Grant};
use crate::{
    domain::{
        Time,
        claim::Worker,
        ids::{Label, TaskId},
        message::Message,
        principal::Principal,
        refusal::Refusal,
        task::Task,
    },
    proto as v1,
    store::{QueueEntry, StoreError},
};

/// So long a ticket is nobody else's while its task is granted, and so late it is
/// taken again where this instance dies meanwhile.
const HOLD: Duration = Duration::from_secs(5);
/// So long a ticket is left alone whose task cannot be given out: it must not stand
/// in front of others.
const UNFIT_DELAY: Duration = Duration::from_secs(5);
/// How often queues are looked at although no bell was heard.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Tickets that are taken at once.
const TICKETS_MAX: usize = 64;
/// Workers that can come at once; others wait for their turn to wait.
const JOINING_MAX: usize = 1_024;

/// A worker that asks for a task.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Who asks.
    pub principal: Principal,
    /// Which queues it works on; at least one.
    pub queues: Vec<Label>,
    /// How the worker calls itself, and how long its lease shall last.
    pub worker: Worker,
    /// How long it waits.
    pub wait: Duration,
    /// How many of the session's latest messages it wants to see.
    pub history: usize,
}

/// A task that was given to a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its message, which has it.
    pub message: Message,
    /// Which of the message's tasks.
    pub task: TaskId,
    /// The session's latest messages, oldest first.
    pub history: Vec<v1::Message>,
}

impl Claimed {
    /// The task.
    pub fn task(&self) -> Option<&Task> {
        self.message.task(&self.task)
    }
}

type Answer = Result<Option<Claimed>, EngineError>;

/// A worker that waits.
struct Waiter {
    request: ClaimRequest,
    until: Instant,
    answer: oneshot::Sender<Answer>,
}

/// The way to wait for a task. Cloning shares it.
#[derive(Clone)]
pub(super) struct Claims {
    joining: mpsc::Sender<Waiter>,
}

/// What the dispatcher needs to begin.
pub(super) struct Joining(mpsc::Receiver<Waiter>);

impl Claims {
    pub(super) fn new() -> (Self, Joining) {
        let (joining, joined) = mpsc::channel(JOINING_MAX);
        (Self { joining }, Joining(joined))
    }
}

impl Engine {
    /// Waits for a task and leases it; none where none came in time, or this
    /// instance stops.
    pub async fn claim(&self, request: ClaimRequest) -> Answer {
        if request.principal != Principal::Anonymous {
            return Err(Refusal::NotAWorker.into());
        }
        let (answer, claimed) = oneshot::channel();
        let waiter = Waiter {
            until: Instant::now() + request.wait,
            request,
            answer,
        };
        // Both fail only while the process comes down.
        if self.claims.joining.send(waiter).await.is_err() {
            return Ok(None);
        }
        claimed.await.unwrap_or(Ok(None))
    }

    /// Starts what hands out tasks. It ends when the hub drains.
    pub(super) fn start_claims(&self, joining: Joining, tasks: &mut JoinSet<()>) {
        let (queues, awaited) = watch::channel(BTreeSet::new());
        let (rung, rings) = mpsc::unbounded_channel();
        let stop = self.hub.drain().clone();
        let listener = listener::listen_forever(self.store.clone(), awaited, rung, stop);
        tasks.spawn(listener);
        let dispatcher = Dispatcher {
            engine: self.clone(),
            joining: joining.0,
            rings,
            queues,
            line: Line::default(),
            looks: BTreeSet::new(),
            all_looked: Instant::now(),
            next: None,
            grants: JoinSet::new(),
        };
        tasks.spawn(dispatcher.run(self.hub.drain().clone()));
    }
}

struct Dispatcher {
    engine: Engine,
    joining: mpsc::Receiver<Waiter>,
    rings: mpsc::UnboundedReceiver<Label>,
    /// What the listener waits for.
    queues: watch::Sender<BTreeSet<Label>>,
    line: Line,
    /// Queues that perhaps have tickets.
    looks: BTreeSet<Label>,
    /// When all queues were looked at that somebody waits for.
    all_looked: Instant,
    /// When the next ticket can be taken of those that were seen.
    next: Option<Instant>,
    grants: JoinSet<Option<(Arrival, Waiter)>>,
}

impl Dispatcher {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake = self.wake_time();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(waiter) = self.joining.recv() => self.join(waiter),
                Some(queue) = self.rings.recv() => drop(self.looks.insert(queue)),
                Some(ended) = self.grants.join_next() => self.take_back(ended),
                () = sleep_until(wake) => {}
            }
            self.gather();
            self.look().await;
            self.expire();
            self.await_bells();
        }
        let queues: Vec<_> = self.line.queues().cloned().collect();
        for queue in queues {
            for waiter in self.line.take_all(&queue) {
                waiter.answer(Ok(None));
            }
        }
        while self.grants.join_next().await.is_some() {}
    }

    fn wake_time(&self) -> Instant {
        let Some(end) = self.line.first_end() else {
            return Instant::now() + LOOK_INTERVAL;
        };
        let look = self.all_looked + LOOK_INTERVAL;
        let next = self.next.unwrap_or(look);
        end.min(look).min(next)
    }

    fn join(&mut self, waiter: Waiter) {
        self.looks.extend(waiter.request.queues.iter().cloned());
        self.line.join(waiter);
    }

    /// A waiter whose ticket was worth nothing has its old place again.
    fn take_back(&mut self, ended: Result<Option<(Arrival, Waiter)>, JoinError>) {
        match ended {
            Ok(None) => {}
            Ok(Some((arrival, waiter))) => {
                self.looks.extend(waiter.request.queues.iter().cloned());
                self.line.insert(arrival, waiter);
            }
            Err(error) => error!(%error, "granting a task failed"),
        }
    }

    /// Takes in what has come meanwhile as well.
    fn gather(&mut self) {
        while let Ok(waiter) = self.joining.try_recv() {
            self.join(waiter);
        }
        while let Ok(queue) = self.rings.try_recv() {
            self.looks.insert(queue);
        }
        while let Some(ended) = self.grants.try_join_next() {
            self.take_back(ended);
        }
        let now = Instant::now();
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due || now >= self.all_looked + LOOK_INTERVAL {
            self.looks.extend(self.line.queues().cloned());
            self.all_looked = now;
            self.next = None;
        }
    }

    /// Has the listener wait for what is waited for here.
    fn await_bells(&self) {
        self.queues.send_if_modified(|queues| {
            let is_new = !self.line.queues().eq(queues.iter());
            if is_new {
                *queues = self.line.queues().cloned().collect();
            }
            is_new
        });
    }

    /// Takes tickets from the queues that perhaps have some, and hands them out.
    async fn look(&mut self) {
        for queue in self.in_turn() {
            let wanted = self.line.count(&queue).min(TICKETS_MAX);
            let taken = self
                .engine
                .store
                .take(&queue, wanted, clock::now(), HOLD)
                .await;
            match taken {
                Ok(taken) => {
                    for entry in taken.entries {
                        self.hand_out(&queue, entry).await;
                    }
                    if self.line.count(&queue) > 0 {
                        self.expect(taken.next);
                    }
                }
                // To ask for each queue whether Redis is back would take too long.
                Err(error) if error.is_absence() => {
                    let queues: Vec<_> = self.line.queues().cloned().collect();
                    queues.iter().for_each(|queue| self.fail(queue, &error));
                    return;
                }
                Err(error) => self.fail(&queue, &error),
            }
        }
    }

    /// The queues to look at, each time another one first: a worker that takes
    /// from several shall not forget the last for the first.
    fn in_turn(&mut self) -> Vec<Label> {
        let mut queues: Vec<_> = std::mem::take(&mut self.looks).into_iter().collect();
        let turn = usize::try_from(self.line.arrivals()).unwrap_or_default();
        let first = turn.checked_rem(queues.len()).unwrap_or_default();
        queues.rotate_left(first);
        queues
    }

    fn expect(&mut self, next: Option<Time>) {
        let Some(next) = next else { return };
        let delay = (next - clock::now()).to_std().unwrap_or_default();
        let at = Instant::now() + delay;
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    async fn hand_out(&mut self, queue: &Label, entry: QueueEntry) {
        let engine = self.engine.clone();
        match self.line.take_first(queue) {
            Some((arrival, waiter)) => {
                let queue = queue.clone();
                self.grants.spawn(async move {
                    let waiter = engine.serve(&queue, entry, waiter).await;
                    waiter.map(|waiter| (arrival, waiter))
                });
            }
            None => engine.give_back(queue, &entry).await,
        }
    }

    /// Tells the workers of a queue that it cannot be looked at.
    fn fail(&mut self, queue: &Label, error: &StoreError) {
        for waiter in self.line.take_all(queue) {
            waiter.answer(Err(error.clone().into()));
        }
    }

    /// Answers those whose time is over.
    fn expire(&mut self) {
        for waiter in self.line.take_expired(Instant::now()) {
            waiter.answer(Ok(None));
        }
    }
}

impl Waiter {
    fn answer(self, answer: Answer) {
        // Who no longer waits has gone away.
        let _ = self.answer.send(answer);
    }
}

impl Engine {
    /// Gives a waiter the task of a ticket. Returns the waiter where the ticket is
    /// worth nothing.
    async fn serve(&self, queue: &Label, entry: QueueEntry, waiter: Waiter) -> Option<Waiter> {
        if waiter.answer.is_closed() {
            self.give_back(queue, &entry).await;
            return None;
        }
        match self.grant(&entry.ticket, &waiter.request.worker).await {
            Ok(Grant::Granted(message)) => {
                self.deliver(*message, entry.ticket.task, waiter).await;
                None
            }
            Ok(Grant::Later(from)) => {
                self.give_back(queue, &QueueEntry { from, ..entry }).await;
                Some(waiter)
            }
            Ok(Grant::Stale) => {
                let gone = [(queue.clone(), entry.ticket)];
                if let Err(error) = self.store.offer(&[], &gone).await {
                    debug!(%error, "a stale ticket was not thrown away");
                }
                Some(waiter)
            }
            Err(EngineError::Refused(_) | EngineError::Store(StoreError::Corrupt(_))) => {
                let from = clock::now() + UNFIT_DELAY;
                self.give_back(queue, &QueueEntry { from, ..entry }).await;
                Some(waiter)
            }
            Err(error) => {
                self.give_back(queue, &entry).await;
                waiter.answer(Err(error));
                None
            }
        }
    }

    /// Tells a waiter of its task. Where it has gone away, somebody else shall not
    /// have to wait for the lease to run out.
    async fn deliver(&self, message: Message, task: TaskId, waiter: Waiter) {
        let count = waiter.request.history;
        let history = self
            .latest_messages(&message.session, &message.user, count)
            .await;
        let claimed = Claimed {
            message,
            task,
            history: history.unwrap_or_else(|error| {
                debug!(%error, "a task is given out without its history");
                Vec::new()
            }),
        };
        if let Err(Ok(Some(claimed))) = waiter.answer.send(Ok(Some(claimed)))
            && let Some(task) = claimed.task()
            && let Err(error) = self.release(&claimed.message, task).await
        {
            debug!(%error, "a task that nobody awaits any more is leased until its end");
        }
    }

    async fn give_back(&self, queue: &Label, entry: &QueueEntry) {
        if let Err(error) = self.store.give_back(queue, entry).await {
            debug!(%error, "a ticket was not given back, it can be taken a little later");
        }
    }
}
