//! Watching a session: its own log tells of new messages, each of which is
//! watched like any other.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use async_stream::try_stream;
use futures_util::stream::{BoxStream, SelectAll, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::Stream;
use tracing::debug;

use super::{
    Engine, EngineError, clock,
    session_place::SessionPlace,
    step::Step,
    watch::{RETRY_DELAY, WatchRequest},
};
use crate::{
    domain::{
        Time,
        cursor::{Cursor, Position, Start},
        ids::{MessageId, SessionId},
        principal::Principal,
        refusal::Refusal,
    },
    store::{Page, Placed, Resume},
    tail::{Follower, Ready, Standing},
    wire::frame::{EncodedFrame, EncodedSessionFrame, WatchEnd},
};

/// New messages that are read at once.
const READ_ENTRIES: usize = 256;
/// A message is announced before it is created. One that does not appear for so
/// long was not created.
const BIRTH_MAX: Duration = Duration::from_secs(10);
/// So long one is waited for that was announced before, as far as clocks agree.
const BIRTH_MIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Watches every message of a session. The stream ends after an `end` frame
    /// without a message, or with an error that is about the connection.
    pub fn watch_session(
        &self,
        principal: Principal,
        session: SessionId,
        resume: Option<SessionPlace>,
    ) -> impl Stream<Item = Result<EncodedSessionFrame, EngineError>> + Send + use<> {
        let engine = self.clone();
        try_stream! {
            let (mut watcher, mut frames) =
                SessionWatcher::open(engine, principal, session, resume).await?;
            loop {
                for frame in frames {
                    yield frame;
                }
                if watcher.is_over {
                    return;
                }
                frames = watcher.next().await?;
            }
        }
    }
}

type MessageSteps = BoxStream<'static, (MessageId, Result<Step, EngineError>)>;
type Frames = Vec<EncodedSessionFrame>;

struct SessionWatcher {
    engine: Engine,
    principal: Principal,
    session: SessionId,
    place: SessionPlace,
    /// Messages that were found being written when the watch began: their
    /// announcements may still come, up to `listed_until` of the session's log.
    listed: HashSet<MessageId>,
    listed_until: u64,
    /// Those among them that begin with a snapshot which was not sent so far.
    unsent: HashSet<MessageId>,
    /// When messages were announced that are watched already: perhaps to be created
    /// anew, after those have ended.
    announced: HashMap<MessageId, Time>,
    messages: SelectAll<MessageSteps>,
    follower: Follower,
    /// When the session's log is to be read again, since Redis was away.
    reopen_at: Option<Instant>,
    /// Messages that have not caught up since the watch began; none once the
    /// session has.
    behind: Option<HashSet<MessageId>>,
    beat: u64,
    /// Nothing was sent since the last beat.
    is_quiet: bool,
    is_over: bool,
}

impl SessionWatcher {
    async fn open(
        engine: Engine,
        principal: Principal,
        session: SessionId,
        resume: Option<SessionPlace>,
    ) -> Result<(Self, Frames), EngineError> {
        let after = resume.as_ref().map_or(0, |place| place.births.sequence);
        let page = engine.births(&principal, &session, after).await?;
        let follower = engine.hub.follow(page.log.clone(), page.head);
        let mut watcher = Self {
            place: SessionPlace {
                births: page.head,
                open: BTreeMap::new(),
            },
            beat: follower.beat(),
            engine,
            principal,
            session,
            listed: HashSet::new(),
            listed_until: 0,
            unsent: HashSet::new(),
            announced: HashMap::new(),
            messages: SelectAll::new(),
            follower,
            reopen_at: None,
            behind: Some(HashSet::new()),
            is_quiet: false,
            is_over: false,
        };
        let frames = match resume {
            None => watcher.open_unended().await.map(|()| Vec::new())?,
            Some(place) => watcher.resume(place, page).await?,
        };
        watcher.behind = Some(watcher.place.open.keys().cloned().collect());
        let caught_up = watcher.catch_up(None);
        Ok((watcher, frames.into_iter().chain(caught_up).collect()))
    }

