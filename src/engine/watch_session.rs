//! Watching a session: its own log tells of new messages, each of which is
//! watched like any other.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use async_stream::try_stream;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use futures_util::stream::{BoxStream, SelectAll, StreamExt as _};
use prost::Message as _;
use tokio_stream::Stream;

use super::{Engine, EngineError, step::Step, watch::WatchRequest};
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

/// A place in a session: how far its log was read, and how far the log of each
/// message that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPlace {
    births: Cursor,
    open: BTreeMap<MessageId, Cursor>,
}

/// A place as a client keeps it.
#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(message, required, tag = "1")]
    births: TokenCursor,
    #[prost(message, repeated, tag = "2")]
    open: Vec<OpenMessage>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct TokenCursor {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    /// In microseconds since 1970.
    #[prost(int64, tag = "2")]
    time: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, required, tag = "2")]
    cursor: TokenCursor,
}

impl From<Cursor> for TokenCursor {
    fn from(cursor: Cursor) -> Self {
        Self {
            sequence: cursor.sequence,
            time: cursor.time.timestamp_micros(),
        }
    }
}

impl TokenCursor {
    fn to_cursor(self) -> Option<Cursor> {
        let time = Time::from_timestamp_micros(self.time)?;
        let sequence = (self.sequence < i64::MAX as u64).then_some(self.sequence)?;
        Some(Cursor { sequence, time })
    }
}

impl SessionPlace {
    /// Reads a token; none where it is not one of ours.
    pub fn parse(token: &str) -> Option<Self> {
        let token = Token::decode(BASE64.decode(token).ok()?.as_slice()).ok()?;
        let open = token.open.iter().map(|message| {
            let id = MessageId::parse(&message.id).ok()?;
            Some((id, message.cursor.to_cursor()?))
        });
        Some(Self {
            births: token.births.to_cursor()?,
            open: open.collect::<Option<_>>()?,
        })
    }

