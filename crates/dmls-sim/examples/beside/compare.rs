//! Whether OpenMLS says the same as our devices.

use std::collections::BTreeMap;
use std::fmt;

use dmls::effect::EpochInfo;
use dmls::id::EpochId;
use dmls_sim::trace::Name;
use sha2::{Digest as _, Sha256};

use super::follower::{self, Room, Verdicts};
use super::seen::{Seen, Sent};

/// What was compared, and what came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Runs.
    pub seeds: u64,
    /// Events with a PublicMessage.
    pub commits: u64,
    /// OpenMLS takes it, and so does a device.
    pub accepted: u64,
    /// OpenMLS refuses it, and so do all devices that say anything of it.
    pub refused: u64,
    /// Devices other than the one that posted it which took an accepted commit.
    pub by_others: u64,
    /// Epochs whose members, tree and tree hash both engines were asked for.
    pub trees: u64,
    /// EpochIds that devices gave.
    pub ids: u64,
    /// GroupContexts with confirmation tags that devices had stored.
    pub contexts: u64,
    /// Lists of members that devices showed.
    pub lists: u64,
    /// GroupInfos beside commits.
    pub infos: u64,
    /// Commits altered in one bit, or taken to another epoch of the same number, that both engines refuse.
    pub wrong_refused: u64,
    /// Of those, what both take: what was altered only members can check.
    pub wrong_taken: u64,
    /// Lawful differences, by name.
    pub named: BTreeMap<String, u64>,
    /// What should not be.
    pub findings: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: u64 = self.named.values().sum();
        write!(f, "seeds {} commits {} accepted by both {} ", self.seeds, self.commits, self.accepted)?;
        write!(f, "(by {} others) refused by both {} named {named} | ", self.by_others, self.refused)?;
        write!(f, "equal: trees {} ids {} contexts {} ", self.trees, self.ids, self.contexts)?;
        write!(f, "lists {} infos {} | altered: refused by both {} ", self.lists, self.infos, self.wrong_refused)?;
        write!(f, "taken by both {} | findings {}", self.wrong_taken, self.findings.len())?;
        self.named.iter().try_for_each(|(name, count)| write!(f, "\n  {count} {name}"))
    }
}

impl Report {
    /// Adds another report to this one.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.commits += other.commits;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.by_others += other.by_others;
        self.trees += other.trees;
        self.ids += other.ids;
        self.contexts += other.contexts;
        self.lists += other.lists;
        self.infos += other.infos;
        self.wrong_refused += other.wrong_refused;
        self.wrong_taken += other.wrong_taken;
        for (name, count) in other.named {
            *self.named.entry(name).or_default() += count;
        }
        self.findings.extend(other.findings);
    }

    fn name(&mut self, name: String) {
        *self.named.entry(name).or_default() += 1;
    }

    fn find(&mut self, what: String) {
        self.findings.push(what);
    }

    /// Counts what holds, and finds what does not.
    fn hold(&mut self, count: fn(&mut Self) -> &mut u64, holds: bool, what: impl FnOnce() -> String) {
        if holds { *count(self) += 1 } else { self.find(what()) }
    }
}

/// Lets OpenMLS follow a run.
pub fn compare(seen: &Seen) -> Report {
    let (report, room) = (Report { seeds: 1, ..Report::default() }, Room::default());
    let mut comparison = Comparison { seen, room, report };
    comparison.begin();
    comparison.follow();
    comparison.compare_contexts();
    comparison.compare_lists();
    comparison.report
}

/// Confirmation and membership tag, each with its length: a commit ends with them, and only members can check them.
const TAGS: usize = 66;

struct Comparison<'a> {
    seen: &'a Seen,
    room: Room,
    report: Report,
}

