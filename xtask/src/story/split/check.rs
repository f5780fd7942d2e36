//! What must be true at the end of the split.

use std::collections::BTreeSet;

use super::script::words;
use super::*;
use crate::story::rows::{Device, Message};
use crate::story::verdict::Verdict;

/// How many commits may follow the heal besides those of the first speakers.
const COMMITS: usize = 3;

/// Everybody's messages, by name and event.
type Views = BTreeMap<&'static str, BTreeMap<String, Message>>;

impl Split {
    /// Checks every claim; call it at the very end, for it also lets the thief of Dan's home sync.
    ///
    /// # Errors
    /// As [`Person::run`].
    pub fn verdicts(&self) -> Result<Vec<Verdict>, Error> {
        let views = self.views()?;
        let forks = Forks::of(self.people.values(), &self.room)?;
        let mut verdicts = vec![self.one_head(&forks)?];
        if let Some(base) = self.expected_base() {
            verdicts.push(self.base_is(base, &forks)?);
        }
        verdicts.push(self.all_read_each_other(&views));
        verdicts.push(self.alice_reads_nothing_after_leaving(&views)?);
        verdicts.push(self.epochs_have_the_right_devices(&views)?);
        verdicts.push(self.read_by_exactly_the_readers(&views)?);
        verdicts.push(self.the_rekey_holds(&forks)?);
        verdicts.push(self.few_commits(&forks)?);
        if self.first.0.len() == 1 && !["bob", "carol", "dan"].contains(&self.first.0[0]) {
            let claim = "After a one-sided speaker the sync of one two-sided device was enough";
            verdicts.push(Verdict::new(claim, "Bob's".to_owned(), self.helper_failed.clone()));
        }
        Ok(verdicts)
    }

    /// Gives what each person's store shows of each message: `None` if nothing at all.
    ///
    /// # Errors
    /// As [`Person::messages`].
    pub fn seen_by(&self, name: &str) -> Result<Vec<Option<Message>>, Error> {
        let mut seen = by_event(self.person(name)?.messages(&self.room)?);
        Ok(self.said.iter().map(|said| seen.remove(&said.event)).collect())
    }

    /// Tells who of these people does not share the first one's canonical head.
    pub(super) fn disagreement(&self, names: &[&str]) -> Result<Vec<String>, Error> {
        let mut heads = Vec::new();
        for name in names {
            heads.push((name, self.person(name)?.canonical(&self.room)?));
        }
        let Some((_, first)) = heads.first().cloned() else { return Ok(Vec::new()) };
        let other = heads.iter().filter(|(_, head)| head.is_none() || *head != first);
        Ok(other.map(|(name, head)| format!("{name} has {head:?}, {} has {first:?}", names[0])).collect())
    }

    fn views(&self) -> Result<Views, Error> {
        let mut views = Views::new();
        for (name, person) in self.people() {
            views.insert(name, by_event(person.messages(&self.room)?));
        }
        Ok(views)
    }

    fn one_head(&self, forks: &Forks) -> Result<Verdict, Error> {
        let names = self.staying();
        let head = self.person("bob")?.canonical(&self.room)?;
        let epoch = head.as_deref().and_then(|head| forks.epoch(head));
        let seen =
            epoch.map_or("none".to_owned(), |epoch| format!("number {}, by {}", epoch.number, epoch.creator.user));
        let mut against = self.disagreement(&names)?;
        if let (Some(epoch), Some(baseline)) = (epoch, &self.baseline) {
            let lost = baseline.heads.iter().filter(|head| !forks.contains(&epoch.epoch_id, head));
            against.extend(lost.map(|head| format!("it does not contain {head}")));
        }
        Ok(Verdict::new("Everybody in the room shares one canonical epoch that contains both forks", seen, against))
    }

    fn base_is(&self, base: Base, forks: &Forks) -> Result<Verdict, Error> {
        let baseline = self.baseline()?;
        let wanted = &baseline.heads[if base == Base::Hs1 { 0 } else { 1 }];
        let head = self.person("bob")?.canonical(&self.room)?.unwrap_or_default();
        let found = forks.base_in(&baseline.forks, &head).unwrap_or("none");
        let against = if found == wanted { Vec::new() } else { vec![format!("it is built on {found}, not {wanted}")] };
        let side = if base == Base::Hs1 { "hs1" } else { "hs2" };
        let claim = format!("The merge is built on the head of {side}, which is least behind");
        Ok(Verdict::new(&claim, short(found).to_owned(), against))
    }

