//! The story that every contestant plays: a room is made, people join, rekey, leave, commit at once, and talk.

use std::collections::BTreeSet;

use crate::contestant::{Contestant, Failure, Made};
use crate::meter::{heap, median, timed};
use crate::roster::{Number, Roster};
use crate::sheet::{Sheet, Unit, say};

/// How many warm commits are timed.
const REKEYS: usize = 15;
/// How many messages.
const MESSAGES: usize = 41;
/// How many removals, at most.
const REMOVALS: usize = 3;
/// Bytes of a message.
pub(crate) const TEXT: [u8; 256] = [b'x'; 256];

/// A room under way.
pub(crate) struct Contest<'a, C> {
    pub(crate) room: C,
    pub(crate) roster: Roster,
    pub(crate) actors: BTreeSet<Number>,
    pub(crate) sheet: &'a mut Sheet,
}

/// Plays the whole story with one contestant.
///
/// # Errors
/// Whatever the contestant fails with; and if its members do not agree.
pub fn play<C: Contestant>(roster: Roster, sheet: &mut Sheet) -> Result<(), Failure> {
    let mut contest = Contest::<C>::begin(roster, sheet)?;
    contest.rekey_cold()?;
    contest.warm_up()?;
    contest.rekey()?;
    contest.talk()?;
    for k in [2, 8] {
        contest.concur(k)?;
    }
    contest.remove()
}

impl<'a, C: Contestant> Contest<'a, C> {
    /// All devices are added, the actors come in.
    pub(crate) fn begin(roster: Roster, sheet: &'a mut Sheet) -> Result<Self, Failure> {
        say(&format!("{}, {} devices: keys", C::WHO, roster.n));
        let room = C::prepare(roster)?;
        let mut contest = Self { room, roster, actors: BTreeSet::new(), sheet };
        contest.create()?;
        contest.agree("joining")?;
        Ok(contest)
    }

    fn tell(&self, what: &str) {
        say(&format!("{}, {} devices: {what}", C::WHO, self.roster.n));
    }

    fn put(&mut self, op: &str, unit: Unit, value: f64) {
        self.sheet.put(op, self.roster.n, C::WHO, unit, value);
    }

    fn create(&mut self) -> Result<(), Failure> {
        let (n, all) = (self.roster.n, self.roster.actors());
        let (mut time, mut bytes, mut beside, mut next) = (0.0, 0, 0, 1);
        while next < n {
            let numbers = next..n.min(next + C::batch(n));
            next = numbers.end;
            self.tell(&format!("creates, {next} devices"));
            let (made, spent) = timed(|| self.room.add(numbers.clone()));
            let made = made?;
            (time, bytes, beside) = (time + spent, bytes + made.bytes.len(), beside + made.beside);
            self.deliver(0, &made)?;
            for number in all.iter().filter(|number| numbers.contains(number)) {
                self.come_in(*number)?;
            }
            self.actors.insert(0);
        }
        self.put("create", Unit::Ms, time);
        self.put("create/bytes", Unit::B, bytes as f64);
        self.put("create/beside", Unit::B, beside as f64);
        Ok(())
    }

    /// The observer's joining is what is measured.
    fn come_in(&mut self, number: Number) -> Result<(), Failure> {
        self.tell(&format!("device {number} joins"));
        self.actors.insert(number);
        if number != self.roster.observer() {
            return self.room.appear(number);
        }
        let before = heap();
        let (joined, spent) = timed(|| self.room.join(number));
        joined?;
        self.put("join", Unit::Ms, spent);
        self.put("join/heap", Unit::B, heap() - before);
        Ok(())
    }

    /// All but its maker take in a commit; gives the observer's time.
    pub(crate) fn deliver(&mut self, from: Number, made: &Made) -> Result<f64, Failure> {
        let mut observed = 0.0;
        for number in self.actors.iter().filter(|number| **number != from) {
            let (taken, spent) = timed(|| self.room.take(*number, made));
            taken?;
            observed += if *number == self.roster.observer() { spent } else { 0.0 };
        }
        Ok(observed)
    }

    pub(crate) fn rekey_cold(&mut self) -> Result<(), Failure> {
        self.tell("first rekey");
        let from = self.roster.cold();
        let (made, send) = timed(|| self.room.rekey(from));
        let made = made?;
        let receive = self.deliver(from, &made)?;
        self.put("rekey-cold/send", Unit::Ms, send);
        self.put("rekey-cold/receive", Unit::Ms, receive);
        self.put("rekey-cold/bytes", Unit::B, made.bytes.len() as f64);
        self.agree("the first rekey")
    }

    pub(crate) fn warm_up(&mut self) -> Result<(), Failure> {
        self.tell("warms up");
        for from in self.roster.warmers() {
            let made = self.room.rekey(from)?;
            self.deliver(from, &made)?;
        }
        self.agree("warming up")
    }

    fn rekey(&mut self) -> Result<(), Failure> {
        self.tell("rekeys");
        let mut samples = Samples::default();
        let observer = self.roster.observer();
        for from in self.roster.warm().cycle().take(REKEYS) {
            let before = (self.room.written(from), self.room.written(observer));
            let (made, send) = timed(|| self.room.rekey(from));
            let made = made?;
            let receive = self.deliver(from, &made)?;
            samples.note(&made, send, receive);
            samples.written.extend(added(before.0, self.room.written(from)));
            samples.written_there.extend(added(before.1, self.room.written(observer)));
        }
        self.enter("rekey", samples);
        self.show();
        self.agree("rekeying")
    }

