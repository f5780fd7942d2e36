//! Makes a script that fails shorter, as long as it goes on failing.

use crate::script::{Script, Step};
use crate::trace::Name;

/// The shortest script that was found for which `fails` still holds; the script itself if it does not hold at all.
///
/// First whole devices go, with all their steps, then runs of steps, shorter and shorter (Zeller's delta debugging).
/// `fails` is asked at most `tries` times.
pub fn shrink(script: &Script, tries: usize, fails: &mut dyn FnMut(&Script) -> bool) -> Script {
    let mut shrinker = Shrinker { best: script.clone(), left: tries, fails };
    if !shrinker.holds(&script.clone()) {
        return script.clone();
    }
    loop {
        let before = shrinker.best.steps.len();
        shrinker.drop_devices();
        shrinker.drop_runs();
        shrinker.drop_servers();
        if shrinker.best.steps.len() == before || shrinker.left == 0 {
            return shrinker.best;
        }
    }
}

struct Shrinker<'a> {
    best: Script,
    left: usize,
    fails: &'a mut dyn FnMut(&Script) -> bool,
}

impl Shrinker<'_> {
    fn holds(&mut self, script: &Script) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        (self.fails)(script)
    }

    /// Takes `steps` if the script fails with them too.
    fn try_steps(&mut self, steps: Vec<Step>) -> bool {
        if steps.len() >= self.best.steps.len() {
            return false;
        }
        let shorter = Script { options: self.best.options.clone(), steps };
        let holds = self.holds(&shorter);
        if holds {
            self.best = shorter;
        }
        holds
    }

    fn drop_devices(&mut self) {
        let devices = self.best.steps.iter().filter_map(|step| match step {
            Step::Device(name, _) | Step::Clone(_, name) => Some(name.clone()),
            _ => None,
        });
        for name in devices.collect::<Vec<_>>() {
            let steps = self.best.steps.iter().filter(|step| device(step) != Some(&name)).cloned().collect();
            self.try_steps(steps);
        }
    }

    fn drop_runs(&mut self) {
        let mut length = self.best.steps.len() / 2;
        while length > 0 {
            // From the end: what is late has fewer consequences.
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(length);
                let steps = [&self.best.steps[..start], &self.best.steps[end.min(self.best.steps.len())..]].concat();
                self.try_steps(steps);
                end = start;
            }
            length /= 2;
        }
    }

    /// Servers that nobody lives on.
    fn drop_servers(&mut self) {
        for server in self.best.options.servers.clone() {
            let lives = |step: &Step| matches!(step, Step::Device(_, user) if user.ends_with(&format!(":{server}")));
            if self.best.steps.iter().any(lives) {
                continue;
            }
            let mut fewer = self.best.clone();
            fewer.options.servers.retain(|known| *known != server);
            if self.holds(&fewer) {
                self.best = fewer;
            }
        }
    }
}

/// The device that does the step or to which it is done.
fn device(step: &Step) -> Option<&Name> {
    match step {
        Step::Device(name, _)
        | Step::Create(name)
        | Step::Invite(name, _)
        | Step::Join(name)
        | Step::Leave(name)
        | Step::Kick(name, _)
        | Step::Ban(name, _)
        | Step::Power(name, _, _)
        | Step::Say(name, _)
        | Step::Rekey(name)
        | Step::Logout(name)
        | Step::Offline(name)
        | Step::Online(name)
        | Step::Crash(name)
        | Step::CrashAt(name, _)
        | Step::Restart(name)
        | Step::FillDisk(name, _)
        | Step::Clone(_, name)
        | Step::Copy(name)
        | Step::Restore(name)
        | Step::Steal(name)
        | Step::Exhaust(name)
        | Step::Plot(name, _)
        | Step::Replace(name)
        | Step::Clock(name, _) => Some(name),
        Step::Cut(..)
        | Step::Heal(..)
        | Step::RestartServer(_)
        | Step::Lie(..)
        | Step::Truth(_)
        | Step::Link(..)
        | Step::Wait(_)
        | Step::Settle
        | Step::Close => None,
    }
}