    fn token(&self) -> String {
        let open = self.open.iter().map(|(id, cursor)| OpenMessage {
            id: id.to_string(),
            cursor: (*cursor).into(),
        });
        let token = Token {
            births: self.births.into(),
            open: open.collect(),
        };
        BASE64.encode(token.encode_to_vec())
    }
}

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
    /// announcements may still come.
    listed: HashSet<MessageId>,
    messages: SelectAll<MessageSteps>,
    follower: Follower,
    /// Messages that have not caught up since the watch began; none once the
    /// session has.
    behind: Option<usize>,
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
            messages: SelectAll::new(),
            follower,
            behind: Some(0),
            is_quiet: false,
            is_over: false,
        };
        let frames = match resume {
            None => watcher.open_streaming().await.map(|()| Vec::new())?,
            Some(place) => watcher.resume(place, page).await?,
        };
        watcher.behind = Some(watcher.messages.len());
        let caught_up = watcher.catch_up(0);
        Ok((watcher, frames.into_iter().chain(caught_up).collect()))
    }

    /// Begins with a snapshot of each message that is being written. One that
    /// was created a moment ago is announced as well.
    async fn open_streaming(&mut self) -> Result<(), EngineError> {
        for message in self.engine.store.streaming_messages(&self.session).await? {
            if !self.place.open.contains_key(&message) {
                self.listed.insert(message.clone());
                self.watch(message, Cursor::BEGINNING, Start::Snapshot);
            }
        }
        Ok(())
    }

    async fn resume(&mut self, place: SessionPlace, page: Page) -> Result<Frames, EngineError> {
        self.place.births = place.births;
        for (message, cursor) in place.open {
            self.watch(message, cursor, Start::After(cursor.into()));
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
                    self.place.births = head;
                    self.open_streaming().await?;
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
        if let Ok(message) = MessageId::parse(message)
            && !self.listed.remove(&message)
            && !self.place.open.contains_key(&message)
        {
            let start = Start::After(Position::BEGINNING);
            self.watch(message, Cursor::BEGINNING, start);
        }
    }

    fn watch(&mut self, message: MessageId, cursor: Cursor, start: Start) {
        self.place.open.insert(message.clone(), cursor);
        let steps = self.engine.watch(WatchRequest {
            principal: self.principal.clone(),
            message: message.clone(),
            session: Some(self.session.clone()),
            start,
            fail_on_gap: false,
            wait_for_create: (cursor == Cursor::BEGINNING).then_some(BIRTH_MAX),
            event_types: Default::default(),
            max_wait: None,
        });
        let steps = steps.map(move |step| (message.clone(), step));
        self.messages.push(steps.boxed());
    }

    /// What is sent next. May be nothing.
    async fn next(&mut self) -> Result<Frames, EngineError> {
        let drain = self.engine.hub.drain();
        tokio::select! {
            biased;
            () = drain.cancelled() => Ok(self.end(WatchEnd::Draining)),
            () = self.follower.changed() => self.take_news().await,
            Some((message, step)) = self.messages.next() => self.take_step(message, step),
        }
    }

    async fn take_news(&mut self) -> Result<Frames, EngineError> {
        let news = self.follower.news();
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
                Ready::Behind => return self.reopen().await,
            }
        }
    }

    /// Reads the session's log again from where this watcher is.
    async fn reopen(&mut self) -> Result<Frames, EngineError> {
        let after = self.place.births.sequence;
        match self
            .engine
            .births(&self.principal, &self.session, after)
            .await
        {
            Ok(page) => {
                self.follower = self.engine.hub.follow(page.log.clone(), page.head);
                self.take_births(page).await
            }
            Err(EngineError::Refused(_)) => Ok(self.end(WatchEnd::Expired)),
            Err(error) => Err(error),
        }
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
            Err(error) => return Err(error),
        };
        Ok(match step {
            Step::CaughtUp(_) => self.catch_up(1),
            Step::Heartbeat(_) => Vec::new(),
            Step::Events(batch) => batch
                .each()
                .map(|(frame, encoded)| self.place_at(&message, frame.cursor, &encoded))
                .collect(),
            Step::Place(frame, cursor) => {
                let cursor = cursor.unwrap_or(Cursor::BEGINNING);
                vec![self.place_at(&message, cursor, &frame)]
            }
            Step::End(frame) => {
                self.place.open.remove(&message);
                self.is_quiet = false;
                vec![self.frame(Some(&message), &frame)]
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
        self.place.open.insert(message.clone(), cursor);
        self.frame(Some(message), frame)
    }

    /// A message that does not exist was announced and never created, or is gone
    /// since this watcher saw it.
    fn take_missing(&mut self, message: &MessageId) -> Frames {
        let seen = self.place.open.remove(message);
        let mut frames = self.catch_up(1);
        if let Some(seen) = seen.filter(|seen| *seen != Cursor::BEGINNING) {
            let end = EncodedFrame::end(Some(seen), WatchEnd::Expired);
            frames.push(self.frame(Some(message), &end));
        }
        frames
    }

    /// Counts messages that have caught up; after the last, the session has.
    fn catch_up(&mut self, count: usize) -> Frames {
        match self.behind.map(|behind| behind.saturating_sub(count)) {
            Some(0) => {
                self.behind = None;
                vec![self.frame(None, &EncodedFrame::caught_up(None))]
            }
            behind => {
                self.behind = behind;
                Vec::new()
            }
        }
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
            false => vec![self.frame(None, &EncodedFrame::heartbeat(None))],
        }
    }

    fn end(&mut self, end: WatchEnd) -> Frames {
        self.is_over = true;
        vec![self.frame(None, &EncodedFrame::end(None, end))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_is_written() {
        let time = Time::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let place = SessionPlace {
            births: Cursor { sequence: 3, time },
            open: BTreeMap::from([
                (MessageId::parse("a").unwrap(), Cursor { sequence: 7, time }),
                (MessageId::parse("b").unwrap(), Cursor::BEGINNING),
            ]),
        };
        assert_eq!(SessionPlace::parse(&place.token()), Some(place));
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for text in ["x", "%%%", "AAAA", "CgA=", "\u{e4}"] {
            assert_eq!(SessionPlace::parse(text), None, "{text}");
        }
    }
}
