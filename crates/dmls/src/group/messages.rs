//! Application messages: sealed in the canonical epoch, opened in theirs.

use super::{Batch, Group, Standing, rejected};
use crate::codec::push_vector;
use crate::defence;
use crate::device::OwnDevice;
use crate::effect::{Applied, Notice, Opened, Readiness, SealedMessage, Settled, Verdict};
use crate::entropy::Entropy;
use crate::error::{GroupError, Reason};
use crate::frame::MessageFrame;
use crate::id::{Device, EpochId, LeafIndex, Locator, Sequence, SignatureKey, Timestamp};
use crate::journal::Durable;
#[cfg(dmls_mutants)]
use crate::members::Leaf;
use crate::mls::{MAX_AHEAD, Refusal};
use crate::pending::{Kind, On, Waiting};
use crate::suite::Suite;
use crate::wire::{Left, MessageData};

/// What a message's maker may know and sign while it is being sealed.
pub struct SealContext<'a> {
    /// The epoch it will be sealed in.
    pub epoch: EpochId,
    /// This device's leaf.
    pub leaf: LeafIndex,
    /// This device's count in the epoch.
    pub sequence: Sequence,
    own: &'a OwnDevice,
}

impl SealContext<'_> {
    /// Signs (EpochId, leaf, sequence, content), so that restored history can be verified (SPEC §6.4).
    pub fn sign(&self, content: &[u8]) -> [u8; 64] {
        self.own.signing().sign(&content_payload(&self.epoch, self.leaf, self.sequence, content))
    }
}

/// Checks what [`SealContext::sign`] made.
pub fn verify_content(
    suite: &dyn Suite,
    key: &SignatureKey,
    epoch: &EpochId,
    leaf: LeafIndex,
    sequence: Sequence,
    content: &[u8],
    signature: &[u8; 64],
) -> bool {
    suite.verify(&key.0, &content_payload(epoch, leaf, sequence, content), signature)
}

fn content_payload(epoch: &EpochId, leaf: LeafIndex, sequence: Sequence, content: &[u8]) -> Vec<u8> {
    if !defence::on("I6") {
        return content.to_vec();
    }
    let mut out = b"DMLS 1.0 content".to_vec();
    out.extend(epoch.0);
    out.extend(leaf.0.to_be_bytes());
    out.extend(sequence.0.to_be_bytes());
    push_vector(&mut out, content);
    out
}

/// Why a message does not count that `sender` sealed under this generation: it is somebody else's copy, or was sealed again
/// by a member under another of the sender's keys.
fn misplaced(data: &MessageData, generation: u32, sender: &Device, from: &str) -> Option<Reason> {
    if sender.user != from && defence::on("I11") {
        return Some(Reason::RejectedSender);
    }
    let elsewhere = generation != data.sequence().0 && defence::on("C17");
    elsewhere.then_some(Reason::Replay)
}

/// How far ahead of what was opened before a message may be.
#[derive(Clone, Copy)]
enum Reach {
    Near,
    /// What lies between cannot come any more.
    PastGaps,
}

