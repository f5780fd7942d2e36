//! Malicious members and servers, and devices whose keys somebody else has.
//!
//! A malicious device runs the real machine, so that it is where everybody else is, and does something of its own
//! whenever a script says so. From then on nothing is asked of it; of everybody else all is.

#[cfg(dmls_mutants)]
mod commits;
#[cfg(dmls_mutants)]
mod letters;
#[cfg(dmls_mutants)]
mod messages;
#[cfg(dmls_mutants)]
mod plotter;

use dmls_matrix::RoomId;

use super::{Fault, World, fault};
use crate::client::Client;
use crate::script::{Lie, Ploy};
use crate::trace::{Fact, Name, ServerName};

#[cfg(dmls_mutants)]
pub(super) use plotter::{Plotter, bytes_of};

impl World {
    /// A malicious device does something; without the test build, which can forge, it does nothing.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn plot(&mut self, name: &Name, room: &RoomId, ploy: Ploy) -> Result<(), Fault> {
        self.client(name)?.honest = false;
        #[cfg(dmls_mutants)]
        self.carry_out(name, room, ploy)?;
        let _ = (room, ploy);
        self.rouse();
        Ok(())
    }

    /// A device is logged in anew under its id, with new keys. Its old store is a thief's from then on, who knows what
    /// follows from it, as `NAME-old`.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn replace(&mut self, name: &Name) -> Result<(), Fault> {
        let old_name = Name(format!("{name}-old"));
        if self.client(name)?.logged_out || self.has(&old_name) {
            return Ok(());
        }
        self.steal(name)?;
        let seed = self.options.seed;
        let client = self.client(name)?;
        let fresh = Client::enrolled(
            seed,
            client.suite,
            &format!("{name} again"),
            client.device.clone(),
            client.facts.endorsement,
        );
        let mut fresh = fresh.map_err(|error| fault(name, &error))?;
        fresh.skew = client.skew;
        let mut old = std::mem::replace(client, fresh);
        (old.honest, old.online, old.logged_out) = (false, false, true);
        let device = old.device.clone();
        self.net.forget_keys(&device);
        self.note(Fact::Cloned { name: old_name.clone(), from: name.clone() });
        self.clients.insert(old_name, old);
        self.note_began(name)?;
        self.announce(&device.user);
        self.stir(name);
        Ok(())
    }

    /// A server lies from now on.
    pub fn lie(&mut self, server: &ServerName, lie: &Lie) {
        self.net.lie(server, lie);
        self.note_net();
        self.rouse();
    }

    /// A server tells all that it kept back, and the truth from now on.
    pub fn truth(&mut self, server: &ServerName) {
        self.net.truth(server, self.now);
        self.note_net();
        self.rouse();
    }
}
