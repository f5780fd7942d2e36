//! Scripts from seeds: the same seed and profile give the same script.

mod hostile;

use std::collections::BTreeSet;

use crate::client::CrashPoint;
use crate::entropy::Stream;
use crate::net::Faults;
use crate::script::{Script, Step};
use crate::trace::{Name, ServerName};
use crate::world::Crypto;

/// What scripts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Fewest and most devices.
    pub devices: (u64, u64),
    /// Fewest and most servers.
    pub servers: (u64, u64),
    /// Steps, besides those of beginning and end.
    pub steps: usize,
    /// Splits at most.
    pub splits: u64,
    /// The cryptography.
    pub crypto: Crypto,
    /// What goes wrong besides splits.
    pub mishaps: Mishaps,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mishaps {
    /// Devices crash and are restarted; disks are full for a moment.
    pub crashes: bool,
    /// Links drop, double, delay and reorder; servers are restarted and leave gaps.
    pub links: bool,
    /// To-device messages get lost.
    pub lost_letters: bool,
    /// Clocks are wrong.
    pub clocks: bool,
    /// Key packages run out.
    pub exhaustion: bool,
    /// Stores are stolen.
    pub thefts: bool,
    /// Devices are cloned, or restored from old copies; such devices are not honest any more.
    pub copies: bool,
    /// Members and servers are malicious.
    pub adversaries: bool,
}

impl Mishaps {
    /// Everything that honest devices have to live with.
    pub const HONEST: Self = Self {
        crashes: true,
        links: true,
        lost_letters: true,
        clocks: true,
        exhaustion: true,
        thefts: true,
        copies: false,
        adversaries: false,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        crashes: false,
        links: false,
        lost_letters: false,
        clocks: false,
        exhaustion: false,
        thefts: false,
        copies: false,
        adversaries: false,
    };
}

impl Profile {
    /// Eight devices with real cryptography.
    pub const REAL: Self = Self {
        devices: (8, 8),
        servers: (2, 4),
        steps: 200,
        splits: 6,
        crypto: Crypto::Real,
        mishaps: Mishaps::HONEST,
    };
    /// Three to sixty-four devices with the stand-in, and as many steps as with real cryptography, besides those that
    /// bring the devices in.
    ///
    /// Most rooms are small: about half of the seeds have 3 to 5 devices, and each doubling of the size is half as
    /// frequent as the one before, down to one seed in thirty-one with 48 to 64. What goes wrong in small rooms goes
    /// wrong more often in a time; what takes many devices is still met in every hundred seeds.
    pub const FAST: Self = Self { devices: (3, 64), crypto: Crypto::StandIn, ..Self::REAL };
    /// A few devices, one of them malicious, on servers that lie; needs the test build.
    pub const HOSTILE: Self = Self {
        devices: (4, 6),
        servers: (2, 3),
        steps: 60,
        splits: 3,
        crypto: Crypto::Real,
        mishaps: Mishaps { adversaries: true, ..Mishaps::HONEST },
    };
}

/// A script from a seed.
pub fn generate(seed: u64, profile: &Profile) -> Script {
    let mut maker = Maker::new(seed, profile);
    maker.begin();
    while maker.made < profile.steps {
        if !maker.hostile_step() {
            maker.step();
        }
        maker.made += 1;
    }
    maker.script.steps.push(Step::Close);
    maker.script
}

/// A device, as the maker remembers it.
struct Known {
    name: Name,
    user: String,
    offline: bool,
    down: bool,
    gone: bool,
    skew: i64,
}

struct Maker<'a> {
    profile: &'a Profile,
    chances: Stream,
    script: Script,
    known: Vec<Known>,
    users: Vec<String>,
    /// Users that are or may be in the room.
    inside: BTreeSet<String>,
    invited: BTreeSet<String>,
    cut: BTreeSet<(ServerName, ServerName)>,
    splits: u64,
    devices: u64,
    said: usize,
    made: usize,
    malice: Option<hostile::Malice>,
}

