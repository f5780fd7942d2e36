//! What adversaries do in generated scripts: scenes of a few steps each, between what honest people do.
//!
//! Each seed has a theme that comes more often than the others. All of it draws from a stream of its own, so that
//! scripts without adversaries are what they were before there were any.

use super::{Known, Maker};
use crate::entropy::Stream;
use crate::script::{Lie, Ploy, Step};
use crate::trace::{Name, ServerName};

/// How often a step is a scene, and a scene of the theme, in a thousand.
const SCENES: u32 = 300;
const THEME: u32 = 650;
/// A little more than the day that an input waits.
const DAY: u64 = 26 * 3_600_000;

/// What a scene is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    /// Something that takes no company.
    Alone(Ploy),
    /// Races against an honest commit.
    Race,
    /// A branch that is withheld for a while.
    Late,
    /// Who is removed goes on.
    Removed,
    /// What was added is buried.
    Buried,
    /// Who is cut off is talked to.
    CutOff,
    /// A path that some cannot open, and what is built on it.
    Poison,
    /// Junk, and a day.
    Flood,
    /// A merge is due, and somebody talks.
    Chatter,
    /// What was said is said again.
    Overhear,
    /// A false Welcome.
    Welcome,
    /// People are removed on both sides of a split.
    Feud,
    /// A server goes back to an old membership.
    Reset,
    /// Thefts, healed on both sides of a split.
    Thefts,
    /// Forks of a fork on one side of a split, a fork on the other.
    Nested,
    /// Everybody heals and merges at once.
    Storm,
    /// A device comes back with new keys.
    Replaced,
    /// Messages lie in an outbox while somebody is removed.
    Outbox,
    /// A server suppresses and reorders.
    Suppress,
    /// A server lies about device lists.
    Lists,
}

const THEMES: [Theme; 31] = [
    Theme::Alone(Ploy::Fork),
    Theme::Race,
    Theme::Alone(Ploy::Bomb),
    Theme::Late,
    Theme::Removed,
    Theme::Buried,
    Theme::CutOff,
    Theme::Poison,
    Theme::Flood,
    Theme::Chatter,
    Theme::Alone(Ploy::Point),
    Theme::Alone(Ploy::Bomb),
    Theme::Alone(Ploy::Tags),
    Theme::Alone(Ploy::Serve),
    Theme::Overhear,
    Theme::Alone(Ploy::Replay),
    Theme::Welcome,
    Theme::Feud,
    Theme::Reset,
    Theme::Thefts,
    Theme::Storm,
    Theme::Replaced,
    Theme::Outbox,
    Theme::Suppress,
    Theme::Lists,
    Theme::Nested,
    Theme::Alone(Ploy::Resolves),
    Theme::Alone(Ploy::Grants),
    Theme::Alone(Ploy::Impersonate),
    Theme::Alone(Ploy::Reframe),
    Theme::Alone(Ploy::Intrude),
];

/// What the maker remembers of adversaries.
pub(super) struct Malice {
    chances: Stream,
    theme: Theme,
    /// The malicious device, once there is one.
    device: Option<(Name, String)>,
    days: usize,
}

impl Malice {
    pub(super) fn new(seed: u64) -> Self {
        let theme = THEMES[usize::try_from(seed % THEMES.len() as u64).unwrap_or_default()];
        Self { chances: Stream::new(seed, "malice"), theme, device: None, days: 0 }
    }

    fn theme(&mut self) -> Theme {
        if self.chances.chance(THEME) { self.theme } else { self.chances.pick(&THEMES).copied().unwrap_or(self.theme) }
    }
}

