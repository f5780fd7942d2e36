//! What is to be asked of the homeserver now: listed from the state, so that nothing is forgotten and nothing twice.

use std::collections::BTreeMap;

use dmls::defence;
use dmls::entropy::Entropy;
use dmls::group::{CommitHeader, inspect_commit};
use dmls::id::{Device, EpochId, Timestamp};
use dmls::journal::Journal;
use serde_json::Value;

use super::Machine;
use crate::error::Error;
use crate::id::{RequestId, RoomId};
use crate::names::{ENCRYPTED, key_package_algorithm};
use crate::request::{OutgoingRequest, Request};
use crate::room::Room;
use crate::room::queue::{CommitItem, Draft, Item, SealedDraft, WelcomeItem};
use crate::wire::room::{Media, ask_content, commit_content, message_content};
use crate::wire::welcome::{self, Body, Carrier};

/// To-device requests of one room listed at once.
const MAX_TO_DEVICE: usize = 16;
/// Events of one page.
const PAGE: u16 = 100;
/// Largest GroupInfo or Welcome that is downloaded.
const MAX_MEDIA: usize = 64 << 20;

/// What an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ticket {
    Keys,
    Query(u64),
    WelcomeBody([u8; 32], [u8; 32]),
    Room(RoomId, RoomTicket),
}

/// Numbers are those of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RoomTicket {
    Claim(u64),
    CommitUpload(u64),
    CommitEvent(u64),
    AskEvent(u64),
    WelcomeUpload(u64),
    WelcomeSend(u64),
    DraftEvent(u64),
    ToDevice(u64),
    Fetch(String),
    Gap(String),
    Page(u64),
    Members,
    EntryInfo(EpochId, Media),
}

impl RoomTicket {
    /// Whether the request may be repeated after a crash: it has a transaction id, and nothing else follows from it; or
    /// it is an upload, whose address is named under a transaction id.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(
            self,
            Self::DraftEvent(_)
                | Self::AskEvent(_)
                | Self::WelcomeSend(_)
                | Self::ToDevice(_)
                | Self::CommitUpload(_)
                | Self::WelcomeUpload(_)
        )
    }

    fn text(&self) -> String {
        match self {
            Self::Claim(number) => format!("claim {number}"),
            Self::CommitUpload(number) => format!("group-info {number}"),
            Self::CommitEvent(number) => format!("commit {number}"),
            Self::AskEvent(number) => format!("ask {number}"),
            Self::WelcomeUpload(number) => format!("welcome-media {number}"),
            Self::WelcomeSend(number) => format!("welcome {number}"),
            Self::DraftEvent(number) => format!("message {number}"),
            Self::ToDevice(number) => format!("to-device {number}"),
            Self::Fetch(event_id) => format!("event {event_id}"),
            Self::Gap(from) => format!("gap {from}"),
            Self::Page(serial) => format!("page {serial}"),
            Self::Members => "members".to_owned(),
            Self::EntryInfo(epoch, media) => format!("entry {epoch} {}", media.digest()),
        }
    }
}

impl Ticket {
    fn id(&self) -> RequestId {
        RequestId(match self {
            Self::Keys => "keys".to_owned(),
            Self::Query(number) => format!("query {number}"),
            Self::WelcomeBody(hash, _) => format!("welcome-body {}", crate::names::base64url(hash)),
            Self::Room(room, ticket) => format!("{room} {}", ticket.text()),
        })
    }
}

/// Failures of one request, and when it is listed again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pause {
    pub(super) failures: u32,
    pub(super) until: Timestamp,
}