impl Group {
    /// Seals one message in the epoch of [`Group::readiness`]; the used key is durable before the bytes can be sent.
    pub fn seal(
        &mut self,
        compose: &mut dyn FnMut(&SealContext<'_>) -> Vec<u8>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Durable<SealedMessage>, GroupError> {
        let id = match self.readiness() {
            Readiness::Ready(id) => id,
            Readiness::CommitFirst(_) => return Err(GroupError::CommitFirst),
            Readiness::NotInGroup => return Err(GroupError::NotInGroup),
        };
        let leaf = self.dag.get(&id).and_then(|epoch| epoch.own_leaf).ok_or(GroupError::NotInGroup)?;
        let sequence = Sequence(self.traffic.get(&id).map_or(0, |traffic| traffic.sent));
        let plaintext = zeroize::Zeroizing::new(compose(&SealContext { epoch: id, leaf, sequence, own: &self.own }));
        let data = MessageData::new(id, sequence, self.dag.head_ids(), self.left(&id, sequence));
        let held = self.held.get(&id).ok_or(GroupError::NotInGroup)?;
        let maker = self.own.maker();
        let (turn, bytes) = held.epoch.seal(&held.ratchets, &maker, &data.encode(), &plaintext, entropy)?;
        let mut batch = Batch::default();
        batch.writes.extend(self.held.advance(&id, turn));
        self.traffic.entry(id).or_default().sent += 1;
        batch.writes.extend(self.traffic_record(&id));
        if self.last_sent != Some(id) {
            self.last_sent = Some(id);
            batch.writes.push(self.group_record());
        }
        self.turns.act(now);
        self.turns.hear(self.own.device(), now);
        let epoch = self.dag.get(&id).ok_or(GroupError::NotInGroup)?.reference();
        Ok(Durable::new(batch.writes, SealedMessage { epoch, sequence, bytes }))
    }

    /// On the first message in an epoch: the one left, and how many were sent there.
    fn left(&self, id: &EpochId, sequence: Sequence) -> Option<Left> {
        let last = self.last_sent.filter(|last| last != id && sequence.0 == 0)?;
        Some(Left { epoch: last.0, sent: self.traffic.get(&last).map_or(0, |traffic| traffic.sent) })
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn take_message(
        &mut self,
        bytes: Vec<u8>,
        locator: Locator,
        from: String,
        commit: Option<Locator>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Verdict, GroupError> {
        let data = match self.read_message(&bytes) {
            Ok(data) => data,
            Err(reason) => return Ok(rejected(reason, None)),
        };
        match self.standing(&data.epoch()) {
            Standing::Held => match self.open(&bytes, &data, &from, Reach::Near, batch) {
                Some(verdict) => {
                    // Only a message that opened shows who is there, and how far its sender is.
                    if let Verdict::Applied(applied) = &verdict {
                        if let Applied::Message(opened) = applied {
                            self.turns.hear(&opened.device, now);
                        }
                        self.release_later(&data, &from, batch);
                    }
                    Ok(verdict)
                }
                None => {
                    let on = On::Earlier { epoch: data.epoch(), generation: data.sequence().0 };
                    let waiting = self.waiting(Kind::Message, bytes, Some(locator), from, commit, on, now);
                    Ok(self.put_off(waiting, batch))
                }
            },
            Standing::Gone => Ok(rejected(Reason::BeyondWindow, None)),
            Standing::Removed if self.knows(&data.epoch()) => Ok(rejected(Reason::Removed, None)),
            // An epoch that is not known may lie on a fork where nobody had seen the removal.
            Standing::Removed | Standing::BeforeJoin | Standing::NotInEpoch | Standing::Unknown | Standing::NoGroup => {
                // A Welcome may still bring the epoch, so nothing is refused for good before its time is up.
                let on = On::Epoch(data.epoch(), commit.clone());
                let waiting = self.waiting(Kind::Message, bytes, Some(locator), from, commit, on, now);
                Ok(self.put_off(waiting, batch))
            }
        }
    }

    fn read_message(&self, bytes: &[u8]) -> Result<MessageData, Reason> {
        let frame = MessageFrame::parse(bytes)?;
        if frame.group != self.id.as_bytes() {
            return Err(Reason::OtherGroup);
        }
        MessageData::parse(frame.authenticated_data)
    }

    /// A waiting message whose epoch has come. `None` when it must go on waiting.
    pub(super) fn open_waiting(&mut self, waiting: Waiting, batch: &mut Batch) -> Result<Option<Verdict>, GroupError> {
        let data = match self.read_message(&waiting.bytes) {
            Ok(data) => data,
            Err(reason) => return Ok(Some(rejected(reason, None))),
        };
        match self.standing(&data.epoch()) {
            Standing::Held => {
                let verdict = self.open(&waiting.bytes, &data, &waiting.from, Reach::Near, batch);
                if verdict.is_none() {
                    let on = On::Earlier { epoch: data.epoch(), generation: data.sequence().0 };
                    let waiting = Waiting { on, ..waiting };
                    batch.writes.push(self.waiting_record(&waiting));
                    self.pending.insert(waiting);
                }
                Ok(verdict)
            }
            Standing::Removed => Ok(Some(rejected(Reason::Removed, None))),
            _ => Ok(Some(rejected(Reason::BeyondWindow, None))),
        }
    }

    /// What its sender said later in the epoch may be within reach now. A user's devices have ratchets of their own: what
    /// is still out of reach goes on waiting.
    fn release_later(&mut self, data: &MessageData, from: &str, batch: &mut Batch) {
        let mut reach = data.sequence().0.saturating_add(MAX_AHEAD);
        loop {
            let mut progress = false;
            for key in self.pending.freed_by_message(from, &data.epoch(), reach) {
                let Some(waiting) = self.pending.get(&key).cloned() else { continue };
                let Ok(later) = self.read_message(&waiting.bytes) else { continue };
                let verdict = self.open_late(&waiting.bytes, &later, from, Reach::Near, batch);
                let Some(verdict) = verdict else { continue };
                if matches!(verdict, Verdict::Applied(_)) {
                    (reach, progress) = (reach.max(later.sequence().0.saturating_add(MAX_AHEAD)), true);
                }
                self.pending.remove(&key);
                batch.writes.push(self.forget_waiting(&key));
                batch.settled.push(Settled { locator: waiting.locator, verdict });
            }
            if !progress {
                return;
            }
        }
    }

    /// The last verdict on what waited until its time was up: what lies before a message cannot come any more, and what
    /// its sender says from now on must not wait for it, too.
    pub(super) fn settle(&mut self, waiting: &Waiting, batch: &mut Batch) -> Verdict {
        let expired = || rejected(Reason::Expired, None);
        let (On::Earlier { .. }, Ok(data)) = (&waiting.on, self.read_message(&waiting.bytes)) else { return expired() };
        self.open_late(&waiting.bytes, &data, &waiting.from, Reach::PastGaps, batch).unwrap_or_else(expired)
    }

    /// As [`Self::open`], for what waited for earlier messages. Many may wait, and each has keys worked out: so only for
    /// what says that it is by who sent it and of its own place, and no more of it once too much of it was invented
    /// (SPEC §6.2).
    fn open_late(
        &mut self,
        bytes: &[u8],
        data: &MessageData,
        from: &str,
        reach: Reach,
        batch: &mut Batch,
    ) -> Option<Verdict> {
        let id = data.epoch();
        let said = self.held.get(&id).and_then(|held| Some((held, held.epoch.sealed_as(bytes).ok()?)));
        let Some((held, (leaf, generation))) = said else { return self.open(bytes, data, from, reach, batch) };
        let sender = self.dag.get(&id).and_then(|epoch| epoch.members.get(LeafIndex(leaf)));
        if let Some(reason) = sender.and_then(|sender| misplaced(data, generation, &sender.device, from)) {
            return Some(rejected(reason, None));
        }
        if held.is_worn_out(leaf) {
            return Some(rejected(Reason::BeyondWindow, None));
        }
        let distance = held.ratchets.distance(leaf, generation);
        let verdict = self.open(bytes, data, from, reach, batch);
        if matches!(verdict, Some(Verdict::Rejected { .. })) {
            self.held.note_vain(&id, leaf, distance);
        }
        verdict
    }

    /// Opens a message of a held epoch; `None` if its key is out of reach.
    fn open(
        &mut self,
        bytes: &[u8],
        data: &MessageData,
        from: &str,
        reach: Reach,
        batch: &mut Batch,
    ) -> Option<Verdict> {
        let id = data.epoch();
        let Some(held) = self.held.get(&id) else { return Some(rejected(Reason::BeyondWindow, None)) };
        let opened = match reach {
            Reach::Near => held.epoch.open_message(&held.ratchets, bytes),
            Reach::PastGaps => held.epoch.open_past_a_gap(&held.ratchets, bytes),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Refusal::OwnMessage) => return Some(self.own_echo(&id, data.sequence(), batch)),
            // Only what says of itself that it comes so late is worth the wait.
            Err(Refusal::TooFarAhead) if data.sequence().0 > MAX_AHEAD => return None,
            Err(refusal) => return Some(rejected(refusal.into(), None)),
        };
        let members = self.dag.get(&id).map(|epoch| &epoch.members);
        let sender = members.and_then(|members| members.get(LeafIndex(opened.sender))).cloned();
        let Some(sender) = sender else { return Some(rejected(Reason::Forged, None)) };
        #[cfg(dmls_mutants)]
        let sender = self.named_by_newest_tree(sender);
        if let Some(reason) = misplaced(data, opened.turn.generation(), &sender.device, from) {
            // The key stays for the message itself, which may come later (SPEC §2.9).
            return Some(rejected(reason, None));
        }
        if defence::on("I5") {
            batch.writes.extend(self.held.advance(&id, opened.turn));
        }
        let device = sender.device;
        self.note_heads(data, &device, batch);
        Some(Verdict::Applied(Applied::Message(Opened {
            left: data.left.as_ref().map(|left| (EpochId(left.epoch), left.sent)),
            epoch: id,
            leaf: sender.index,
            device,
            key: sender.key,
            suite: self.own.suite(),
            sequence: data.sequence(),
            plaintext: opened.plaintext,
        })))
    }

    /// The rule without the defence against I3: a leaf belongs to whom it belongs now.
    #[cfg(dmls_mutants)]
    fn named_by_newest_tree(&self, sender: Leaf) -> Leaf {
        let newest = self.canonical().and_then(|id| self.dag.get(&id)).filter(|_| !defence::on("I3"));
        let now = newest.and_then(|epoch| epoch.members.get(sender.index));
        now.cloned().unwrap_or(sender)
    }

    /// A message of one's own leaf: an echo, unless this device never made it (SPEC §7.7).
    fn own_echo(&self, epoch: &EpochId, sequence: Sequence, batch: &mut Batch) -> Verdict {
        if self.traffic.get(epoch).is_none_or(|traffic| sequence.0 >= traffic.sent) && defence::on("S4") {
            batch.notices.push(Notice::Clone { epoch: *epoch });
        }
        Verdict::Known
    }

    fn note_heads(&self, data: &MessageData, device: &Device, batch: &mut Batch) {
        let unknown = data.head_ids().iter().filter(|short| !self.dag.knows_short(short)).count();
        if unknown > 0 && defence::on("Z1") {
            let count = u16::try_from(unknown).unwrap_or(u16::MAX);
            batch.notices.push(Notice::UnknownHeads { device: device.clone(), count });
        }
    }
}