impl Maker<'_> {
    /// A scene now and then; whether there was one.
    pub(super) fn hostile_step(&mut self) -> bool {
        let Some(mut malice) = self.malice.take() else { return false };
        let made = malice.chances.chance(SCENES) && self.scene(&mut malice).is_some();
        self.malice = Some(malice);
        made
    }

    /// The malicious device: a member whose user made no room and gave no power.
    fn adversary(&mut self, malice: &mut Malice) -> Option<Name> {
        if malice.device.is_none() {
            let creator = self.users.first()?;
            let fit = self.known.iter().filter(|known| known.user != *creator && self.inside.contains(&known.user));
            let fit: Vec<_> = fit.map(|known| (known.name.clone(), known.user.clone())).collect();
            malice.device = malice.chances.pick(&fit).cloned();
        }
        malice.device.as_ref().map(|(name, _)| name.clone())
    }

    /// Somebody else who is in the room and runs.
    fn honest(&self, malice: &mut Malice) -> Option<(Name, String)> {
        let evil = malice.device.as_ref().map(|(name, _)| name.clone());
        let fit = self.known.iter().filter(|known| self.inside.contains(&known.user) && !known.gone && !known.down);
        let fit: Vec<_> = fit.filter(|known| Some(&known.name) != evil.as_ref()).collect();
        malice.chances.pick(&fit).map(|known| (known.name.clone(), known.user.clone()))
    }

    fn two_servers(&self, malice: &mut Malice) -> Option<(ServerName, ServerName)> {
        let servers = &self.script.options.servers;
        let one = malice.chances.pick(servers)?.clone();
        let others: Vec<_> = servers.iter().filter(|server| **server != one).cloned().collect();
        Some((one, malice.chances.pick(&others)?.clone()))
    }

    fn talk(&mut self, name: &Name) {
        self.said += 1;
        self.push(Step::Say(name.clone(), format!("message {}", self.said)));
    }

    fn scene(&mut self, malice: &mut Malice) -> Option<()> {
        let evil = self.adversary(malice)?;
        let (name, user) = self.honest(malice)?;
        let plot = |ploy| Step::Plot(evil.clone(), ploy);
        match malice.theme() {
            Theme::Alone(ploy) => {
                self.push(plot(ploy));
                self.wait(malice, 3_000);
                self.talk(&name);
            }
            Theme::Race => {
                self.known.iter().any(|known| known.name == name && !known.offline).then_some(())?;
                for _ in 0..2 {
                    self.push(Step::Rekey(name.clone()));
                    self.push(plot(Ploy::Grind));
                    self.push(Step::Wait(6_000));
                }
            }
            Theme::Late => {
                self.push(plot(Ploy::Withhold));
                self.push(Step::Rekey(name.clone()));
                self.wait(malice, 20_000);
                self.talk(&name);
                self.wait(malice, 2_000);
                self.push(plot(Ploy::Reveal));
                self.talk(&name);
            }
            Theme::Buried => {
                let outside: Vec<_> = self.users.iter().filter(|user| !self.inside.contains(*user)).cloned().collect();
                if let Some(guest) = malice.chances.pick(&outside).cloned() {
                    self.push(Step::Invite(name.clone(), guest.clone()));
                    self.push(Step::Wait(300));
                    self.join(&guest);
                } else {
                    self.enrol();
                }
                self.push(Step::Wait(8_000));
                self.push(plot(Ploy::Bury));
                self.wait(malice, 2_000);
                self.talk(&name);
            }
            Theme::CutOff => {
                self.push(plot(if malice.chances.chance(700) { Ploy::CutOff } else { Ploy::FalseCause }));
                self.wait(malice, 700);
                self.talk(&name);
                self.push(Step::Wait(3_000));
            }
            Theme::Poison => {
                self.push(plot(Ploy::Poison));
                if malice.chances.chance(500) {
                    self.push(Step::Rekey(name.clone()));
                }
                self.wait(malice, 3_000);
                self.talk(&name);
                self.push(Step::Wait(100_000));
                self.talk(&name);
            }
            Theme::Flood => {
                self.push(plot(Ploy::Flood));
                self.talk(&name);
                if malice.days < 1 {
                    malice.days += 1;
                    self.push(Step::Wait(DAY));
                }
            }
            Theme::Chatter => {
                self.push(plot(Ploy::BackDate));
                self.push(plot(Ploy::Chatter));
            }
            Theme::Overhear => {
                self.talk(&name);
                self.push(Step::Wait(500));
                self.push(plot(Ploy::Overhear));
            }
            Theme::Welcome => self.false_welcome(malice, &evil)?,
            Theme::Removed => self.removed(malice, &evil, &name)?,
            theme => self.company(malice, theme, &name, &user)?,
        }
        Some(())
    }

    fn wait(&mut self, malice: &mut Malice, most: u64) {
        self.push(Step::Wait(malice.chances.below(most)));
    }

    fn false_welcome(&mut self, malice: &mut Malice, evil: &Name) -> Option<()> {
        let outside: Vec<_> = self.users.iter().filter(|user| !self.inside.contains(*user)).cloned().collect();
        match malice.chances.pick(&outside).cloned() {
            Some(guest) => {
                self.push(Step::Invite(self.known.first()?.name.clone(), guest.clone()));
                self.push(Step::Wait(300));
                self.join(&guest);
                self.push(Step::Wait(100));
            }
            // A second device of somebody who is there will do.
            None => self.add_device(),
        }
        self.push(Step::Plot(evil.clone(), Ploy::Welcome));
        self.push(Step::Wait(5_000));
        Some(())
    }

    /// The malicious device is stolen by its own maker, removed, and goes on; later its user is back.
    fn removed(&mut self, malice: &mut Malice, evil: &Name, name: &Name) -> Option<()> {
        let creator = self.known.first()?.name.clone();
        let user = malice.device.as_ref()?.1.clone();
        self.push(Step::Steal(evil.clone()));
        self.push(Step::Kick(creator.clone(), user.clone()));
        self.wait(malice, 2_000);
        let ploy = [Ploy::Sybil, Ploy::Sybil, Ploy::Intrude, Ploy::BackDate, Ploy::Bury];
        self.push(Step::Plot(evil.clone(), malice.chances.pick(&ploy).copied()?));
        self.talk(name);
        self.push(Step::Wait(3_000));
        self.talk(&creator);
        if malice.chances.chance(600) {
            self.push(Step::Invite(creator, user.clone()));
            self.push(Step::Wait(300));
            self.join(&user);
        } else {
            self.inside.remove(&user);
        }
        Some(())
    }

    /// Scenes without the malicious device.
    fn company(&mut self, malice: &mut Malice, theme: Theme, name: &Name, user: &str) -> Option<()> {
        let creator = self.known.first()?.name.clone();
        let (other, other_user) = self.honest(malice)?;
        let outsider = self.users.first().is_some_and(|first| first != user);
        match theme {
            Theme::Feud => {
                let (one, two) = self.two_servers(malice)?;
                self.push(Step::Power(creator.clone(), user.to_owned(), 50));
                self.push(Step::Wait(3_000));
                self.push(Step::Cut(one.clone(), two.clone()));
                self.push(Step::Kick(name.clone(), other_user));
                if outsider && malice.chances.chance(700) {
                    self.push(Step::Kick(creator, user.to_owned()));
                }
                self.push(Step::Wait(8_000));
                self.push(Step::Heal(one, two));
                self.push(Step::Wait(8_000));
            }
            Theme::Reset => {
                outsider.then_some(())?;
                let server = malice.chances.pick(&self.script.options.servers)?.clone();
                self.push(Step::Kick(creator.clone(), user.to_owned()));
                self.inside.remove(user);
                self.push(Step::Wait(8_000));
                self.push(Step::Lie(server.clone(), Lie::Reset(user.to_owned())));
                self.talk(&creator);
                self.talk(&other);
                self.push(Step::Wait(8_000));
                self.talk(&other);
                self.push(Step::Truth(server));
                self.push(Step::Wait(3_000));
            }
            Theme::Thefts => {
                let (one, two) = self.two_servers(malice)?;
                self.push(Step::Steal(name.clone()));
                self.push(Step::Steal(other.clone()));
                self.push(Step::Cut(one.clone(), two.clone()));
                self.push(Step::Rekey(name.clone()));
                self.push(Step::Rekey(creator));
                self.wait(malice, 4_000);
                self.push(Step::Rekey(other));
                self.wait(malice, 4_000);
                if let Some(evil) = malice.device.clone().filter(|_| malice.chances.chance(400)) {
                    self.push(Step::Plot(evil.0, Ploy::CutOff));
                }
                self.push(Step::Heal(one, two));
                self.push(Step::Wait(8_000));
            }
            Theme::Storm => {
                let (one, two) = self.two_servers(malice)?;
                self.push(Step::Cut(one.clone(), two.clone()));
                for rekeyed in [name, &other, name] {
                    self.push(Step::Rekey(rekeyed.clone()));
                    self.push(Step::Wait(1_500));
                }
                self.push(Step::Heal(one, two));
                self.push(Step::Wait(10_000));
            }
            Theme::Nested => {
                let (one, two) = self.two_servers(malice)?;
                let server = format!(":{one}");
                let fit =
                    |known: &&Known| self.inside.contains(&known.user) && !known.gone && !known.down && !known.offline;
                let (here, there): (Vec<_>, Vec<_>) = self
                    .known
                    .iter()
                    .filter(fit)
                    .map(|known| (known.name.clone(), known.user.ends_with(&server)))
                    .partition(|(_, here)| *here);
                let ([(a, _), (b, _), ..], [(d, _), ..]) = (&here[..], &there[..]) else { return None };
                let (c, e) = (here.get(2).map_or(a, |(name, _)| name), there.get(1).map_or(d, |(name, _)| name));
                let steps = [
                    Step::Cut(one.clone(), two.clone()),
                    Step::Rekey(a.clone()),
                    Step::Rekey(d.clone()),
                    Step::Wait(400),
                    Step::Rekey(b.clone()),
                    Step::Rekey(c.clone()),
                    Step::Rekey(e.clone()),
                    Step::Wait(200),
                    Step::Heal(one, two),
                    Step::Wait(150),
                    Step::Wait(150),
                    Step::Wait(8_000),
                ];
                steps.into_iter().for_each(|step| self.push(step));
            }
            Theme::Replaced => {
                self.push(Step::Replace(name.clone()));
                self.wait(malice, 4_000);
                self.talk(&other);
                if malice.chances.chance(500) {
                    self.push(Step::Plot(Name(format!("{name}-old")), Ploy::Intrude));
                }
                self.push(Step::Wait(20_000));
            }
            Theme::Outbox => {
                outsider.then_some(())?;
                self.talk(&other);
                self.push(Step::Kick(creator.clone(), user.to_owned()));
                self.inside.remove(user);
                for _ in 0..4 {
                    self.talk(&other);
                    self.talk(&creator);
                    self.wait(malice, 60);
                }
            }
            Theme::Suppress => {
                let server = malice.chances.pick(&self.script.options.servers)?.clone();
                let lie =
                    if malice.chances.chance(500) { Lie::Hide(user.to_owned()) } else { Lie::Mute(user.to_owned()) };
                self.push(Step::Lie(server.clone(), lie));
                self.push(Step::Rekey(name.clone()));
                self.talk(name);
                self.talk(&other);
                self.wait(malice, 60_000);
                self.talk(&other);
                if malice.chances.chance(700) {
                    self.push(Step::Truth(server));
                }
            }
            _ => {
                let server = malice.chances.pick(&self.script.options.servers)?.clone();
                let lie = if malice.chances.chance(500) { Lie::Lists } else { Lie::Ghost(user.to_owned()) };
                self.push(Step::Lie(server.clone(), lie));
                self.add_device();
                self.talk(&other);
                self.wait(malice, 40_000);
                self.push(Step::Truth(server));
            }
        }
        Some(())
    }
}