impl<J: Journal> Machine<J> {
    /// Does what is due in every room and lists what is to be asked of the homeserver now.
    ///
    /// A request is listed again until it is marked; within a room, ordered requests come one at a time. Call it again
    /// after marking, until it gives nothing. What is to be told of it stands in the next report.
    pub fn outgoing_requests(
        &mut self,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<OutgoingRequest>, Error<J::Error>> {
        self.recover()?;
        if self.account.own.is_none() {
            return Ok(Vec::new());
        }
        let tended = self.tend(now, entropy);
        self.conclude(tended)?;
        self.facts.start(now);
        let mut listing = Listing { now, pauses: &self.pauses, out: Vec::new(), tickets: BTreeMap::new() };
        self.list_account(&mut listing);
        for (id, room) in &self.rooms {
            if room.is_active() {
                room.list(!self.awaits_facts(room), &mut listing);
                self.list_entry(id, room, &mut listing);
            }
        }
        let Listing { out, tickets, .. } = listing;
        // A request that was listed before may still be answered.
        self.tickets = tickets;
        self.wake = self.next_action(now);
        Ok(out)
    }

    /// Does what is due, in every room.
    fn tend(&mut self, now: Timestamp, entropy: &mut dyn Entropy) -> Result<(), Error<J::Error>> {
        self.tend_keys(now, entropy)?;
        let mut report = std::mem::take(&mut self.untold);
        let ids: Vec<_> = self.known.iter().cloned().collect();
        for id in &ids {
            self.tend_room(id, now, entropy, &mut report)?;
            self.unload()?;
        }
        self.untold = report;
        Ok(())
    }

    fn list_account(&self, listing: &mut Listing<'_>) {
        if let Some(request) = self.keys.request() {
            listing.add(Ticket::Keys, || request);
        }
        for (number, users) in self.facts.running() {
            listing.add(Ticket::Query(number), || Request::KeysQuery { users: users.to_vec() });
        }
        for (hash, waiting) in &self.welcomes {
            let Some(room) = self.rooms.get(&waiting.content.room).filter(|room| room.is_active()) else { continue };
            // A stranger who knows the room's name could have much downloaded and kept. Who sent a Welcome and left since is
            // none: what was said meanwhile is to be read.
            if waiting.next > listing.now || !room.knows_member(&waiting.sender) {
                continue;
            }
            if let Body::Media(media) = &waiting.content.body {
                let (mxc, sha256) = (media.url.clone(), media.sha256);
                let download = || Request::Download { mxc, sha256, max: MAX_MEDIA };
                listing.add(Ticket::WelcomeBody(*hash, sha256), download);
            }
            if room.recent_commit(&waiting.content.commit_event).is_none() {
                listing.fetch(room, &waiting.content.commit_event);
            }
        }
    }

    /// The GroupInfo of the best entry point, for an external commit.
    fn list_entry(&self, id: &RoomId, room: &Room, listing: &mut Listing<'_>) {
        if room.group_info.is_some() {
            return;
        }
        let entry = room.best_entry().filter(|_| !room.group.in_group() && self.may_enter(id, listing.now)).cloned();
        let Some(entry) = entry else { return };
        let (mxc, sha256) = (entry.group_info.url.clone(), entry.group_info.sha256);
        let ticket = RoomTicket::EntryInfo(entry.epoch.id, entry.group_info);
        listing.add_in(room, ticket, || Request::Download { mxc, sha256, max: MAX_MEDIA });
    }

    fn next_action(&self, now: Timestamp) -> Option<Timestamp> {
        let after = self.parameters.external_join_after;
        let rooms = self.rooms.values().filter(|room| room.is_active()).filter_map(|room| room.next_action(now, after));
        let pauses = self.pauses.values().map(|pause| pause.until);
        let welcomes = self.welcomes.values().map(|waiting| waiting.next);
        let own = [self.facts.next_try(), self.keys.next_retirement(), self.packages.next_expiry()];
        let all = rooms.chain(pauses).chain(welcomes).chain(own.into_iter().flatten());
        all.filter(|at| *at > now).min()
    }

    /// When [`Machine::outgoing_requests`] should be called again although nothing comes in.
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        self.wake.map(|wake| wake.max(now))
    }

    /// Whether nothing is to be sent now and nothing comes due within `horizon_ms`.
    ///
    /// Call it after [`Machine::outgoing_requests`] gave nothing. Requests that wait because a server is away or asked
    /// for patience beyond the horizon do not count: [`RoomRow::unsent`](crate::view::RoomRow::unsent) shows them.
    pub fn idle(&self, now: Timestamp, horizon_ms: u64) -> bool {
        self.tickets.is_empty() && self.wake.is_none_or(|wake| wake >= now.plus(horizon_ms))
    }
}

