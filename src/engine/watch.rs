//! Watching a message: replay, then follow.
//!
//! A watcher is a cursor: it takes what comes after it from the hub's topic, and
//! from the log where the topic no longer has it. There is no hand-over between
//! two sources that could lose or double an event.

use std::{collections::HashSet, time::Duration};

use async_stream::try_stream;
use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep},
};
use tokio_stream::Stream;
use tracing::debug;

use super::{
    Engine, EngineError,
    step::{Step, until},
};
use crate::{
    domain::{
        cursor::{Cursor, Position, Start},
        ids::{MessageId, SessionId, UserId},
        message::MessageState,
        principal::Principal,
        refusal::Refusal,
    },
    proto as v1,
    store::{Log, Look, Page, Resume, StoreError},
    tail::{Batch, Fate, Follower, Ready, Standing, Tidings, join_deltas},
    wire::frame::{EncodedFrame, GapReason, WatchEnd},
};

/// How long an open watch waits before it asks a Redis that failed again.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(250);
/// A watcher that lags so many events behind, and had none behind it when it
/// began, is too slow to be sent every one of them by itself.
const SLOW_LAG: u64 = 256;

/// What to watch, and from where.
#[derive(Debug, Clone)]
pub struct WatchRequest {
    /// Who asks.
    pub principal: Principal,
    /// Which message.
    pub message: MessageId,
    /// In which session, where that matters: announced may be what was then
    /// found to belong elsewhere.
    pub session: Option<SessionId>,
    /// From where.
    pub start: Start,
    /// Refuse rather than send a gap and a snapshot.
    pub fail_on_gap: bool,
    /// Wait so long for a message that does not exist yet.
    pub wait_for_create: Option<Duration>,
    /// Events of these types only; of all where empty.
    pub event_types: HashSet<v1::EventType>,
    /// End the watch after so long.
    pub max_wait: Option<Duration>,
}

impl Engine {
    /// Watches a message. The stream ends after an `end` frame, or with an
    /// error that is about the connection, not the message.
    pub fn watch(
        &self,
        request: WatchRequest,
    ) -> impl Stream<Item = Result<Step, EngineError>> + Send + use<> {
        let mut watcher = Watcher::new(self.clone(), request);
        try_stream! {
            while watcher.stage != Stage::Done {
                for step in watcher.next().await? {
                    yield step;
                }
            }
        }
    }
}

/// Where a watch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It looks for its place in the log.
    Opening(Start),
    /// It waits for the message to be created.
    Awaiting,
    /// It sends what comes after its cursor.
    Following,
    /// The `end` frame was given out.
    Done,
}

struct Watcher {
    engine: Engine,
    request: WatchRequest,
    deadline: Option<Instant>,
    stage: Stage,
    /// Everything up to here was given out.
    seen: Option<Cursor>,
    is_caught_up: bool,
    log: Option<Log>,
    /// How far the log reached when it was opened.
    head: Option<Cursor>,
    /// How the message ended, if it has: known from the opening, or from the
    /// event that says so.
    ended: Option<MessageState>,
    /// None where the message had ended before.
    follower: Option<Follower>,
    birth: Option<Receiver<Tidings>>,
    birth_deadline: Option<Instant>,
    beat: u64,
    /// Nothing was given out since the last beat.
    is_quiet: bool,
}

/// What ended a wait.
enum Woken {
    News,
    Drain,
}

type Steps = Result<Vec<Step>, EngineError>;

impl Watcher {
    fn new(engine: Engine, request: WatchRequest) -> Self {
        Self {
            deadline: request.max_wait.map(|wait| Instant::now() + wait),
            stage: Stage::Opening(request.start),
            engine,
            request,
            seen: None,
            is_caught_up: false,
            log: None,
            head: None,
            ended: None,
            follower: None,
            birth: None,
            birth_deadline: None,
            beat: 0,
            is_quiet: false,
        }
    }

    /// What is sent next. May be nothing.
    async fn next(&mut self) -> Steps {
        match self.stage {
            // Boxed, for what an opening keeps in between is large, and a watch
            // is long.
            Stage::Opening(start) => match Box::pin(self.open(start)).await {
                Err(EngineError::Store(error)) if self.seen.is_some() => self.outlast(error).await,
                frames => frames,
            },
            Stage::Awaiting => self.wait_for_birth().await,
            Stage::Following if self.is_expired() => Err(EngineError::WatchExpired),
            Stage::Following => self.follow().await,
            Stage::Done => Ok(Vec::new()),
        }
    }