    /// Begins with a snapshot of each message that is being written, and waits for
    /// those that are just being created. One that was created a moment ago is
    /// announced as well.
    async fn open_unended(&mut self) -> Result<(), EngineError> {
        let given_up = clock::now() - BIRTH_MAX;
        for unended in self.engine.store.unended_messages(&self.session).await? {
            let message = unended.message;
            let is_awaited = unended.is_there || unended.entered > given_up;
            if !is_awaited || self.place.open.contains_key(&message) {
                continue;
            }
            self.listed.insert(message.clone());
            match unended.is_there {
                true => {
                    self.unsent.insert(message.clone());
                    self.watch_from(message, Cursor::BEGINNING, Start::Snapshot, BIRTH_MAX);
                }
                false => self.watch_born(message, unended.entered),
            }
        }
        if !self.listed.is_empty() {
            let after = self.place.births.sequence;
            let page = self.engine.births(&self.principal, &self.session, after);
            self.listed_until = page.await?.head.sequence;
        }
        Ok(())
    }

    async fn resume(&mut self, place: SessionPlace, page: Page) -> Result<Frames, EngineError> {
        self.place.births = place.births;
        for (message, cursor) in place.open {
            let start = Start::After(cursor.into());
            self.watch_from(message, cursor, start, BIRTH_MAX);
        }
        self.take_births(page).await
    }

    /// Begins to watch the messages that the session's log tells of, from this
    /// page on up to its head.
    async fn take_births(&mut self, mut page: Page) -> Result<Frames, EngineError> {
        loop {
            let head = page.head;
            match page.resume(self.place.births.into()) {
                Resume::Continue(births) => {
                    for Placed { cursor, event } in births {
                        self.born(cursor, &event.message_id);
                    }
                }
                Resume::Gap(reason) => {
                    let gap = EncodedFrame::gap(String::new(), reason);
                    let reached = std::mem::replace(&mut self.place.births, head);
                    if let Err(error) = self.open_unended().await {
                        self.place.births = reached;
                        return Err(error);
                    }
                    return Ok(vec![self.frame(None, &gap)]);
                }
            }
            let reached = self.place.births.sequence;
            if reached >= head.sequence {
                return Ok(Vec::new());
            }
            page = self
                .engine
                .births(&self.principal, &self.session, reached)
                .await?;
        }
    }

    fn born(&mut self, cursor: Cursor, message: &str) {
        self.place.births = cursor;
        if cursor.sequence > self.listed_until {
            self.listed.clear();
        }
        let Ok(message) = MessageId::parse(message) else {
            return;
        };
        if self.listed.remove(&message) {
            return;
        }
        match self.place.open.contains_key(&message) {
            true => drop(self.announced.insert(message, cursor.time)),
            false => self.watch_born(message, cursor.time),
        }
    }

    /// Watches a message from its beginning that was announced at this time.
    fn watch_born(&mut self, message: MessageId, announced: Time) {
        let age = (clock::now() - announced).to_std().unwrap_or_default();
        let patience = BIRTH_MAX.saturating_sub(age).max(BIRTH_MIN);
        let start = Start::After(Position::BEGINNING);
        self.watch_from(message, Cursor::BEGINNING, start, patience);
    }

    /// What is watched has ended, after it was seen up to a place. If another life of
    /// it was announced since, that is watched now.
    fn over(&mut self, message: &MessageId) -> Option<Cursor> {
        let seen = self.place.open.remove(message);
        self.unsent.remove(message);
        if let Some(announced) = self.announced.remove(message)
            && seen.is_some_and(|seen| seen.time < announced)
        {
            self.watch_born(message.clone(), announced);
        }
        seen
    }

