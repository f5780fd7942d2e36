//! Scripts as text.

use std::fmt;

use super::{Lie, Ploy, Script, Step};
use crate::client::CrashPoint;
use crate::net::Faults;
use crate::trace::{Name, ServerName};
use crate::world::{Crypto, Options};

/// A line that is none of a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?}")]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// Reads a script; empty lines and lines that begin with `#` are passed over.
///
/// # Errors
/// [`BadLine`].
pub fn parse(text: &str) -> Result<Script, BadLine> {
    let options = Options { seed: 0, servers: Vec::new(), crypto: Crypto::Real, soft_failed_by_id: false };
    let mut script = Script { options, steps: Vec::new() };
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        take_line(&mut script, line).ok_or_else(|| BadLine { line: index + 1, text: line.to_owned() })?;
    }
    Ok(script)
}

fn take_line(script: &mut Script, line: &str) -> Option<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let options = &mut script.options;
    match word {
        "seed" => options.seed = rest.parse().ok()?,
        "servers" => options.servers = rest.split(' ').map(ServerName::from).collect(),
        "crypto" => options.crypto = crypto(rest)?,
        "soft-failed-by-id" => options.soft_failed_by_id = true,
        _ => script.steps.push(step(word, rest)?),
    }
    Some(())
}

fn crypto(word: &str) -> Option<Crypto> {
    [Crypto::Real, Crypto::StandIn].into_iter().find(|crypto| crypto.word() == word)
}

