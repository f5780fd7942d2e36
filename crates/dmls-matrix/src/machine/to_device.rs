//! To-device messages: Welcomes, requests of other members and their answers.

use std::collections::{BTreeMap, BTreeSet};

use dmls::effect::Verdict;
use dmls::entropy::Entropy;
use dmls::id::{Device, EpochId, Locator, Timestamp};
use dmls::input::{Input, Welcome};
use dmls::journal::{Durable, Journal, Records, Write};
use dmls::package::KeyPackages;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Machine;
use super::events::refused_code;
use crate::error::Error;
use crate::id::RoomId;
use crate::names;
use crate::sync::ToDeviceEvent;
use crate::table;
use crate::view::{Remark, Report};
use crate::wire::request::{CommitReply, CommitRequest, MergeReply, MergeRequest, ServedCommit, asker};
use crate::wire::room::CommitContent;
use crate::wire::welcome::{self, Body, WelcomeContent};
use crate::wire::{Malformed, room};

/// Welcomes that wait, in all and by one sender.
const MAX_WELCOMES: usize = 512;
const MAX_BY_SENDER: usize = 16;
/// Attempts to find a Welcome's commit, and the pauses between.
const MAX_ATTEMPTS: u32 = 14;
const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 300_000;

/// A Welcome whose commit has not been seen yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WaitingWelcome {
    pub(crate) sender: String,
    pub(crate) content: WelcomeContent,
    pub(crate) attempts: u32,
    pub(crate) next: Timestamp,
}

pub(super) fn load_welcomes<R: Records>(records: &R) -> Result<BTreeMap<[u8; 32], WaitingWelcome>, Error<R::Error>> {
    let damaged = || Error::Damaged(table::WELCOME.0);
    let entries = records.scan(table::WELCOME, b"").map_err(Error::Store)?;
    let one = |(key, bytes): dmls::journal::Entry| {
        Ok((key.as_slice().try_into().map_err(|_| damaged())?, table::parse(table::WELCOME, &bytes)?))
    };
    entries.into_iter().map(one).collect()
}

fn remark(room: Option<&RoomId>, sender: &str, code: &str, text: &str) -> Remark {
    Remark {
        room: room.cloned(),
        event_id: None,
        sender: Some(sender.to_owned()),
        code: code.to_owned(),
        text: text.to_owned(),
    }
}

impl<J: Journal> Machine<J> {
    /// Takes in one to-device message; those of other protocols are passed over.
    pub(super) fn take_to_device(
        &mut self,
        event: ToDeviceEvent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let sender = event.sender.clone();
        let kind = event.event_type.as_str();
        let taken = if kind == names::ENCRYPTED && welcome::is_welcome(&event.content) {
            self.take_welcome(&event, now, report)?
        } else if kind == names::commit_request() {
            self.take_commit_request(&event, now, entropy, report)?
        } else if kind == names::commit_reply() {
            self.take_commit_reply(&event, now, entropy, report)?
        } else if kind == names::merge_request() {
            self.take_merge_request(&event, now, entropy, report)?
        } else if kind == names::merge_reply() {
            self.take_merge_reply(&event, now, entropy, report)?
        } else {
            Ok(())
        };
        if let Err(Malformed(code)) = taken {
            report.remarks.push(remark(None, &sender, code, "to-device message refused"));
        }
        Ok(())
    }

    fn take_welcome(
        &mut self,
        event: &ToDeviceEvent,
        now: Timestamp,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        let content = match welcome::parse(&event.content) {
            Ok(content) => content,
            Err(malformed) => return Ok(Err(malformed)),
        };
        let hash: [u8; 32] = Sha256::digest(event.content.to_string()).into();
        let by_sender = self.welcomes.values().filter(|waiting| waiting.sender == event.sender).count();
        if self.welcomes.contains_key(&hash) {
            return Ok(Ok(()));
        }
        if by_sender >= MAX_BY_SENDER || !self.has_room_for_welcome(&event.sender, &content.room)? {
            return Ok(Err(Malformed("too_many_pending")));
        }
        super::calls::note_changed(report, &content.room);
        let waiting = WaitingWelcome { sender: event.sender.clone(), content, attempts: 0, next: now };
        self.keep_welcome(hash, waiting)?;
        Ok(Ok(()))
    }

    /// Those of strangers, and for rooms that this device is not in, give way to those of members.
    fn has_room_for_welcome(&mut self, sender: &str, room: &RoomId) -> Result<bool, Error<J::Error>> {
        if self.welcomes.len() < MAX_WELCOMES {
            return Ok(true);
        }
        self.known_room(room)?;
        if !self.is_of_member(sender, room) {
            return Ok(false);
        }
        let is_strange = |waiting: &WaitingWelcome| !self.is_of_member(&waiting.sender, &waiting.content.room);
        let strange = self.welcomes.iter().find(|(_, waiting)| is_strange(waiting)).map(|(hash, _)| *hash);
        strange.map_or(Ok(false), |hash| self.drop_welcome(&hash).map(|()| true))
    }