/// What can come next, and how often.
const WEIGHTS: [(What, u64); 21] = [
    (What::Say, 60),
    (What::Wait, 45),
    (What::Rekey, 12),
    (What::Come, 14),
    (What::Join, 14),
    (What::Go, 3),
    (What::Kick, 3),
    (What::Power, 2),
    (What::Device, 4),
    (What::Logout, 1),
    (What::Offline, 5),
    (What::Online, 10),
    (What::Cut, 8),
    (What::Heal, 7),
    (What::Link, 5),
    (What::RestartServer, 3),
    (What::Crash, 10),
    (What::Restart, 16),
    (What::Exhaust, 3),
    (What::Clock, 2),
    (What::Copy, 4),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Say,
    Wait,
    Rekey,
    Come,
    Join,
    Go,
    Kick,
    Power,
    Device,
    Logout,
    Offline,
    Online,
    Cut,
    Heal,
    Link,
    RestartServer,
    Crash,
    Restart,
    Exhaust,
    Clock,
    Copy,
}

/// How many devices there are: each doubling of the fewest is half as frequent as the one before.
fn size(chances: &mut Stream, (fewest, most): (u64, u64)) -> u64 {
    let doublings = (most / fewest.max(1)).max(1).ilog2();
    // Of one alone nothing is drawn.
    let lot = if doublings > 0 { 1 + chances.below((2 << doublings) - 1) } else { 1 };
    let low = fewest << (doublings - lot.ilog2());
    low + chances.below((2 * low).min(most + 1).saturating_sub(low))
}

impl<'a> Maker<'a> {
    fn new(seed: u64, profile: &'a Profile) -> Self {
        let mut chances = Stream::new(seed, "script");
        let between = |chances: &mut Stream, (low, high): (u64, u64)| low + chances.below(high.saturating_sub(low) + 1);
        let servers: Vec<_> =
            (1..=between(&mut chances, profile.servers)).map(|number| format!("hs{number}")).collect();
        let devices = size(&mut chances, profile.devices);
        let mut script = Script::new(seed, &servers.iter().map(String::as_str).collect::<Vec<_>>());
        script.options.crypto = profile.crypto;
        script.options.soft_failed_by_id = chances.chance(200);
        Self {
            profile,
            chances,
            script,
            known: Vec::new(),
            users: Vec::new(),
            inside: BTreeSet::new(),
            invited: BTreeSet::new(),
            cut: BTreeSet::new(),
            splits: 0,
            devices,
            said: 0,
            made: 0,
            malice: profile.mishaps.adversaries.then(|| hostile::Malice::new(seed)),
        }
    }

    fn push(&mut self, step: Step) {
        self.script.steps.push(step);
    }

    /// Two thirds of the devices, most of them in the room.
    fn begin(&mut self) {
        let first = (self.devices * 2 / 3).max(2);
        for _ in 0..first {
            self.add_device();
        }
        let Some(creator) = self.known.first().map(|known| (known.name.clone(), known.user.clone())) else { return };
        self.push(Step::Wait(1_000));
        self.push(Step::Create(creator.0.clone()));
        self.inside.insert(creator.1);
        let others: Vec<_> = self.users.iter().skip(1).cloned().collect();
        for user in others {
            if self.chances.chance(900) {
                self.push(Step::Invite(creator.0.clone(), user.clone()));
                self.push(Step::Wait(200));
                self.join(&user);
            }
        }
        self.push(Step::Settle);
    }

    fn add_device(&mut self) {
        if (self.known.len() as u64) < self.devices {
            self.enrol();
        }
    }

    /// One more device, of a user who has one already or of a new one.
    fn enrol(&mut self) {
        let number = self.known.len();
        let user = match self.chances.pick(&self.users).cloned() {
            Some(user) if self.chances.chance(300) => user,
            _ => {
                let server = self.chances.pick(&self.script.options.servers).cloned();
                let user = format!("@u{}:{}", self.users.len(), server.map_or(String::new(), |server| server.0));
                self.users.push(user.clone());
                user
            }
        };
        let name = Name(format!("d{number}"));
        self.push(Step::Device(name.clone(), user.clone()));
        let skew = self.skew();
        if skew != 0 {
            self.push(Step::Clock(name.clone(), skew));
        }
        self.known.push(Known { name, user, offline: false, down: false, gone: false, skew });
    }

    fn skew(&mut self) -> i64 {
        if !self.profile.mishaps.clocks || !self.chances.chance(300) {
            return 0;
        }
        let skews = [5_000, -5_000, 3_600_000, -86_400_000, 400 * 86_400_000, -400 * 86_400_000];
        self.chances.pick(&skews).copied().unwrap_or_default()
    }