impl Comparison<'_> {
    fn begin(&mut self) {
        if self.seen.unreadable > 0 {
            self.report.find(format!("{} records of held epochs cannot be read", self.seen.unreadable));
        }
        for (id, info) in &self.seen.roots {
            match self.room.enter(info) {
                Ok(theirs) => self.report.hold(|report| &mut report.ids, theirs == *id, || format!("first epoch {id}")),
                Err(why) => self.report.find(format!("first epoch {id}: {why}")),
            }
        }
    }

    /// Parents before children, however late a parent was posted.
    fn follow(&mut self) {
        let mut left: Vec<&Sent> = self.seen.sent.iter().collect();
        loop {
            let before = left.len();
            left.retain(|sent| !self.take(sent));
            if left.len() == before {
                break;
            }
        }
        left.into_iter().for_each(|sent| self.note_baseless(sent));
    }

    /// Why no device may say anything of a commit: it was never given it, or it waits for a base, or for what it merges.
    fn why_silent(&self, sent: &Sent, base: EpochId) -> String {
        let held = self.seen.held.keys().any(|(_, held)| *held == base);
        let known = self.seen.taken.values().flatten().any(|(_, info)| info.epoch.id == base);
        let shown = if self.seen.shown.contains(&sent.event_id) { "some were given it" } else { "none was given it" };
        let kind = if held || known { "an epoch that devices have" } else { "an epoch that no device took" };
        format!("no device says anything of it, {shown}, on {kind}")
    }

    /// What devices that did not take a commit say of it; nothing if they say nothing.
    fn word_against(&self, sent: &Sent) -> Option<String> {
        let codes = self.seen.refused.get(&sent.event_id)?;
        Some(codes.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }

    /// `false` as long as OpenMLS does not have the base.
    fn take(&mut self, sent: &Sent) -> bool {
        let Some(base) = sent.base else { return false };
        let Some(verdicts) = self.room.take(&base, &sent.bytes) else { return false };
        self.report.commits += 1;
        match &verdicts.theirs {
            Ok(id) => self.judge_accepted(sent, *id, base, &verdicts),
            Err(why) => self.judge_refused(sent, why, &verdicts),
        }
        let (altered, in_tags) = altered(&sent.bytes);
        self.ask_wrong(&base, &altered, in_tags);
        if let Some(other) = self.room.other(&base) {
            self.ask_wrong(&other, &sent.bytes, false);
        }
        true
    }

    /// Few that are posted are wrong: both engines are asked for one that is.
    fn ask_wrong(&mut self, base: &EpochId, commit: &[u8], only_members_see: bool) {
        let Some(Verdicts { theirs, ours: Some(ours), .. }) = self.room.ask(base, commit) else { return };
        match (theirs, ours) {
            (Err(_), Err(_)) => self.report.wrong_refused += 1,
            (Ok(_), Ok(())) if only_members_see => self.report.wrong_taken += 1,
            (Ok(_), Ok(())) => self.report.find("altered: both engines take what holds nowhere".to_owned()),
            (Ok(_), Err(why)) => self.report.name(format!("altered: our engine refuses without secrets: {why}")),
            (Err(why), Ok(())) => self.report.find(format!("altered: our engine takes what OpenMLS refuses: {why}")),
        }
    }

    fn judge_accepted(&mut self, sent: &Sent, id: EpochId, base: EpochId, verdicts: &Verdicts) {
        let event = &sent.event_id;
        if let Some(Ok(())) = verdicts.ours {
            let differences = verdicts.differences.join(", ");
            self.report.hold(
                |report| &mut report.trees,
                differences.is_empty(),
                || format!("{event}: the engines differ in {differences} of {id}"),
            );
        }
        for (name, info) in takers(self.seen, sent) {
            let same = info.epoch.id == id && info.base == Some(base);
            self.report.hold(
                |report| &mut report.ids,
                same,
                || format!("{event}: {name} has {} on {:?}, OpenMLS {id} on {base}", info.epoch.id, info.base),
            );
        }
        // The same commit, posted once more, is known by the event in which it was first seen.
        let known = self.seen.taken.values().flatten().any(|(_, info)| info.epoch.id == id);
        match (known, &verdicts.ours) {
            (true, Some(Err(why))) => {
                self.report.find(format!("{event}: a device took what our engine refuses: {why}"))
            }
            (true, _) => self.note_taken(sent, id),
            (false, Some(Err(why))) => self.report.name(format!("our engine refuses without secrets: {why}")),
            (false, _) => match self.word_against(sent) {
                Some(codes) => self.report.name(format!("devices refuse with secrets, or by their own rules: {codes}")),
                None => self.report.name(self.why_silent(sent, base)),
            },
        }
    }

    fn note_taken(&mut self, sent: &Sent, id: EpochId) {
        let others = takers(self.seen, sent).iter().filter(|(name, _)| *name != sent.name);
        self.report.accepted += 1;
        self.report.by_others += others.count() as u64;
        // Who cannot open a path, or is shown too much, may be alone with that.
        if let Some(codes) = self.word_against(sent) {
            self.report.name(format!("some devices take it, others say: {codes}"));
        }
        self.compare_info(sent, id);
    }

    fn judge_refused(&mut self, sent: &Sent, why: &str, verdicts: &Verdicts) {
        let event = &sent.event_id;
        if let Some((name, _)) = takers(self.seen, sent).first() {
            self.report.find(format!("{event}: {name} took what OpenMLS refuses: {why}"));
        } else if let Some(Ok(())) = verdicts.ours {
            self.report.find(format!("{event}: our engine takes what OpenMLS refuses: {why}"));
        } else if self.word_against(sent).is_some() {
            self.report.refused += 1;
        } else {
            self.report.name("no device says anything of it, both engines refuse it".to_owned());
        }
    }

    /// A commit on no epoch that OpenMLS has.
    fn note_baseless(&mut self, sent: &Sent) {
        self.report.commits += 1;
        let event = &sent.event_id;
        if let Some((name, _)) = takers(self.seen, sent).first() {
            return self.report.find(format!("{event}: {name} took a commit on an epoch that OpenMLS does not have"));
        }
        match (sent.base, follower::read(&sent.bytes)) {
            (_, Err(_)) if self.word_against(sent).is_some() => self.report.refused += 1,
            (_, Err(why)) => self.report.name(format!("no device says anything of it, no MLS message: {why}")),
            (Some(_), Ok(())) => self.report.name("on an epoch that nobody published".to_owned()),
            (None, Ok(())) => self.report.name("an MLS message whose authenticated data names no base".to_owned()),
        }
    }

    /// The way in for those who come by external commit.
    fn compare_info(&mut self, sent: &Sent, id: EpochId) {
        let Some(info) = &sent.info else {
            return self.report.name("an accepted commit without its GroupInfo".to_owned());
        };
        let public = self.room.get(&id).map(follower::Epoch::public);
        let wrong = match self.room.look(info) {
            Ok((theirs, theirs_public)) if theirs == id && Some(&theirs_public) == public.as_ref() => None,
            Ok((theirs, _)) => Some(format!("it is of {theirs}")),
            Err(why) => Some(why),
        };
        match wrong {
            None => self.report.infos += 1,
            Some(why) if self.seen.honest.contains(&sent.name) => {
                self.report.find(format!("{}: the GroupInfo of {id}: {why}", sent.event_id));
            }
            Some(_) => self.report.name(
                "a GroupInfo that a dishonest copy put beside another's or its own commit leads elsewhere".to_owned(),
            ),
        }
    }

    /// Every device that holds an epoch has it as OpenMLS does: group, number, tree hash, transcript hash, extensions, tag.
    fn compare_contexts(&mut self) {
        for ((name, id), public) in &self.seen.held {
            match self.room.get(id) {
                Some(epoch) => self.report.hold(
                    |report| &mut report.contexts,
                    epoch.public() == *public,
                    || format!("{name} has another GroupContext or tag of {id}"),
                ),
                None => self.report.name("a held epoch whose commit never came to the room".to_owned()),
            }
        }
    }

    fn compare_lists(&mut self) {
        for readers in &self.seen.readers {
            let Some(epoch) = self.room.get(&readers.epoch) else { continue };
            let same = epoch.devices.iter().map(Option::as_ref).eq(readers.devices.iter().map(Some));
            self.report.hold(
                |report| &mut report.lists,
                same,
                || format!("{} shows other members of {}", readers.name, readers.epoch),
            );
        }
    }
}

/// Who says that it took a commit.
fn takers<'a>(seen: &'a Seen, sent: &Sent) -> &'a [(Name, EpochInfo)] {
    seen.taken.get(&sent.event_id).map_or(&[], Vec::as_slice)
}

/// One bit is another, of each commit in another place; and whether that is in its tags.
fn altered(commit: &[u8]) -> (Vec<u8>, bool) {
    let lot = Sha256::digest(commit).iter().take(4).fold(0, |lot, byte| (lot << 8) | usize::from(*byte));
    let (at, bit) = (lot / 8 % commit.len().max(1), lot % 8);
    let mut out = commit.to_vec();
    out.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
    (out, at + TAGS >= commit.len())
}