/// A word and the step of one device that it makes.
type Alone = (&'static str, fn(Name) -> Step);
/// A word and the step of one device and a text that it makes.
type WithText = (&'static str, fn(Name, String) -> Step);

const ALONE: [Alone; 14] = [
    ("create", Step::Create),
    ("join", Step::Join),
    ("leave", Step::Leave),
    ("rekey", Step::Rekey),
    ("logout", Step::Logout),
    ("offline", Step::Offline),
    ("online", Step::Online),
    ("crash", Step::Crash),
    ("restart", Step::Restart),
    ("copy", Step::Copy),
    ("restore", Step::Restore),
    ("steal", Step::Steal),
    ("exhaust", Step::Exhaust),
    ("replace", Step::Replace),
];
const WITH_TEXT: [WithText; 5] =
    [("device", Step::Device), ("invite", Step::Invite), ("kick", Step::Kick), ("ban", Step::Ban), ("say", Step::Say)];

fn step(word: &str, rest: &str) -> Option<Step> {
    if let Some((_, make)) = ALONE.iter().find(|(known, _)| *known == word) {
        return (!rest.is_empty() && !rest.contains(' ')).then(|| make(Name::from(rest)));
    }
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if let Some((_, make)) = WITH_TEXT.iter().find(|(known, _)| *known == word) {
        return (!rest.is_empty()).then(|| make(Name::from(first), rest.to_owned()));
    }
    let (name, server) = (Name::from(first), ServerName::from(first));
    Some(match word {
        "power" => {
            let (user, level) = rest.split_once(' ')?;
            Step::Power(name, user.to_owned(), level.parse().ok()?)
        }
        "crash-at" => Step::CrashAt(name, point(rest)?),
        "fill-disk" => Step::FillDisk(name, rest.parse().ok()?),
        "clone" => Step::Clone(name, Name::from(rest)),
        "clock" => Step::Clock(name, rest.parse().ok()?),
        "plot" => Step::Plot(name, Ploy::parse(rest)?),
        "lie" => Step::Lie(server, Lie::parse(rest)?),
        "truth" => Step::Truth(server),
        "cut" => Step::Cut(server, ServerName::from(rest)),
        "heal" => Step::Heal(server, ServerName::from(rest)),
        "restart-server" => Step::RestartServer(server),
        "link" => {
            let (other, faults) = rest.split_once(' ').unwrap_or((rest, ""));
            Step::Link(server, ServerName::from(other), self::faults(faults)?)
        }
        "wait" => Step::Wait(first.parse().ok()?),
        "settle" => Step::Settle,
        "close" => Step::Close,
        _ => return None,
    })
}

/// A word and the crash point that it makes.
type Point = (&'static str, fn(usize) -> CrashPoint);

const POINTS: [Point; 8] = [
    ("write", CrashPoint::Write),
    ("full", CrashPoint::Full),
    ("commit", CrashPoint::Commit),
    ("stored", CrashPoint::Stored),
    ("request", CrashPoint::Request),
    ("answer", CrashPoint::Answer),
    ("cut", CrashPoint::Cut),
    ("torn", CrashPoint::Torn),
];

fn point(text: &str) -> Option<CrashPoint> {
    let (word, count) = text.split_once(' ')?;
    let (_, make) = POINTS.iter().find(|(known, _)| *known == word)?;
    Some(make(count.parse().ok()?))
}

fn faults(text: &str) -> Option<Faults> {
    let mut faults = Faults::default();
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        let (word, value) = part.split_once('=')?;
        match word {
            "delay" => faults.delay = value.parse().ok()?,
            "jitter" => faults.jitter = value.parse().ok()?,
            "drop" => faults.drop = value.parse().ok()?,
            "duplicate" => faults.duplicate = value.parse().ok()?,
            "reorder" => faults.reorder = value.parse().ok()?,
            "lose-to-device" => faults.lose_to_device = value.parse().ok()?,
            "list-lag" => faults.list_lag = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(faults)
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, servers, crypto, soft_failed_by_id } = &self.options;
        let servers: Vec<_> = servers.iter().map(|name| name.0.as_str()).collect();
        writeln!(f, "seed {seed}\ncrypto {}\nservers {}", crypto.word(), servers.join(" "))?;
        if *soft_failed_by_id {
            writeln!(f, "soft-failed-by-id")?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name, user) => write!(f, "device {name} {user}"),
            Self::Create(name) => write!(f, "create {name}"),
            Self::Invite(name, user) => write!(f, "invite {name} {user}"),
            Self::Join(name) => write!(f, "join {name}"),
            Self::Leave(name) => write!(f, "leave {name}"),
            Self::Kick(name, user) => write!(f, "kick {name} {user}"),
            Self::Ban(name, user) => write!(f, "ban {name} {user}"),
            Self::Power(name, user, level) => write!(f, "power {name} {user} {level}"),
            Self::Say(name, body) => write!(f, "say {name} {body}"),
            Self::Rekey(name) => write!(f, "rekey {name}"),
            Self::Logout(name) => write!(f, "logout {name}"),
            Self::Offline(name) => write!(f, "offline {name}"),
            Self::Online(name) => write!(f, "online {name}"),
            Self::Crash(name) => write!(f, "crash {name}"),
            Self::CrashAt(name, point) => write!(f, "crash-at {name} {point}"),
            Self::Restart(name) => write!(f, "restart {name}"),
            Self::FillDisk(name, writes) => write!(f, "fill-disk {name} {writes}"),
            Self::Clone(from, name) => write!(f, "clone {from} {name}"),
            Self::Copy(name) => write!(f, "copy {name}"),
            Self::Restore(name) => write!(f, "restore {name}"),
            Self::Steal(name) => write!(f, "steal {name}"),
            Self::Exhaust(name) => write!(f, "exhaust {name}"),
            Self::Clock(name, skew) => write!(f, "clock {name} {skew}"),
            Self::Plot(name, ploy) => write!(f, "plot {name} {}", ploy.word()),
            Self::Replace(name) => write!(f, "replace {name}"),
            Self::Lie(server, lie) => write!(f, "lie {server} {}", lie.words()),
            Self::Truth(server) => write!(f, "truth {server}"),
            Self::Cut(one, other) => write!(f, "cut {one} {other}"),
            Self::Heal(one, other) => write!(f, "heal {one} {other}"),
            Self::RestartServer(name) => write!(f, "restart-server {name}"),
            Self::Link(one, other, faults) => write!(f, "link {one} {other}{}", Words(faults)),
            Self::Wait(millis) => write!(f, "wait {millis}"),
            Self::Settle => f.write_str("settle"),
            Self::Close => f.write_str("close"),
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self {
            Self::Write(count) | Self::Commit(count) | Self::Stored(count) | Self::Request(count) => count,
            Self::Answer(count) | Self::Cut(count) | Self::Torn(count) | Self::Full(count) => count,
        };
        let word = POINTS.iter().find(|(_, make)| make(*count) == *self).map_or("", |(word, _)| *word);
        write!(f, "{word} {count}")
    }
}

/// The faults that differ from a good link.
struct Words<'a>(&'a Faults);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Faults { delay, jitter, drop, duplicate, reorder, lose_to_device, list_lag }, usual) =
            (*self.0, Faults::default());
        let numbers = [
            ("delay", delay, usual.delay),
            ("jitter", jitter, usual.jitter),
            ("drop", drop.into(), usual.drop.into()),
            ("duplicate", duplicate.into(), usual.duplicate.into()),
            ("reorder", reorder.into(), usual.reorder.into()),
            ("lose-to-device", lose_to_device.into(), usual.lose_to_device.into()),
            ("list-lag", list_lag, usual.list_lag),
        ];
        numbers
            .iter()
            .filter(|(_, value, usual)| value != usual)
            .try_for_each(|(word, value, _)| write!(f, " {word}={value}"))
    }
}