    /// What there was when it began is sent however long that takes. What comes then
    /// may never end.
    fn is_expired(&self) -> bool {
        let is_live = self.is_caught_up && self.ended.is_none();
        is_live && self.deadline.is_some_and(|end| end <= Instant::now())
    }

    async fn open(&mut self, start: Start) -> Steps {
        let frames = match start {
            Start::Snapshot => self.open_with_snapshot(None).await?,
            Start::Earliest => self.open_at(None, start).await?,
            Start::Latest => self.open_at(None, start).await?,
            Start::After(place) => self.open_at(Some(place), start).await?,
        };
        match frames {
            Some(frames) => {
                self.stage = Stage::Following;
                Ok(frames)
            }
            None if self.seen.is_some() => self.end_of_missing().await,
            None if self.request.wait_for_create.is_some() => {
                let patience = self.request.wait_for_create.take();
                self.birth_deadline = patience.and_then(|wait| Instant::now().checked_add(wait));
                self.birth = Some(self.engine.hub.fate(&self.request.message));
                self.stage = Stage::Awaiting;
                Ok(Vec::new())
            }
            None => Err(Refusal::MessageUnknown(self.request.message.clone()).into()),
        }
    }

    /// Ends the watch of a message that is gone.
    async fn end_of_missing(&mut self) -> Steps {
        let look = match (&self.log, self.seen) {
            (Some(log), Some(seen)) => {
                let followed = std::iter::once((log, seen));
                self.engine.store.look(followed).await?.pop()
            }
            _ => None,
        };
        Ok(self.end(match look {
            Some(Look::Deleted) => WatchEnd::Deleted,
            _ => WatchEnd::Expired,
        }))
    }

    /// Begins with the whole message, after a gap if there is one; none where
    /// there is no such message.
    async fn open_with_snapshot(
        &mut self,
        gap: Option<Step>,
    ) -> Result<Option<Vec<Step>>, EngineError> {
        let Some(loaded) = self.engine.store.load(&self.request.message).await? else {
            return Ok(None);
        };
        let message = loaded.message;
        self.authorize(&message.user, &message.session)?;
        let state = message.state;
        let log = self.engine.store.message_log(&message.id, &message.session);
        self.opened_at(log, message.head, state);
        self.seen = Some(message.head);
        let snapshot = EncodedFrame::snapshot(self.engine.view(message).await?.to_v1());
        let snapshot = Step::Place(snapshot, self.seen);
        Ok(Some(gap.into_iter().chain([snapshot]).collect()))
    }

    /// Begins with what follows a place; none where there is no such message.
    async fn open_at(
        &mut self,
        place: Option<Position>,
        start: Start,
    ) -> Result<Option<Vec<Step>>, EngineError> {
        let sequence = place.map_or(0, |place| place.sequence);
        let (store, message) = (&self.engine.store, &self.request.message);
        let page = match start {
            // Of what there is before the head it wants nothing, and the head
            // must not be older than the request.
            Start::Latest => store.replay(message, sequence, 0).await?,
            _ => self.engine.replays.read(store, message, sequence).await?,
        };
        let Some(page) = page else {
            return Ok(None);
        };
        self.authorize(&page.user, page.log.session())?;
        let (log, head, state) = (page.log.clone(), page.head, page.state);
        let (gap, events) = match place {
            Some(place) => match page.resume(place) {
                Resume::Continue(events) => (None, events),
                Resume::Gap(reason) => return self.gap(place, reason).await,
            },
            None => (self.trimmed(&page, start)?, page.events),
        };
        self.opened_at(log, head, state);
        self.seen = match place {
            // The log knows the time that a bare sequence leaves out.
            Some(_) if events.is_empty() => Some(head),
            None if start == Start::Latest => Some(head),
            _ => None,
        };
        let events = Batch::of(events).and_then(|batch| self.take(batch));
        Ok(Some(gap.into_iter().chain(events).collect()))
    }

    /// The gap before the first event that is retained, for a watch from there.
    fn trimmed(&self, page: &Page, start: Start) -> Result<Option<Step>, Refusal> {
        let first = page
            .events
            .first()
            .map_or(1, |placed| placed.cursor.sequence);
        if start != Start::Earliest || first == 1 {
            return Ok(None);
        }
        if self.request.fail_on_gap {
            return Err(Refusal::CursorOutOfRange);
        }
        let gap = EncodedFrame::gap("0".to_owned(), GapReason::Trimmed);
        Ok(Some(Step::Place(gap, self.seen)))
    }

