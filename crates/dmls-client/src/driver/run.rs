//! The loop: syncs, requests and timers at the same time, until what the caller waits for has come.

use std::time::Duration;

use dmls_matrix::facts::UserDevices;
use dmls_matrix::request::{Failure, Response};
use dmls_matrix::view::Report;
use dmls_matrix::{MessageId, RequestId, RoomId};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::carry::{Carried, Refusal};
use super::flight::{Arrival, Kind};
use super::pull::sync;
use super::{Client, ClientError, MachineError, Note, SystemEntropy, now};
use crate::error::{ApiError, IdentityError};
use crate::identity::Queried;

/// Timers of the machine that are this near are waited for.
const HORIZON: Duration = Duration::from_millis(4_900);
/// How long the second of two quiet syncs waits for something new.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// How long a sync waits while requests or timers are pending.
const MEANWHILE: Duration = Duration::from_millis(400);
/// How long a sync waits when the caller listens.
const LISTENING: Duration = Duration::from_secs(30);
/// Pauses between attempts to reach the homeserver, when listening.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A timer that is past and did nothing must not make the loop spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(25);
/// Quiet syncs in a row that end a run.
const QUIET: u32 = 2;

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// The homeserver answered twice in a row with nothing new, and nothing is due within the next 5 s.
    Settled,
    /// The homeserver has accepted this message, or refused it for good.
    Sent(RoomId, MessageId),
    /// The rekey that was asked for is published.
    Updated(RoomId),
    /// Something changed that a reader may see. Waits out the homeserver's silences.
    Changed,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What it waited for has come.
    Reached,
    /// The time was up.
    TimeUp,
}

/// Where a run stands.
struct Progress {
    until: Until,
    /// Quiet syncs in a row.
    quiet: u32,
    /// When something last happened; the horizon counts from here, so that a retry put off is not waited for.
    active: Instant,
    /// The identity has not had its turn since the last sync.
    pump: bool,
    /// Pause after the next failed sync, when listening.
    pause: Duration,
    /// No sync before this moment.
    resume: Instant,
}

impl Progress {
    fn new(until: Until) -> Self {
        let now = Instant::now();
        Self { until, quiet: 0, active: now, pump: true, pause: FIRST_PAUSE, resume: now }
    }

    fn stir(&mut self) {
        self.quiet = 0;
        self.active = Instant::now();
    }

    fn listening(&self) -> bool {
        self.until == Until::Changed
    }
}

impl Client {
    /// Runs until `until`, at most for `limit`. An unreachable homeserver is an error, except when listening.
    pub async fn run(&mut self, until: Until, limit: Option<Duration>) -> Result<Ended, ClientError> {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut progress = Progress::new(until);
        let ended = self.go_on(&mut progress, end).await;
        // Who listens comes back; what others wait for may be all that this process does.
        if !progress.listening() {
            self.local.machine.store()?;
        }
        ended
    }