    /// Gives the side whose head is least behind once the first have spoken; none if they race, or if it depends on the
    /// lot: who adds those missing on one side makes up for what the other side's updates weigh (SPEC 3.2).
    fn expected_base(&self) -> Option<Base> {
        match self.first.0 {
            [] | ["bob" | "carol" | "dan"] => Some(self.base),
            _ => None,
        }
    }

    fn all_read_each_other(&self, views: &Views) -> Verdict {
        let mut against = Vec::new();
        let (names, mut count) = (self.staying(), 0);
        for said in self.at(&[Step::After]) {
            for name in &names {
                count += 1;
                if !reads(views, name, said) {
                    against.push(format!("{name} does not read {}: {}", said.by, shown(views, name, said)));
                }
            }
        }
        let all_spoke = self.at(&[Step::After]).count() == names.len();
        if !all_spoke {
            against.push("not everybody spoke".to_owned());
        }
        Verdict::new("After the merge everybody reads everybody", format!("{count} readings"), against)
    }

    fn alice_reads_nothing_after_leaving(&self, views: &Views) -> Result<Verdict, Error> {
        let alice = self.person("alice")?.device();
        let after = [Step::AliceLeft, Step::HeidiAndIvanCame, Step::Healed, Step::After];
        let said: Vec<&Said> = self.at(&after).collect();
        let mut against = Vec::new();
        for said in &said {
            let reader = readers(views, said).is_some_and(|readers| readers.contains(alice));
            if reader || reads(views, "alice", said) {
                against.push(format!("she could read {}", words(said.step, said.by)));
            }
        }
        let claim = "Alice's device reads nothing sent after her leaving was seen";
        Ok(Verdict::new(claim, format!("{} messages", said.len()), against))
    }

    /// The readers of a message, by its sender's word, are those who were in the room on that side.
    fn epochs_have_the_right_devices(&self, views: &Views) -> Result<Verdict, Error> {
        let (mut against, mut count) = (Vec::new(), 0);
        for said in &self.said {
            let Some(names) = self.expected_readers(said.step) else { continue };
            let expected: Result<BTreeSet<Device>, Error> =
                names.iter().map(|name| Ok(self.person(name)?.device().clone())).collect();
            let readers = readers(views, said);
            count += 1;
            if readers.as_ref() != Some(&expected?) {
                against.push(format!("{}: {readers:?}", words(said.step, said.by)));
            }
        }
        let claim = "Every epoch has exactly the devices that its side of the room says";
        Ok(Verdict::new(claim, format!("{count} messages"), against))
    }

    /// Every device of a message's epoch reads it, and every other is told why not.
    fn read_by_exactly_the_readers(&self, views: &Views) -> Result<Verdict, Error> {
        let (mut against, mut read, mut unread) = (Vec::new(), 0, 0);
        for said in &self.said {
            let readers = readers(views, said).unwrap_or_default();
            for (name, person) in self.people() {
                let shown = views[name].get(&said.event);
                let message = words(said.step, said.by);
                match shown {
                    _ if name == "alice" && said.step > Step::Before && shown.is_none() => {}
                    Some(shown) if readers.contains(person.device()) => {
                        read += 1;
                        if shown.utd.is_some() || shown.body.as_deref() != Some(&message) {
                            against.push(format!("{name} is a reader of {message:?} and sees {:?}", shown.utd));
                        }
                    }
                    None if readers.contains(person.device()) => {
                        against.push(format!("{name} is a reader of {message:?} and is not shown it"));
                    }
                    Some(shown) => {
                        unread += 1;
                        let code = expected_code(name, said.step);
                        if shown.body.is_some() || shown.code() != Some(code) {
                            against.push(format!("{name} should see {code} for {message:?}: {:?}", shown.utd));
                        }
                    }
                    // What was sent before one came may not be shown at all.
                    None if expected_code(name, said.step) == "before_join" => {}
                    None => against.push(format!("{name} is not shown that there is {message:?}")),
                }
            }
        }
        let seen = format!("{read} read, {unread} explained");
        Ok(Verdict::new("Every message is read by exactly the devices of its epoch, others see why not", seen, against))
    }