    async fn gap(
        &mut self,
        place: Position,
        reason: GapReason,
    ) -> Result<Option<Vec<Step>>, EngineError> {
        if self.request.fail_on_gap {
            return Err(Refusal::CursorOutOfRange.into());
        }
        let gap = Step::Place(EncodedFrame::gap(place.to_string(), reason), self.seen);
        self.open_with_snapshot(Some(gap)).await
    }

    fn authorize(&self, owner: &UserId, session: &SessionId) -> Result<(), Refusal> {
        let unknown = Refusal::MessageUnknown(self.request.message.clone());
        let wanted = self.request.session.as_ref();
        if wanted.is_some_and(|wanted| wanted != session) {
            return Err(unknown);
        }
        self.request.principal.authorize(owner, unknown)
    }

    /// Remembers what the log was like, and follows it if it goes on.
    fn opened_at(&mut self, log: Log, head: Cursor, state: MessageState) {
        self.log = Some(log.clone());
        self.head = Some(head);
        self.ended = (state != MessageState::Streaming).then_some(state);
        self.follower = match self.ended {
            Some(_) => None,
            None => Some(self.engine.hub.follow(log, head)),
        };
        if let Some(follower) = &self.follower {
            self.beat = follower.beat();
        }
    }

    /// Sends what comes after the cursor, or waits for it.
    async fn follow(&mut self) -> Steps {
        let Some(seen) = self.seen else {
            // The log holds nothing, not even its first event.
            return Ok(self.end(WatchEnd::Expired));
        };
        let reached = self.head.is_none_or(|head| seen.sequence >= head.sequence);
        let ready = match &self.follower {
            Some(follower) => follower.after(seen, reached),
            None if reached => Ready::Nothing,
            None => Ready::Behind,
        };
        match ready {
            Ready::Batch(batch) => Ok(self.take(batch).into_iter().collect()),
            Ready::Behind => Box::pin(self.catch_up(seen, reached)).await,
            Ready::Nothing => {
                let mut frames = Vec::new();
                if reached && !self.is_caught_up {
                    self.is_caught_up = true;
                    let caught_up = EncodedFrame::caught_up(self.place());
                    frames.push(Step::CaughtUp(caught_up));
                }
                if let Some(state) = self.ended.filter(|_| reached) {
                    frames.extend(self.end(WatchEnd::MessageEnded(state)));
                }
                match frames.is_empty() {
                    true => self.wait_for_news().await,
                    false => Ok(frames),
                }
            }
        }
    }

    /// Reads from the log what the topic no longer has. One who had `reached`
    /// what there was at first may be too slow for the stream.
    async fn catch_up(&mut self, seen: Cursor, reached: bool) -> Steps {
        let Engine { store, replays, .. } = &self.engine;
        let replay = replays.read(store, &self.request.message, seen.sequence);
        match replay.await {
            Ok(Some(page)) => {
                let is_slow = reached && page.head.sequence >= seen.sequence + SLOW_LAG;
                match page.resume(seen.into()) {
                    Resume::Continue(events) => {
                        let events = match is_slow {
                            true => join_deltas(events),
                            false => events,
                        };
                        match Batch::of(events) {
                            Some(batch) => Ok(self.take(batch).into_iter().collect()),
                            // Between two looks the log has become another.
                            None => {
                                if let Some(follower) = &self.follower {
                                    self.engine.hub.look_after(store, follower).await;
                                }
                                self.reopen(seen).await
                            }
                        }
                    }
                    Resume::Gap(_) => self.reopen(seen).await,
                }
            }
            Ok(None) => self.reopen(seen).await,
            Err(error) => self.outlast(error).await,
        }
    }

    async fn reopen(&mut self, seen: Cursor) -> Steps {
        self.follower = None;
        self.stage = Stage::Opening(Start::After(seen.into()));
        Ok(Vec::new())
    }