/// The list in the making.
pub(super) struct Listing<'a> {
    now: Timestamp,
    pauses: &'a BTreeMap<RequestId, Pause>,
    out: Vec<OutgoingRequest>,
    tickets: BTreeMap<RequestId, Ticket>,
}

impl Listing<'_> {
    /// Adds a request unless it pauses. `false` when it does.
    fn add(&mut self, ticket: Ticket, request: impl FnOnce() -> Request) -> bool {
        let id = ticket.id();
        if self.pauses.get(&id).is_some_and(|pause| pause.until > self.now) {
            return false;
        }
        if !self.tickets.contains_key(&id) {
            self.out.push(OutgoingRequest { id: id.clone(), request: request() });
            self.tickets.insert(id, ticket);
        }
        true
    }

    /// The transaction id that was stored: a request that is repeated is known by it (SPEC §6.10).
    fn stable(&self, txn_id: &str) -> String {
        if defence::on("S2") { txn_id.to_owned() } else { format!("{txn_id}-{}", self.now.0) }
    }

    fn add_in(&mut self, room: &Room, ticket: RoomTicket, request: impl FnOnce() -> Request) -> bool {
        self.add(Ticket::Room(room.id.clone(), ticket), request)
    }

    fn fetch(&mut self, room: &Room, event_id: &str) {
        let (room_id, event_id) = (room.id.clone(), event_id.to_owned());
        let ticket = RoomTicket::Fetch(event_id.clone());
        self.add_in(room, ticket, || Request::FetchEvent { room: room_id, event_id });
    }
}

fn upload(bytes: Vec<u8>) -> Request {
    Request::Upload { bytes, content_type: "application/octet-stream".to_owned() }
}

impl Room {
    fn list(&self, may_speak: bool, listing: &mut Listing<'_>) {
        self.list_ordered(may_speak, listing);
        self.list_to_device(listing);
        self.list_claims(listing);
        self.list_reading(listing);
    }

    /// The commit with its GroupInfo, then its Welcomes, then messages: one at a time.
    ///
    /// While it is being asked whose devices changed no message is listed: the answer may close the epoch it is sealed in.
    fn list_ordered(&self, may_speak: bool, listing: &mut Listing<'_>) {
        if let Some(number) = self.unpublished() {
            if let Some(Item::Commit(commit)) = self.queue.get(&number) {
                self.list_commit(number, commit, listing);
            }
            return;
        }
        if let Some((number, ask)) = self.unsent_ask() {
            listing.add_in(self, RoomTicket::AskEvent(number), || Request::RoomEvent {
                room: self.id.clone(),
                event_type: ENCRYPTED.to_owned(),
                txn_id: ask.txn_id.clone(),
                content: ask_content(&ask.bytes),
            });
        }
        for (number, item) in &self.queue {
            let Item::Welcome(welcome) = item else { continue };
            // A Welcome that pauses holds nobody up.
            if self.list_welcome(*number, welcome, listing) {
                return;
            }
        }
        if let Some((number, Item::Draft(draft))) =
            self.first_draft().filter(|_| may_speak).and_then(|number| self.queue.get_key_value(&number))
        {
            self.list_draft(*number, draft, listing);
        }
    }

    /// An epoch that is not held any more cannot be shown: then the commit goes without a GroupInfo, and others enter
    /// elsewhere.
    fn list_commit(&self, number: u64, commit: &CommitItem, listing: &mut Listing<'_>) {
        if let (None, Some(group_info)) = (&commit.media, self.group.group_info(&commit.epoch)) {
            listing.add_in(self, RoomTicket::CommitUpload(number), || upload(group_info.bytes()));
            return;
        }
        let (Some(bytes), Some(makes)) = (self.group.commit(&commit.epoch), self.group.reference(&commit.epoch)) else {
            return;
        };
        let Ok(CommitHeader { base, resolves, .. }) = inspect_commit(bytes) else { return };
        listing.add_in(self, RoomTicket::CommitEvent(number), || Request::RoomEvent {
            room: self.id.clone(),
            event_type: ENCRYPTED.to_owned(),
            txn_id: commit.txn_id.clone(),
            content: commit_content(bytes, &base, &resolves, &makes, commit.media.as_ref()),
        });
    }