    /// Whether a user is joined in a room that this device takes part in.
    pub(super) fn is_of_member(&self, user: &str, room: &RoomId) -> bool {
        self.rooms.get(room).is_some_and(|room| room.is_active() && room.is_joined(user))
    }

    fn keep_welcome(&mut self, hash: [u8; 32], waiting: WaitingWelcome) -> Result<(), Error<J::Error>> {
        let write = table::put(table::WELCOME, hash.to_vec(), &waiting);
        Durable::new(vec![write], ()).persist(&mut self.journal).map_err(Error::Store)?;
        self.welcomes.insert(hash, waiting);
        Ok(())
    }

    fn drop_welcome(&mut self, hash: &[u8; 32]) -> Result<(), Error<J::Error>> {
        let write = Write::delete(table::WELCOME, hash.to_vec());
        Durable::new(vec![write], ()).persist(&mut self.journal).map_err(Error::Store)?;
        self.welcomes.remove(hash);
        Ok(())
    }

    /// The Welcome's MLSMessage came from the media repository.
    pub(super) fn welcome_body(&mut self, hash: &[u8; 32], bytes: Vec<u8>) -> Result<(), Error<J::Error>> {
        let Some(mut waiting) = self.welcomes.get(hash).cloned() else { return Ok(()) };
        waiting.content.body = Body::Inline(bytes.into());
        self.keep_welcome(*hash, waiting)
    }

    /// What a Welcome waits for could not be had: later again, and one day no more.
    pub(super) fn welcome_delayed(&mut self, hash: &[u8; 32], now: Timestamp) -> Result<(), Error<J::Error>> {
        let Some(mut waiting) = self.welcomes.get(hash).cloned() else { return Ok(()) };
        waiting.next = now.plus((FIRST_PAUSE << waiting.attempts.min(12)).min(LONGEST_PAUSE));
        waiting.attempts += 1;
        if waiting.attempts >= MAX_ATTEMPTS {
            return self.drop_welcome(hash);
        }
        self.keep_welcome(*hash, waiting)
    }

    /// Welcomes whose commit is this event.
    pub(super) fn welcomes_on(&self, room: &RoomId, event_id: &str) -> Vec<[u8; 32]> {
        let on = |waiting: &WaitingWelcome| waiting.content.room == *room && waiting.content.commit_event == event_id;
        self.welcomes.iter().filter(|(_, waiting)| on(waiting)).map(|(hash, _)| *hash).collect()
    }

    /// What this device was welcomed to in a room, by commits that were not seen yet.
    pub(super) fn welcomed(&self, id: &RoomId) -> BTreeSet<EpochId> {
        let Some(room) = self.rooms.get(id) else { return BTreeSet::new() };
        let is_missing = |content: &&WelcomeContent| {
            room.recent_commit(&content.commit_event).is_none() && !room.group.holds(&content.epoch)
        };
        let waiting = self.welcomes.values().map(|waiting| &waiting.content).filter(|content| content.room == *id);
        waiting.filter(is_missing).map(|content| content.epoch).collect()
    }

    /// A member served a commit: if it is that of a Welcome, whatever its server shows, this device joins by it.
    fn served(
        &mut self,
        id: &RoomId,
        event_id: &str,
        commit: &[u8],
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let hashes = self.welcomes_on(id, event_id);
        let Some(room) = self.rooms.get_mut(id) else { return Ok(()) };
        let is_its = |content: &WelcomeContent| room.group.made_by(commit, &content.base) == Some(content.epoch);
        if hashes.iter().filter_map(|hash| self.welcomes.get(hash)).any(|waiting| is_its(&waiting.content)) {
            room.remember_commit(event_id, commit);
            return self.join_by_welcomes(id, now, entropy, report);
        }
        Ok(())
    }