    async fn wait_for_news(&mut self) -> Steps {
        let Some(follower) = &mut self.follower else {
            return Ok(Vec::new());
        };
        let drain = self.engine.hub.drain();
        let woken = tokio::select! {
            () = drain.cancelled() => Woken::Drain,
            () = follower.changed() => Woken::News,
            () = until(self.deadline) => return Err(EngineError::WatchExpired),
        };
        let news = follower.news();
        match (woken, news.standing, self.seen) {
            (Woken::Drain, _, _) => Ok(self.end(WatchEnd::Draining)),
            (Woken::News, Standing::Over(end), _) => Ok(self.end_after_last(end)),
            (Woken::News, Standing::Changed, Some(seen)) => self.reopen(seen).await,
            (Woken::News, _, _) => Ok(self.heartbeat(news.beat)),
        }
    }

    async fn wait_for_birth(&mut self) -> Steps {
        let Some(birth) = &mut self.birth else {
            return Ok(Vec::new());
        };
        let drain = self.engine.hub.drain();
        tokio::select! {
            () = drain.cancelled() => return Ok(self.end(WatchEnd::Draining)),
            _ = birth.changed() => {}
            () = until(self.deadline) => return Err(EngineError::WatchExpired),
            () = until(self.birth_deadline) => {
                return Err(Refusal::MessageUnknown(self.request.message.clone()).into());
            }
        }
        let Tidings { fate, beat } = *birth.borrow_and_update();
        if matches!(fate, Fate::There(_)) {
            self.birth = None;
            self.stage = Stage::Opening(match self.request.start {
                // All that it has is later than the request.
                Start::Latest => Start::After(Position::BEGINNING),
                start => start,
            });
        }
        Ok(self.heartbeat(beat))
    }

    /// A heartbeat, if one is due and nothing else was sent since the last.
    fn heartbeat(&mut self, beat: u64) -> Vec<Step> {
        if beat == self.beat {
            return Vec::new();
        }
        self.beat = beat;
        // There are two beats in the interval that clients are promised.
        self.is_quiet = !self.is_quiet;
        match self.is_quiet {
            true => Vec::new(),
            false => vec![Step::Heartbeat(EncodedFrame::heartbeat(self.place()))],
        }
    }

    /// Where to resume from. Of a message that is not there yet all is to come.
    fn place(&self) -> String {
        match (self.seen, self.request.start) {
            (Some(seen), _) => seen.to_string(),
            (None, Start::Snapshot) => String::new(),
            (None, Start::Earliest | Start::Latest) => "0".to_owned(),
            (None, Start::After(place)) => place.to_string(),
        }
    }

    /// Moves the cursor over events, and gives those that are wanted, if any.
    fn take(&mut self, batch: Batch) -> Option<Step> {
        let last = batch.last();
        self.seen = Some(last.cursor);
        // Nothing follows the end of a message.
        if last.ended.is_some() {
            self.ended = last.ended;
            self.head = Some(last.cursor);
        }
        let types = &self.request.event_types;
        let wanted = match types.is_empty() {
            true => Some(batch),
            false => batch.only(|frame| types.contains(&frame.event_type)),
        };
        self.is_quiet &= wanted.is_none();
        wanted.map(Step::Events)
    }

    fn end(&mut self, end: WatchEnd) -> Vec<Step> {
        self.stage = Stage::Done;
        self.follower = None;
        vec![Step::End(EncodedFrame::end(self.place(), end))]
    }

    /// Ends the watch with what was told before the end.
    fn end_after_last(&mut self, end: WatchEnd) -> Vec<Step> {
        let mut steps = Vec::new();
        while let (Some(follower), Some(seen)) = (&self.follower, self.seen)
            && let Ready::Batch(batch) = follower.after(seen, true)
        {
            steps.extend(self.take(batch));
        }
        steps.extend(self.end(self.ended.map_or(end, WatchEnd::MessageEnded)));
        steps
    }

    /// An open watch outlives a Redis that is away, but not data that is damaged.
    async fn outlast(&mut self, error: StoreError) -> Steps {
        if let StoreError::Corrupt(_) = error {
            return Err(error.into());
        }
        debug!(%error, "an open watch waits for redis");
        self.pause().await
    }

    async fn pause(&mut self) -> Steps {
        let drain = self.engine.hub.drain();
        tokio::select! {
            () = drain.cancelled() => Ok(self.end(WatchEnd::Draining)),
            () = until(self.deadline) => Err(EngineError::WatchExpired),
            () = sleep(RETRY_DELAY) => Ok(Vec::new()),
        }
    }
}
