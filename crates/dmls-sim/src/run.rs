//! Runs a script in a world.

use dmls_matrix::RoomId;
use dmls_matrix::facts::Endorsement;

use crate::net::Faults;
use crate::script::{ROOM, Script, Step};
use crate::trace::{Name, ServerName, Trace};
use crate::world::{Counts, Crypto, Fault, World};

/// Nothing was posted for so long: longer than any pause that a device makes by itself.
const QUIET: u64 = 660_000;
/// A short rest inside a script.
const SHORT: u64 = 5_000;
/// What takes longer never settles.
const LIMIT: u64 = 12 * 3_600_000;

/// A run that came to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What happened.
    pub trace: Trace,
    /// SHA-256 over everything that was published.
    pub digest: [u8; 32],
    /// In numbers.
    pub counts: Counts,
    /// The cryptography that was used.
    pub crypto: Crypto,
}

/// A run that broke off.
#[derive(Debug, Clone, thiserror::Error)]
#[error("step {step}: {fault}")]
pub struct Broken {
    /// In which step, from 0.
    pub step: usize,
    /// Why.
    pub fault: Fault,
}

/// Runs a script to its end.
///
/// # Errors
/// [`Broken`].
pub fn run(script: &Script) -> Result<Outcome, Broken> {
    run_watched(script, &mut |_, _| {})
}

/// Runs a script; `watch` is called after each step.
///
/// # Errors
/// [`Broken`].
pub fn run_watched(script: &Script, watch: &mut dyn FnMut(usize, &mut World)) -> Result<Outcome, Broken> {
    let mut world = World::new(script.options.clone());
    for (step, what) in script.steps.iter().enumerate() {
        world.set_step(step);
        match carry_out(&mut world, what) {
            // A part of a script may lack what another part did.
            Ok(()) | Err(Fault::NoSuchDevice(_)) => {}
            Err(fault) => return Err(Broken { step, fault }),
        }
        watch(step, &mut world);
    }
    let (digest, counts, crypto) = (world.digest(), world.counts(), script.options.crypto);
    let trace = world.finish().map_err(|fault| Broken { step: script.steps.len(), fault })?;
    Ok(Outcome { trace, digest, counts, crypto })
}

/// One step. What a server refuses is no failure.
fn carry_out(world: &mut World, step: &Step) -> Result<(), Fault> {
    let room = RoomId::from(ROOM);
    match step {
        Step::Device(name, user) if world.has(name) || !world.is_served(user) => {}
        Step::Device(name, user) => world.add(name, user, Endorsement::Endorsed)?,
        Step::Create(name) => drop(world.create(name, &room)?),
        Step::Invite(name, user) => drop(world.invite(name, &room, user)?),
        Step::Join(name) => drop(world.join(name, &room)?),
        Step::Leave(name) => drop(world.leave(name, &room)?),
        Step::Kick(name, user) => drop(world.set_membership(name, &room, user, "leave")?),
        Step::Ban(name, user) => drop(world.set_membership(name, &room, user, "ban")?),
        Step::Power(name, user, level) => drop(world.empower(name, &room, user, *level)?),
        Step::Say(name, body) => world.say(name, &room, body)?,
        Step::Rekey(name) => world.rekey(name, &room)?,
        Step::Logout(name) => world.log_out(name)?,
        Step::Offline(name) => world.offline(name)?,
        Step::Online(name) => world.online(name)?,
        Step::Crash(name) => world.crash(name)?,
        Step::CrashAt(name, point) => world.crash_at(name, *point)?,
        Step::Restart(name) => world.restart(name)?,
        Step::FillDisk(name, writes) => world.fill_disk(name, *writes)?,
        Step::Clone(_, name) if world.has(name) => {}
        Step::Clone(from, name) => world.clone_device(from, name)?,
        Step::Copy(name) => world.copy_store(name)?,
        Step::Restore(name) => world.restore(name)?,
        Step::Steal(name) => world.steal(name)?,
        Step::Exhaust(name) => world.exhaust(name)?,
        Step::Clock(name, skew) => world.set_clock(name, *skew)?,
        Step::Plot(name, ploy) => world.plot(name, &room, *ploy)?,
        Step::Replace(name) => world.replace(name)?,
        Step::Lie(server, lie) => world.lie(server, lie),
        Step::Truth(server) => world.truth(server),
        Step::Cut(one, other) => world.net.cut(one, other),
        Step::Heal(one, other) => world.net.heal(one, other),
        Step::RestartServer(name) => world.net.restart_server(name),
        Step::Link(one, other, faults) => world.net.set_faults(one, other, *faults),
        Step::Wait(millis) => {
            world.run_for(*millis)?;
            world.look(&room)?;
        }
        Step::Settle => {
            world.settle(SHORT, LIMIT)?;
            world.look(&room)?;
        }
        Step::Close => close(world, &room)?,
    }
    Ok(())
}

fn close(world: &mut World, room: &RoomId) -> Result<(), Fault> {
    let servers: Vec<ServerName> = world.net.servers().cloned().collect();
    for one in &servers {
        for other in &servers {
            world.net.heal(one, other);
            world.net.set_faults(one, other, Faults::default());
        }
        world.truth(one);
    }
    let names: Vec<Name> = world.clients().map(|(name, _)| name.clone()).collect();
    for name in &names {
        world.mend(name)?;
        world.restart(name)?;
        if !world.client(name)?.logged_out {
            world.online(name)?;
        }
    }
    world.settle(QUIET, LIMIT)?;
    for name in &names {
        let client = world.client(name)?;
        let (home, user, up) = (client.home.clone(), client.device.user.clone(), client.is_up());
        if up && world.net.membership(&home, room, &user) == "join" {
            world.say(name, room, &format!("last words of {name}"))?;
        }
    }
    world.settle(QUIET, LIMIT)
}