    /// Joins with all Welcomes of the room whose commits are here.
    pub(super) fn join_by_welcomes(
        &mut self,
        id: &RoomId,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let hashes: Vec<_> =
            self.welcomes.iter().filter(|(_, waiting)| waiting.content.room == *id).map(|(hash, _)| *hash).collect();
        for hash in hashes {
            let (Some(room), Some(waiting)) = (self.rooms.get(id), self.welcomes.get(&hash)) else { continue };
            let content = &waiting.content;
            let Body::Inline(bytes) = &content.body else { continue };
            let Some(commit) = room.recent_commit(&content.commit_event) else { continue };
            let welcome = Welcome {
                bytes: bytes.to_vec(),
                commit: commit.to_vec(),
                locator: Locator(content.commit_event.clone()),
                epoch: content.epoch,
                base: content.base.clone(),
                grant: content.grant.clone(),
            };
            let sender = waiting.sender.clone();
            self.join(id, hash, welcome, &sender, now, entropy, report)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn join(
        &mut self,
        id: &RoomId,
        hash: [u8; 32],
        welcome: Welcome,
        sender: &str,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<(), Error<J::Error>> {
        let mut packages = std::mem::take(&mut self.packages);
        let verdict = self.call(
            id,
            entropy,
            report,
            |group, entropy| group.join(welcome, &mut packages, now, entropy),
            |room, _, absorbed| {
                room.writes.push(Write::delete(table::WELCOME, hash.to_vec()));
                if super::events::joined(&absorbed.verdict) {
                    room.record.edit().waiting_since = None;
                }
                Ok(())
            },
        );
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(error) => {
                // What was used up in memory only is still there on disk.
                self.packages = KeyPackages::load(&self.journal)?;
                return Err(error);
            }
        };
        self.packages = packages;
        if verdict.is_none() {
            return self.welcome_delayed(&hash, now);
        }
        self.welcomes.remove(&hash);
        if let Some(code) = verdict.as_ref().and_then(refused_code) {
            report.remarks.push(remark(Some(id), sender, code, "Welcome refused"));
        }
        Ok(())
    }

    fn take_commit_request(
        &mut self,
        event: &ToDeviceEvent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        let request = match CommitRequest::parse(&event.content) {
            Ok(request) => request,
            Err(malformed) => return Ok(Err(malformed)),
        };
        let from = asker(&event.sender, &request);
        let input = Input::CommitRequest { epochs: request.epochs, from };
        self.take_from_member(&request.room, &event.sender, input, now, entropy, report)
    }

    fn take_commit_reply(
        &mut self,
        event: &ToDeviceEvent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        let reply = match CommitReply::parse(&event.content) {
            Ok(reply) => reply,
            Err(malformed) => return Ok(Err(malformed)),
        };
        for ServedCommit { locator, bytes, makes } in reply.commits {
            let story = makes.and_then(|makes| CommitContent::said(&reply.room, &bytes, makes));
            let at = locator.clone().unwrap_or_default();
            if self.listens_to(&reply.room, &event.sender)? {
                self.served(&reply.room, &at.0, &bytes, now, entropy, report)?;
            }
            let input = Input::Commit { bytes, locator, from: event.sender.clone() };
            let taken = self.take_from_member(&reply.room, &event.sender, input, now, entropy, report)?;
            if taken.is_err() {
                return Ok(taken);
            }
            if let (Some(story), Some(room)) = (story, self.rooms.get_mut(&reply.room)) {
                room.hear(&story, &at.0, &event.sender);
            }
        }
        self.flush(&reply.room)?;
        Ok(Ok(()))
    }

    fn take_merge_request(
        &mut self,
        event: &ToDeviceEvent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        let (from, request) = match (authenticated(event), MergeRequest::parse(&event.content)) {
            (Ok(from), Ok(request)) => (from, request),
            (Err(malformed), _) | (_, Err(malformed)) => return Ok(Err(malformed)),
        };
        let input = Input::MergeRequest { epoch: request.epoch, from };
        self.take_from_member(&request.room, &event.sender, input, now, entropy, report)
    }

    fn take_merge_reply(
        &mut self,
        event: &ToDeviceEvent,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        let (from, reply) = match (authenticated(event), MergeReply::parse(&event.content)) {
            (Ok(from), Ok(reply)) => (from, reply),
            (Err(malformed), _) | (_, Err(malformed)) => return Ok(Err(malformed)),
        };
        let input = Input::MergeReply { epoch: reply.epoch, value: reply.value, from };
        self.take_from_member(&reply.room, &event.sender, input, now, entropy, report)
    }

    /// Only joined users of a room that this device takes part in are listened to.
    fn listens_to(&mut self, id: &RoomId, sender: &str) -> Result<bool, Error<J::Error>> {
        let room = self.known_room(id)?;
        Ok(room.is_some_and(|room| room.is_active() && room.is_joined(sender) && !room.is_flooded()))
    }

    fn take_from_member(
        &mut self,
        id: &RoomId,
        sender: &str,
        input: Input,
        now: Timestamp,
        entropy: &mut dyn Entropy,
        report: &mut Report,
    ) -> Result<Result<(), Malformed>, Error<J::Error>> {
        if self.known_room(id)?.is_none() {
            return Ok(Err(Malformed("unknown_room")));
        }
        if !self.listens_to(id, sender)? {
            return Ok(Err(Malformed("not_a_member")));
        }
        let verdict: Option<Verdict> = self.handle(id, input, now, entropy, report)?;
        if let Some(code) = verdict.as_ref().and_then(refused_code) {
            report.remarks.push(remark(Some(id), sender, code, "to-device message refused"));
        }
        Ok(Ok(()))
    }
}

/// The device that Olm and cross-signing vouch for.
fn authenticated(event: &ToDeviceEvent) -> Result<Device, Malformed> {
    let device = event.sender_device.clone().filter(|_| event.encrypted).ok_or(Malformed("not_encrypted"))?;
    if device.user == event.sender { Ok(device) } else { Err(Malformed("rejected_sender")) }
}

/// A commit among fetched events, for a Welcome or a search.
pub(super) fn commit_of(id: &RoomId, content: &serde_json::Value) -> Option<room::CommitContent> {
    match room::parse(id, content) {
        Ok(room::Sealed::Commit(commit)) if room::is_ours(content) => Some(commit),
        _ => None,
    }
}