    fn join(&mut self, user: &str) {
        let device = self.known.iter().find(|known| known.user == user && !known.gone).map(|known| known.name.clone());
        if let Some(name) = device {
            self.push(Step::Join(name));
            self.inside.insert(user.to_owned());
            self.invited.remove(user);
        }
    }

    fn step(&mut self) {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.chances.below(total);
        for (what, weight) in WEIGHTS {
            if at < weight {
                return self.make(what);
            }
            at -= weight;
        }
    }

    /// A device in the room that runs.
    fn member(&mut self) -> Option<(Name, String)> {
        let of = |known: &&Known| self.inside.contains(&known.user) && !known.gone && !known.down;
        let members: Vec<_> =
            self.known.iter().filter(of).map(|known| (known.name.clone(), known.user.clone())).collect();
        self.chances.pick(&members).cloned()
    }

    /// The index of some device that is not gone and of which this holds.
    fn some(&mut self, of: impl Fn(&Known) -> bool) -> Option<usize> {
        let all: Vec<_> =
            (0..self.known.len()).filter(|index| !self.known[*index].gone && of(&self.known[*index])).collect();
        self.chances.pick(&all).copied()
    }

    fn make(&mut self, what: What) {
        // What is not possible becomes talk or time.
        if self.try_make(what).is_none() {
            let instead = if self.chances.chance(500) { What::Say } else { What::Wait };
            let _ = self.try_make(instead);
        }
    }

    fn try_make(&mut self, what: What) -> Option<()> {
        let mishaps = self.profile.mishaps;
        let step = match what {
            What::Wait => Step::Wait(match self.chances.below(10) {
                0 => 40_000 + self.chances.below(60_000),
                1..=3 => 2_000 + self.chances.below(8_000),
                _ => self.chances.below(1_500),
            }),
            What::Say => {
                self.said += 1;
                let (name, body) = (self.member()?.0, format!("message {}", self.said));
                Step::Say(name, body)
            }
            What::Rekey => Step::Rekey(self.member()?.0),
            What::Device => {
                self.add_device();
                return Some(());
            }
            What::Come | What::Join | What::Go | What::Kick | What::Power => return self.try_membership(what),
            What::Cut | What::Heal | What::Link | What::RestartServer => return self.try_servers(what),
            What::Logout => {
                let mine = self.some(|known| !known.down)?;
                // Somebody must be left to go on.
                (self.known.iter().filter(|known| !known.gone).count() > 3).then_some(())?;
                self.known[mine].gone = true;
                Step::Logout(self.known[mine].name.clone())
            }
            What::Offline => {
                let index = self.some(|known| !known.offline)?;
                self.known[index].offline = true;
                Step::Offline(self.known[index].name.clone())
            }
            What::Online => {
                let index = self.some(|known| known.offline)?;
                self.known[index].offline = false;
                Step::Online(self.known[index].name.clone())
            }
            What::Crash if mishaps.crashes => {
                let index = self.some(|known| !known.down)?;
                let name = self.known[index].name.clone();
                let count = usize::try_from(self.chances.below(12)).unwrap_or_default();
                match self.chances.below(5) {
                    0 => Step::FillDisk(name, count),
                    1 => {
                        self.known[index].down = true;
                        Step::Crash(name)
                    }
                    kind => {
                        self.known[index].down = true;
                        let point = [CrashPoint::Write, CrashPoint::Request, CrashPoint::Answer]
                            [usize::try_from(kind - 2).unwrap_or_default()];
                        Step::CrashAt(name, point(count))
                    }
                }
            }
            What::Restart => {
                let index = self.some(|known| known.down)?;
                self.known[index].down = false;
                Step::Restart(self.known[index].name.clone())
            }
            What::Exhaust if mishaps.exhaustion => {
                Step::Exhaust(self.some(|_| true).map(|index| self.known[index].name.clone())?)
            }
            What::Clock if mishaps.clocks => {
                // A clock that is wrong is wrong from the beginning; later it only drifts.
                let index = self.some(|_| true)?;
                let drift = self.chances.below(10_000).cast_signed() - 5_000;
                Step::Clock(self.known[index].name.clone(), self.known[index].skew + drift)
            }
            What::Copy => return self.try_copy(mishaps),
            What::Crash | What::Exhaust | What::Clock => return None,
        };
        self.push(step);
        Some(())
    }