    /// Who copied Dan's home before his rekey reads nothing of a merged epoch.
    fn the_rekey_holds(&self, forks: &Forks) -> Result<Verdict, Error> {
        let thief = self.thief.as_ref().ok_or_else(|| Error::Missing("thief".to_owned()))?;
        // He takes in all that Dan's server has for Dan; whether that ends well for him does not matter.
        thief.attempt(&["sync", "--timeout", "5"])?;
        let stolen = by_event(thief.messages(&self.room)?);
        let baseline = self.baseline()?;
        let merged = |said: &&Said| baseline.heads.iter().all(|head| forks.contains(&said.epoch, head));
        let said: Vec<&Said> = self.said.iter().filter(merged).collect();
        let read = |said: &&&Said| stolen.get(&said.event).is_some_and(|message| message.utd.is_none());
        let mut against: Vec<String> =
            said.iter().filter(read).map(|said| format!("it reads {}", words(said.step, said.by))).collect();
        if said.is_empty() {
            against.push("there was no merged epoch".to_owned());
        }
        let others = self.said.iter().filter(|said| stolen.get(&said.event).is_some_and(|m| m.utd.is_none())).count();
        let seen = format!("{} messages of merged epochs; it reads {others} others", said.len());
        Ok(Verdict::new("No merged epoch opens with what Dan's device held before his rekey", seen, against))
    }

    fn few_commits(&self, forks: &Forks) -> Result<Verdict, Error> {
        let made: Vec<_> = forks.since(&self.baseline()?.forks).collect();
        let most = self.first.0.len() + COMMITS;
        let line = |epoch: &&crate::story::Epoch| format!("{} {} by {}", epoch.kind, epoch.number, epoch.creator.user);
        let against = if made.len() > most { made.iter().map(line).collect() } else { Vec::new() };
        let seen = format!("{} of at most {most}", made.len());
        Ok(Verdict::new("At most one commit of each first speaker and three more", seen, against))
    }

    fn baseline(&self) -> Result<&Baseline, Error> {
        self.baseline.as_ref().ok_or_else(|| Error::Missing("heal".to_owned()))
    }

    fn at<'a>(&'a self, steps: &'a [Step]) -> impl Iterator<Item = &'a Said> {
        self.said.iter().filter(|said| steps.contains(&said.step))
    }

    /// Gives who can read what is said at a step, where that does not depend on who speaks first.
    fn expected_readers(&self, step: Step) -> Option<Vec<&'static str>> {
        let names: &[&str] = match step {
            Step::Before => &["alice", "bob", "carol", "dan"],
            Step::ErinCame => &["alice", "bob", "carol", "dan", "erin"],
            Step::AliceLeft => &["bob", "carol", "dan", "erin"],
            Step::HeidiAndIvanCame => &["bob", "carol", "dan", "erin", "heidi", "ivan"],
            Step::FrankCame | Step::DanRekeyed => &["alice", "bob", "carol", "dan", "frank"],
            Step::GraceCame => &["alice", "bob", "carol", "dan", "frank", "grace"],
            Step::Healed => return None,
            Step::After => return Some(self.staying()),
        };
        Some(names.to_vec())
    }
}

/// Gives the code that somebody who is not a reader sees.
fn expected_code(name: &str, step: Step) -> &'static str {
    let on_hs1 = ["erin", "heidi", "ivan"].contains(&name);
    match step {
        _ if name == "alice" => "removed",
        Step::Before => "before_join",
        Step::ErinCame | Step::AliceLeft | Step::HeidiAndIvanCame if on_hs1 => "before_join",
        Step::FrankCame | Step::DanRekeyed | Step::GraceCame if !on_hs1 => "before_join",
        _ => "not_in_epoch",
    }
}

fn by_event(messages: Vec<Message>) -> BTreeMap<String, Message> {
    let with_event = |message: Message| Some((message.event_id.clone()?, message));
    messages.into_iter().filter_map(with_event).collect()
}

/// Gives the readers of a message by its sender's word.
fn readers(views: &Views, said: &Said) -> Option<BTreeSet<Device>> {
    let readers = views.get(said.by)?.get(&said.event)?.readers.clone()?;
    Some(readers.into_iter().collect())
}

fn reads(views: &Views, name: &str, said: &Said) -> bool {
    views.get(name).and_then(|view| view.get(&said.event)).is_some_and(|message| message.utd.is_none())
}

fn shown(views: &Views, name: &str, said: &Said) -> String {
    let message = views.get(name).and_then(|view| view.get(&said.event));
    message.map_or("nothing".to_owned(), |message| message.code().unwrap_or("read").to_owned())
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