    /// What else the maker of a commit does, in its own time: a GroupInfo that it signs.
    fn show(&mut self) {
        let (shown, spent) = timed(|| self.room.show());
        if let Some(shown) = shown {
            self.put("rekey/show", Unit::Ms, spent);
            self.put("rekey/shown-bytes", Unit::B, shown.len() as f64);
        }
    }

    fn enter(&mut self, op: &str, samples: Samples) {
        let Samples { send, receive, bytes, beside, written, written_there } = samples;
        self.put(&format!("{op}/send"), Unit::Ms, median(send));
        self.put(&format!("{op}/receive"), Unit::Ms, median(receive));
        self.put(&format!("{op}/bytes"), Unit::B, median(bytes));
        self.put(&format!("{op}/beside"), Unit::B, median(beside));
        for (end, written) in [("send", written), ("receive", written_there)] {
            if !written.is_empty() {
                self.put(&format!("{op}/written-{end}"), Unit::B, median(written));
            }
        }
    }

    /// Warm devices are removed, one by one; those beside them fill the gap before the next goes.
    fn remove(&mut self) -> Result<(), Failure> {
        if !self.sheet.wants("remove") {
            return Ok(());
        }
        self.tell("removes");
        let mut samples = Samples::default();
        let odd = self.roster.warm().rev().filter(|number| number % 2 == 1);
        for gone in odd.take(REMOVALS) {
            self.actors.remove(&gone);
            self.room.tell_of_removal(gone)?;
            let (made, send) = timed(|| self.room.remove(0, gone));
            let made = made?;
            let receive = self.deliver(0, &made)?;
            samples.note(&made, send, receive);
            for from in [gone - 1, 0] {
                let made = self.room.rekey(from)?;
                self.deliver(from, &made)?;
            }
        }
        self.enter("remove", samples);
        self.agree("removing")
    }

    fn concur(&mut self, k: u32) -> Result<(), Failure> {
        let op = format!("fork-{k}");
        let Some(committers) = self.roster.committers(k) else {
            self.sheet.miss(op, self.roster.n, C::WHO, format!("needs more than {k} devices"));
            return Ok(());
        };
        if !self.sheet.wants(&op) {
            return Ok(());
        }
        self.tell(&format!("{k} commits at once"));
        let committers: Vec<_> = committers.collect();
        let agreed = self.room.concur(&committers, &self.actors, self.roster.observer())?;
        self.put(&format!("{op}/bytes"), Unit::B, agreed.bytes as f64);
        self.put(&format!("{op}/receive"), Unit::Ms, agreed.receive);
        self.agree(&op)
    }

    fn talk(&mut self) -> Result<(), Failure> {
        if !C::MESSAGES || !self.sheet.wants("message") {
            return Ok(());
        }
        self.tell("talks");
        let talk = self.messages()?;
        self.put("message/seal", Unit::Us, talk.seal);
        self.put("message/open", Unit::Us, talk.open);
        self.put("message/bytes-added", Unit::B, talk.bytes - TEXT.len() as f64);
        for (end, written) in [("seal", talk.written_seal), ("open", talk.written_open)] {
            if let Some(written) = written {
                self.put(&format!("message/written-{end}"), Unit::B, written);
            }
        }
        Ok(())
    }

    /// The first device speaks, the observer listens.
    pub(crate) fn messages(&mut self) -> Result<Talk, Failure> {
        let observer = self.roster.observer();
        let (mut seals, mut opens, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut here, mut there) = (Vec::new(), Vec::new());
        // The first message in an epoch says more than those that follow, and readies the ratchets.
        for at in 0..=MESSAGES {
            let before = (self.room.written(0), self.room.written(observer));
            let (sealed, seal) = timed(|| self.room.seal(0, &TEXT));
            let sealed = sealed?;
            let (opened, open) = timed(|| self.room.open(observer, 0, &sealed));
            if opened? != TEXT {
                return Err(format!("{}: another text is read than was written", C::WHO).into());
            }
            if at == 0 {
                continue;
            }
            seals.push(seal * 1e3);
            opens.push(open * 1e3);
            sizes.push(sealed.len() as f64);
            here.extend(added(before.0, self.room.written(0)));
            there.extend(added(before.1, self.room.written(observer)));
        }
        let written = |samples: Vec<f64>| (!samples.is_empty()).then(|| median(samples));
        Ok(Talk {
            seal: median(seals),
            open: median(opens),
            bytes: median(sizes),
            written_seal: written(here),
            written_open: written(there),
        })
    }

    /// All actors are in one state.
    pub(crate) fn agree(&mut self, after: &str) -> Result<(), Failure> {
        let observed = self.room.state(self.roster.observer())?;
        for number in &self.actors {
            if self.room.state(*number)? != observed {
                return Err(format!("{}: device {number} does not agree after {after}", C::WHO).into());
            }
        }
        Ok(())
    }
}

fn added(before: Option<usize>, after: Option<usize>) -> Option<f64> {
    Some((after? - before?) as f64)
}

/// Medians of messages: microseconds and bytes.
pub(crate) struct Talk {
    pub(crate) seal: f64,
    pub(crate) open: f64,
    bytes: f64,
    written_seal: Option<f64>,
    written_open: Option<f64>,
}

/// Commits of one kind.
#[derive(Default)]
struct Samples {
    send: Vec<f64>,
    receive: Vec<f64>,
    bytes: Vec<f64>,
    beside: Vec<f64>,
    written: Vec<f64>,
    written_there: Vec<f64>,
}

impl Samples {
    fn note(&mut self, made: &Made, send: f64, receive: f64) {
        self.send.push(send);
        self.receive.push(receive);
        self.bytes.push(made.bytes.len() as f64);
        self.beside.push(made.beside as f64);
    }
}