    fn watch_from(&mut self, message: MessageId, cursor: Cursor, start: Start, patience: Duration) {
        self.place.open.insert(message.clone(), cursor);
        let steps = self.steps(message, cursor, start, patience);
        self.messages.push(steps);
    }

    fn steps(
        &self,
        message: MessageId,
        cursor: Cursor,
        start: Start,
        patience: Duration,
    ) -> MessageSteps {
        let steps = self.engine.watch(WatchRequest {
            principal: self.principal.clone(),
            message: message.clone(),
            session: Some(self.session.clone()),
            start,
            fail_on_gap: false,
            wait_for_create: (cursor == Cursor::BEGINNING).then_some(patience),
            event_types: Default::default(),
            max_wait: None,
        });
        steps.map(move |step| (message.clone(), step)).boxed()
    }

    /// Watches a message again from where this watcher is, since its watch has failed.
    fn watch_again(&mut self, message: MessageId) {
        let seen = self.place.open.get(&message).copied();
        let cursor = seen.unwrap_or(Cursor::BEGINNING);
        let start = match self.unsent.contains(&message) {
            true => Start::Snapshot,
            false => Start::After(cursor.into()),
        };
        let steps = self.steps(message, cursor, start, BIRTH_MAX);
        let later = async move {
            sleep(RETRY_DELAY).await;
            steps
        };
        let steps = futures_util::stream::once(later).flatten();
        self.messages.push(steps.boxed());
    }

