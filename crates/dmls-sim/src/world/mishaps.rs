//! What befalls devices.

use super::{Fault, World, fault};
use crate::client::CrashPoint;
use crate::trace::{Fact, Name};

impl World {
    /// A device loses its network.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn offline(&mut self, name: &Name) -> Result<(), Fault> {
        if std::mem::replace(&mut self.client(name)?.online, false) {
            self.note(Fact::WentOffline { name: name.clone() });
        }
        Ok(())
    }

    /// A device has its network again.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn online(&mut self, name: &Name) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.client(name)?.online, true) {
            self.note(Fact::CameOnline { name: name.clone() });
            self.stir(name);
        }
        Ok(())
    }

    /// A device loses all that it has not stored, and is down.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn crash(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        if client.machine.is_some() {
            client.go_down();
            self.note(Fact::Crashed { name: name.clone() });
        }
        Ok(())
    }

    /// A device will crash at a point to come.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn crash_at(&mut self, name: &Name, point: CrashPoint) -> Result<(), Fault> {
        let client = self.client(name)?;
        if let Some(machine) = client.machine.as_mut() {
            match point {
                CrashPoint::Write(writes) => machine.journal_mut().fail_after(writes),
                CrashPoint::Full(commits) => machine.journal_mut().refuse_after(commits),
                CrashPoint::Commit(commits) => machine.journal_mut().die_after(commits, false),
                CrashPoint::Stored(commits) => machine.journal_mut().die_after(commits, true),
                CrashPoint::Request(_) | CrashPoint::Answer(_) | CrashPoint::Cut(_) | CrashPoint::Torn(_) => {}
            }
        }
        client.crash = Some(point);
        Ok(())
    }

    /// A device that is down is started.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn restart(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        if client.machine.is_none() {
            client.come_up().map_err(|error| fault(name, &error))?;
            self.note(Fact::Restarted { name: name.clone() });
            self.stir(name);
        }
        Ok(())
    }

    /// A device's disk takes so many more writes and then fails once.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn fill_disk(&mut self, name: &Name, writes: usize) -> Result<(), Fault> {
        if let Some(machine) = self.client(name)?.machine.as_mut() {
            machine.journal_mut().fail_after(writes);
        }
        Ok(())
    }

    /// Whatever was to go wrong on a device's disk no longer will, and no crash comes.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn mend(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        client.crash = None;
        if let Some(machine) = client.machine.as_mut() {
            machine.journal_mut().heal();
        }
        Ok(())
    }

    /// A copy of a device goes on beside it, under another name here and the same one to everybody else.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn clone_device(&mut self, from: &Name, name: &Name) -> Result<(), Fault> {
        let seed = self.options.seed;
        let client = self.client(from)?;
        client.honest = false;
        let copy = client.fork(seed, name).map_err(|error| fault(from, &error))?;
        self.clients.insert(name.clone(), copy);
        self.note(Fact::Cloned { name: name.clone(), from: from.clone() });
        self.stir(name);
        Ok(())
    }

    /// A copy of a device's store is laid aside.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn copy_store(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        client.aside = Some(client.journal().clone());
        self.note(Fact::Copied { name: name.clone() });
        Ok(())
    }

    /// A device goes back to the store that was laid aside, if one was.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn restore(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        let Some(aside) = client.aside.clone() else { return Ok(()) };
        client.go_down();
        client.store = aside;
        client.store.heal();
        client.honest = false;
        client.taken.clear();
        client.come_up().map_err(|error| fault(name, &error))?;
        self.note(Fact::Restored { name: name.clone() });
        self.stir(name);
        Ok(())
    }

    /// A thief copies a device's store.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`], [`Fault::Machine`].
    pub fn steal(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        let mut thief = client.fork(0, name).map_err(|error| fault(name, &error))?;
        let held = super::thief::held(&mut thief).map_err(|error| fault(name, &error))?;
        let entry = self.trace.entries.len();
        self.stolen.push((entry, thief));
        self.note(Fact::Stolen { name: name.clone(), held });
        Ok(())
    }

    /// Somebody claims all one-time keys of a device.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn exhaust(&mut self, name: &Name) -> Result<(), Fault> {
        let device = self.client(name)?.device.clone();
        self.net.exhaust(&device);
        Ok(())
    }

    /// A device's clock is off by so many milliseconds from now on.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn set_clock(&mut self, name: &Name, skew: i64) -> Result<(), Fault> {
        self.client(name)?.skew = skew;
        self.stir(name);
        Ok(())
    }

    /// A device is logged out: its server no longer lists it, and it goes offline.
    ///
    /// # Errors
    /// [`Fault::NoSuchDevice`].
    pub fn log_out(&mut self, name: &Name) -> Result<(), Fault> {
        let client = self.client(name)?;
        if client.logged_out {
            return Ok(());
        }
        let device = client.device.clone();
        for client in self.clients.values_mut().filter(|client| client.device == device) {
            client.logged_out = true;
            client.online = false;
        }
        self.note(Fact::LoggedOut { name: name.clone() });
        self.announce(&device.user);
        Ok(())
    }
}