    fn try_membership(&mut self, what: What) -> Option<()> {
        let step = match what {
            What::Come => {
                let outside: Vec<_> = self.users.iter().filter(|user| !self.inside.contains(*user)).cloned().collect();
                let (by, user) = (self.member()?.0, self.chances.pick(&outside).cloned()?);
                self.push(Step::Invite(by, user.clone()));
                if self.chances.chance(700) {
                    self.push(Step::Wait(300));
                    self.join(&user);
                } else {
                    self.invited.insert(user);
                }
                return Some(());
            }
            What::Join => {
                let invited: Vec<_> = self.invited.iter().cloned().collect();
                let user = self.chances.pick(&invited).cloned()?;
                self.join(&user);
                return Some(());
            }
            What::Go => {
                let (name, user) = self.member()?;
                // The creator stays, so that somebody can always invite, kick and give power.
                (self.inside.len() > 2 && self.users.first() != Some(&user)).then_some(())?;
                self.inside.remove(&user);
                Step::Leave(name)
            }
            What::Kick => {
                // The creator can; whoever was given power may; others are refused.
                let by = if self.chances.chance(700) { self.known.first()?.name.clone() } else { self.member()?.0 };
                let user = self.member()?.1;
                (self.users.first() != Some(&user)).then_some(())?;
                if self.chances.chance(150) { Step::Ban(by, user) } else { self.kicked(by, user) }
            }
            _ => Step::Power(self.known.first()?.name.clone(), self.member()?.1, 50),
        };
        self.push(step);
        Some(())
    }

    fn kicked(&mut self, by: Name, user: String) -> Step {
        if self.inside.len() > 2 {
            self.inside.remove(&user);
        }
        Step::Kick(by, user)
    }

    fn try_servers(&mut self, what: What) -> Option<()> {
        let servers = self.script.options.servers.clone();
        let (one, other) = (self.chances.pick(&servers).cloned()?, self.chances.pick(&servers).cloned()?);
        let pair = if one < other { (one, other) } else { (other, one) };
        let step = match what {
            What::Cut => {
                (pair.0 != pair.1 && self.splits < self.profile.splits && self.cut.insert(pair.clone()))
                    .then_some(())?;
                self.splits += 1;
                Step::Cut(pair.0, pair.1)
            }
            What::Heal => {
                let cut: Vec<_> = self.cut.iter().cloned().collect();
                let pair = self.chances.pick(&cut).cloned()?;
                self.cut.remove(&pair);
                Step::Heal(pair.0, pair.1)
            }
            What::RestartServer if self.profile.mishaps.links => Step::RestartServer(pair.0),
            What::Link if self.profile.mishaps.links => {
                let faults = self.faults();
                Step::Link(pair.0, pair.1, faults)
            }
            _ => return None,
        };
        self.push(step);
        Some(())
    }

    fn faults(&mut self) -> Faults {
        let mut faults = Faults::default();
        match self.chances.below(7) {
            0 => faults.delay = 200 + self.chances.below(3_000),
            1 => faults.jitter = 200 + self.chances.below(3_000),
            2 => faults.drop = 300,
            3 => faults.duplicate = 300,
            4 => (faults.reorder, faults.jitter) = (300, 1_000),
            5 if self.profile.mishaps.lost_letters => faults.lose_to_device = 300,
            _ => faults.list_lag = 1_000 + self.chances.below(20_000),
        }
        faults
    }

    fn try_copy(&mut self, mishaps: Mishaps) -> Option<()> {
        let kind = self.chances.below(4);
        let index = self.some(|known| !known.down)?;
        let name = self.known[index].name.clone();
        let step = match kind {
            0 if mishaps.thefts => Step::Steal(name),
            1 if mishaps.copies => Step::Copy(name),
            2 if mishaps.copies => Step::Restore(name),
            3 if mishaps.copies => {
                let copy = Name(format!("{name}x{}", self.made));
                Step::Clone(name, copy)
            }
            _ => return None,
        };
        self.push(step);
        Some(())
    }
}