    async fn go_on(&mut self, progress: &mut Progress, end: Option<Instant>) -> Result<Ended, ClientError> {
        loop {
            self.start_requests(progress)?;
            if self.has_reached(progress)? {
                return Ok(Ended::Reached);
            }
            self.start_sync(progress);
            let wake = self.wake_in(progress);
            let time_up = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                arrival = self.flight.next() => self.take_arrival(arrival, progress).await?,
                () = time_up => return Ok(Ended::TimeUp),
                () = sleep(wake) => {}
            }
        }
    }

    /// Starts everything that the machine wants of the homeserver now.
    fn start_requests(&mut self, progress: &mut Progress) -> Result<(), ClientError> {
        if !self.synced {
            // What has changed meanwhile decides what may still be sent.
            return Ok(());
        }
        for outgoing in self.local.machine.outgoing_requests(now(), &mut SystemEntropy)? {
            if let Some(kind) = self.flight.start(&self.api, &self.identity, outgoing) {
                (self.observer)(&Note::Started(kind.word));
            }
        }
        self.start_refresh()?;
        if progress.pump && self.flight.start_pump(&self.api, &self.identity) {
            progress.pump = false;
        }
        Ok(())
    }

    fn start_sync(&mut self, progress: &Progress) {
        if self.flight.is_syncing() || Instant::now() < progress.resume {
            return;
        }
        let wait = match progress.quiet {
            0 => Duration::ZERO,
            _ if progress.listening() => LISTENING,
            _ if self.is_at_rest(progress) => LAST_LOOK,
            _ => MEANWHILE,
        };
        let since = self.local.machine.sync_position().map(str::to_owned);
        self.flight.start_sync(sync(self.api.clone(), since, wait, !progress.listening()));
    }

    /// How long nothing needs to be done unless something comes in.
    fn wake_in(&self, progress: &Progress) -> Duration {
        let now = now();
        let timer = self.local.machine.next_wake(now).map(|at| Duration::from_millis(at.0.saturating_sub(now.0)));
        // What is due is on its way: its answer will wake the loop.
        let timer = timer.filter(|timer| !timer.is_zero() || self.flight.is_empty());
        let resume = progress.resume.saturating_duration_since(Instant::now());
        let resume = Some(resume).filter(|pause| !pause.is_zero() && !self.flight.is_syncing());
        timer.into_iter().chain(resume).min().unwrap_or(LISTENING).max(SHORTEST_WAIT)
    }

    /// Whether nothing is under way and nothing comes due within the horizon.
    fn is_at_rest(&self, progress: &Progress) -> bool {
        let horizon = HORIZON.saturating_sub(progress.active.elapsed());
        let horizon = u64::try_from(horizon.as_millis()).unwrap_or(0);
        self.flight.is_empty() && !progress.pump && self.local.machine.idle(now(), horizon)
    }

    fn has_reached(&mut self, progress: &Progress) -> Result<bool, ClientError> {
        Ok(match &progress.until {
            Until::Settled => progress.quiet >= QUIET && self.is_at_rest(progress),
            Until::Sent(room, id) => {
                let message = self.local.machine.own_message(room, id)?;
                let accepted = message.is_some_and(|message| message.event_id.is_some());
                let settled = accepted || self.local.room_row(room)?.is_none_or(|row| row.unsent == 0);
                settled && self.flight.only_remote()
            }
            Until::Updated(room) => {
                let row = self.local.room_row(room)?;
                row.is_some_and(|row| !row.update_pending) && self.flight.only_remote()
            }
            Until::Changed => !self.changed.is_empty(),
        })
    }

    async fn take_arrival(&mut self, arrival: Arrival, progress: &mut Progress) -> Result<(), ClientError> {
        match arrival {
            Arrival::Answer { id, kind, carried } => self.take_answer(&id, kind, carried, progress),
            Arrival::Sync(answer) => self.take_sync(answer, progress).await,
            Arrival::Pumped(pumped) => take_pumped(pumped),
            Arrival::Refreshed(facts) => self.take_refreshed(facts, progress),
        }
    }

    async fn take_sync(&mut self, answer: Result<Value, ApiError>, progress: &mut Progress) -> Result<(), ClientError> {
        match answer {
            Ok(body) => {
                progress.pause = FIRST_PAUSE;
                let stirred = self.take_in(body).await?;
                self.synced = true;
                progress.pump |= stirred || progress.listening();
                if stirred {
                    progress.stir();
                } else {
                    progress.quiet += 1;
                }
                Ok(())
            }
            Err(error) if progress.listening() && error.is_temporary() => {
                let asked =
                    if let ApiError::LimitExceeded { retry_after } = error { retry_after } else { Duration::ZERO };
                let pause = progress.pause.max(asked);
                let pause = pause + jitter(pause / 2);
                progress.resume = Instant::now() + pause;
                progress.pause = (progress.pause * 2).min(LONGEST_PAUSE);
                (self.observer)(&Note::Waiting { millis: pause.as_millis() });
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn take_answer(
        &mut self,
        id: &RequestId,
        kind: Kind,
        carried: Carried,
        progress: &mut Progress,
    ) -> Result<(), ClientError> {
        let (now, mut entropy) = (now(), SystemEntropy);
        progress.active = Instant::now();
        for facts in carried.facts {
            let report = self.local.machine.receive_device_facts(facts, now, &mut entropy)?;
            self.take_report(report);
        }
        let report = match carried.answer {
            Ok(response) => {
                (self.observer)(&Note::Done(kind.word));
                if kind.sends {
                    progress.stir();
                }
                self.mark_sent(id, response)?
            }
            Err(Refusal::Fatal(error)) => return Err(error.into()),
            Err(Refusal::Failed(failure)) => {
                let why = match (&failure.permanent, failure.retry_after_ms) {
                    (Some(code), _) => code.clone(),
                    (None, Some(millis)) => format!("rate limit, {millis} ms"),
                    (None, None) => "no answer".to_owned(),
                };
                (self.observer)(&Note::Failed { what: kind.word, why, for_good: failure.permanent.is_some() });
                self.local.machine.mark_request_as_failed(id, failure, now, &mut entropy)?
            }
            Err(Refusal::Away(error, failure)) => {
                (self.observer)(&Note::Failed { what: kind.word, why: error.to_string(), for_good: false });
                self.local.machine.mark_request_as_failed(id, failure, now, &mut entropy)?
            }
        };
        self.take_report(report);
        Ok(())
    }

    /// Without an answer there is another round later.
    fn take_refreshed(
        &mut self,
        facts: Result<Vec<UserDevices>, IdentityError>,
        progress: &mut Progress,
    ) -> Result<(), ClientError> {
        let facts = match facts.map_err(ClientError::from) {
            Err(error) if error.api().is_some() => return Ok(()),
            facts => facts?,
        };
        for facts in facts {
            let report = self.local.machine.receive_device_facts(facts, now(), &mut SystemEntropy)?;
            self.take_report(report);
        }
        progress.active = Instant::now();
        Ok(())
    }

    /// An answer that makes no sense counts as none: the request comes again after a pause.
    fn mark_sent(&mut self, id: &RequestId, response: Response) -> Result<Report, ClientError> {
        let (machine, now, mut entropy) = (&mut self.local.machine, now(), SystemEntropy);
        match machine.mark_request_as_sent(id, response, now, &mut entropy) {
            Err(MachineError::Malformed(_)) => {
                drop(machine.outgoing_requests(now, &mut entropy)?);
                Ok(machine.mark_request_as_failed(id, Failure::default(), now, &mut entropy)?)
            }
            marked => Ok(marked?),
        }
    }

    /// Remembers what changed and tells what is worth telling.
    pub(super) fn take_report(&mut self, report: Report) {
        self.changed.extend(report.changed);
        for remark in report.remarks {
            (self.observer)(&Note::Remark(remark));
        }
    }
}

/// What another homeserver did not answer, or what it refused, the identity asks again by itself.
fn take_pumped(pumped: Result<Queried, IdentityError>) -> Result<(), ClientError> {
    match pumped.map_err(ClientError::from) {
        Err(error @ (ClientError::SessionEnded { .. } | ClientError::Identity(IdentityError::Store(_)))) => Err(error),
        _ => Ok(()),
    }
}

/// From zero to `most`, so that many clients do not come back at the same moment.
fn jitter(most: Duration) -> Duration {
    let mut byte = [0];
    let _ = getrandom::fill(&mut byte);
    most * u32::from(byte[0]) / 256
}
