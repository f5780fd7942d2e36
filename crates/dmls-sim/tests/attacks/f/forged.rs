//! Attacks with bytes that no honest device makes.

use dmls::craft::{Commit, State};
use dmls::effect::{Need, Notice};

use crate::attack::End;
use crate::core_world::{Seeded, World};
use crate::scene::{group_of, post};

const RECEIVERS: [&str; 3] = ["alice", "bob", "carol"];

/// F14. A path that does not open for some, in all seven ways among three receivers (six in the list).
pub fn poisoned_path() -> End {
    End::succeeded_if((1..8u8).any(|subset| !recovers(subset)))
}

/// Whether those who cannot open it know whom to blame, and all three come together again.
fn recovers(subset: u8) -> bool {
    let mut world = group_of(&["alice", "bob", "carol", "mallory"]);
    let victims = RECEIVERS.iter().enumerate().filter(|(at, _)| subset & 1 << at != 0);
    let victims: Vec<_> = victims.map(|(_, name)| world.peers[*name].own.device().clone()).collect();
    let base = State::of(&world.peers["mallory"].group, &world.canonical("mallory").unwrap()).unwrap();
    let made = Commit::on(&base).poison(&victims).build(&mut Seeded::new(subset.into())).unwrap();
    post(&mut world, "mallory", &made.commit);
    RECEIVERS.iter().for_each(|name| world.take_in(name));
    let blames = |name: &str| {
        let blamed =
            |notice: &Notice| matches!(notice, Notice::CannotProcess { device, .. } if device.user == "mallory");
        world.peers[name].notices.iter().any(blamed)
    };
    let poisoned = |name: &str| made.poisoned.iter().any(|device| device.user == name);
    RECEIVERS.iter().all(|name| blames(name) == poisoned(name)) && come_together(&mut world)
}

fn come_together(world: &mut World) -> bool {
    for _ in 0..4 {
        for name in RECEIVERS {
            world.tick(120_000);
            world.sync(name);
            let needs = world.peers[name].group.needs(world.now);
            if needs.iter().any(|need| matches!(need, Need::Ask { .. })) {
                world.ask(name);
            }
        }
    }
    RECEIVERS.iter().for_each(|name| world.sync(name));
    for name in RECEIVERS {
        world.send(name, &format!("{name} is here"));
    }
    RECEIVERS.iter().for_each(|name| world.sync(name));
    let all = |name: &&str| RECEIVERS.iter().all(|other| world.texts(name).contains(&format!("{other} is here")));
    RECEIVERS.iter().all(|name| all(name) && world.canonical(name) == world.canonical("alice"))
}