    /// What is sent next. May be nothing.
    async fn next(&mut self) -> Result<Frames, EngineError> {
        let drain = self.engine.hub.drain();
        let reopen_at = self.reopen_at;
        let reopening = async {
            match reopen_at {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = drain.cancelled() => Ok(self.end(WatchEnd::Draining)),
            () = self.follower.changed() => self.take_news().await,
            () = reopening => self.reopen().await,
            Some((message, step)) = self.messages.next() => self.take_step(message, step),
        }
    }

    async fn take_news(&mut self) -> Result<Frames, EngineError> {
        let news = self.follower.news();
        if self.reopen_at.is_some() {
            return Ok(self.heartbeat(news.beat));
        }
        match news.standing {
            Standing::Over(end) => return Ok(self.end(end)),
            Standing::Changed => return self.reopen().await,
            Standing::Live => {}
        }
        loop {
            match self.follower.after(self.place.births, false) {
                Ready::Batch(births) => births
                    .frames()
                    .iter()
                    .for_each(|birth| self.born(birth.cursor, &birth.message)),
                Ready::Nothing => return Ok(self.heartbeat(news.beat)),
                Ready::Behind => {
                    let Engine { hub, store, .. } = &self.engine;
                    hub.look_after(store, &self.follower).await;
                    return self.reopen().await;
                }
            }
        }
    }

    /// Reads the session's log again from where this watcher is. A Redis that is away
    /// is waited for.
    async fn reopen(&mut self) -> Result<Frames, EngineError> {
        self.reopen_at = None;
        match self.read_on().await {
            Err(EngineError::Refused(_)) => Ok(self.end(WatchEnd::Expired)),
            Err(EngineError::Store(error)) if error.is_absence() => {
                debug!(%error, "an open watch of a session waits for redis");
                self.reopen_at = Some(Instant::now() + RETRY_DELAY);
                Ok(Vec::new())
            }
            frames => frames,
        }
    }

    async fn read_on(&mut self) -> Result<Frames, EngineError> {
        let after = self.place.births.sequence;
        let page = self.engine.births(&self.principal, &self.session, after);
        let page = page.await?;
        self.follower = self.engine.hub.follow(page.log.clone(), page.head);
        self.take_births(page).await
    }

    fn take_step(
        &mut self,
        message: MessageId,
        step: Result<Step, EngineError>,
    ) -> Result<Frames, EngineError> {
        let step = match step {
            Ok(step) => step,
            Err(EngineError::Refused(Refusal::MessageUnknown(_))) => {
                return Ok(self.take_missing(&message));
            }
            Err(EngineError::Store(error)) if error.is_absence() => {
                debug!(%message, %error, "a message of a session is watched again");
                self.watch_again(message);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        Ok(match step {
            Step::CaughtUp(_) => self.catch_up(Some(&message)),
            Step::Heartbeat(_) => Vec::new(),
            Step::Events(batch) => batch
                .each()
                .map(|(frame, encoded)| self.place_at(&message, frame.cursor, &encoded))
                .collect(),
            Step::Place(frame, cursor) => {
                // Before a gap is closed by its snapshot nothing more was seen.
                let seen = || self.place.open.get(&message).copied();
                let cursor = cursor.or_else(seen).unwrap_or(Cursor::BEGINNING);
                vec![self.place_at(&message, cursor, &frame)]
            }
            // Watches of messages end with the service as well, though the messages
            // do not: whoever resumes is to find them.
            Step::End(_) if self.engine.hub.drain().is_cancelled() => self.end(WatchEnd::Draining),
            Step::End(frame) => {
                self.over(&message);
                self.is_quiet = false;
                let end = self.frame(Some(&message), &frame);
                let caught_up = self.catch_up(Some(&message));
                [vec![end], caught_up].concat()
            }
        })
    }

    /// A frame after which the message was seen up to a place.
    fn place_at(
        &mut self,
        message: &MessageId,
        cursor: Cursor,
        frame: &EncodedFrame,
    ) -> EncodedSessionFrame {
        self.is_quiet = false;
        self.unsent.remove(message);
        self.place.open.insert(message.clone(), cursor);
        self.frame(Some(message), frame)
    }

    /// A message that does not exist was announced and never created, or is gone
    /// since this watcher saw it.
    fn take_missing(&mut self, message: &MessageId) -> Frames {
        let mut frames = Vec::new();
        let seen = self.over(message);
        if let Some(seen) = seen.filter(|seen| *seen != Cursor::BEGINNING) {
            let end = EncodedFrame::end(seen.to_string(), WatchEnd::Expired);
            frames.push(self.frame(Some(message), &end));
        }
        frames.extend(self.catch_up(Some(message)));
        frames
    }

    /// Takes note of a message that has caught up, or will not; after the last of
    /// those that were behind, the session has.
    fn catch_up(&mut self, message: Option<&MessageId>) -> Frames {
        let Some(behind) = &mut self.behind else {
            return Vec::new();
        };
        if let Some(message) = message {
            behind.remove(message);
        }
        if !behind.is_empty() {
            return Vec::new();
        }
        self.behind = None;
        vec![self.frame(None, &EncodedFrame::caught_up(String::new()))]
    }

    fn heartbeat(&mut self, beat: u64) -> Frames {
        if beat == self.beat {
            return Vec::new();
        }
        self.beat = beat;
        // There are two beats in the interval that clients are promised.
        self.is_quiet = !self.is_quiet;
        match self.is_quiet {
            true => Vec::new(),
            false => vec![self.frame(None, &EncodedFrame::heartbeat(String::new()))],
        }
    }

    fn end(&mut self, end: WatchEnd) -> Frames {
        self.is_over = true;
        vec![self.frame(None, &EncodedFrame::end(String::new(), end))]
    }

    fn frame(&self, message: Option<&MessageId>, frame: &EncodedFrame) -> EncodedSessionFrame {
        EncodedSessionFrame::new(&self.place.token(), message, frame)
    }
}

impl Engine {
    /// Reads the part of a session's log that follows a place.
    async fn births(
        &self,
        principal: &Principal,
        session: &SessionId,
        after: u64,
    ) -> Result<Page, EngineError> {
        let unknown = || Refusal::SessionUnknown(session.clone());
        let page = self
            .store
            .replay_session(session, after, READ_ENTRIES)
            .await?;
        let page = page.ok_or_else(unknown)?;
        principal.authorize(&page.user, unknown())?;
        Ok(page)
    }
}