    fn list_welcome(&self, number: u64, item: &WelcomeItem, listing: &mut Listing<'_>) -> bool {
        let Some(kept) = self.own_welcomes.get(&item.epoch) else { return false };
        let body = match &item.media {
            Some(media) => Carrier::Media(media),
            None if kept.is_large() => {
                let upload = || upload(kept.bytes().to_vec());
                return listing.add_in(self, RoomTicket::WelcomeUpload(number), upload);
            }
            None => Carrier::Inline(kept.bytes()),
        };
        let one = |device: &Device| {
            let (base, grant) = kept.proofs(device)?;
            let content = welcome::content(&self.id, &item.commit_event, &item.epoch, base, grant, body);
            Some((device.clone(), content))
        };
        listing.add_in(self, RoomTicket::WelcomeSend(number), || Request::ToDevice {
            txn_id: item.txn_id.clone(),
            event_type: ENCRYPTED.to_owned(),
            messages: item.to.iter().filter_map(one).collect(),
            encrypt: false,
        })
    }

    fn list_draft(&self, number: u64, draft: &Draft, listing: &mut Listing<'_>) {
        let released = |sealed: &&SealedDraft| !self.record.members_stale && self.group.may_release(&sealed.epoch.id);
        let Some(sealed) = draft.sealed.as_ref().filter(released) else { return };
        let txn_id = listing.stable(&sealed.txn_id);
        listing.add_in(self, RoomTicket::DraftEvent(number), || Request::RoomEvent {
            room: self.id.clone(),
            event_type: ENCRYPTED.to_owned(),
            txn_id,
            content: message_content(&sealed.bytes, &sealed.epoch),
        });
    }

    fn list_to_device(&self, listing: &mut Listing<'_>) {
        let items = self.queue.iter().filter_map(|(number, item)| match item {
            Item::ToDevice(item) => Some((*number, item)),
            _ => None,
        });
        for (number, item) in items.take(MAX_TO_DEVICE) {
            let content: Value = serde_json::from_str(&item.content).unwrap_or_default();
            listing.add_in(self, RoomTicket::ToDevice(number), || Request::ToDevice {
                txn_id: item.txn_id.clone(),
                event_type: item.event_type.clone(),
                messages: vec![(item.to.clone(), content)],
                encrypt: item.encrypt,
            });
        }
    }

    fn list_claims(&self, listing: &mut Listing<'_>) {
        for (number, devices) in self.claims.running() {
            listing.add_in(self, RoomTicket::Claim(number), || Request::KeysClaim {
                room: self.id.clone(),
                algorithm: key_package_algorithm(),
                devices: devices.to_vec(),
            });
        }
    }

    fn list_reading(&self, listing: &mut Listing<'_>) {
        if self.record.members_stale {
            listing.add_in(self, RoomTicket::Members, || Request::Members { room: self.id.clone() });
        }
        if let Some(gap) = &self.record.gap {
            let from = Some(gap.from.clone());
            let ticket = RoomTicket::Gap(gap.from.clone());
            listing.add_in(self, ticket, || Request::Messages { room: self.id.clone(), from, limit: PAGE });
        } else if let Some(run) = &self.paging.run {
            let from = run.from.clone();
            let ticket = RoomTicket::Page(run.serial);
            listing.add_in(self, ticket, || Request::Messages { room: self.id.clone(), from, limit: PAGE });
        }
        for search in self.searches.values() {
            let fetches =
                matches!(search.stage, crate::room::record::Stage::Fetch | crate::room::record::Stage::FetchAgain);
            if let Some(hint) = search.hint().filter(|_| fetches && search.next <= listing.now) {
                listing.fetch(self, hint);
            }
        }
    }
}
