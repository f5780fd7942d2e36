//! A room that is old: what it takes to open it and to show what was said last.

use std::time::{Duration, Instant};

use dmls::journal::{Journal, Records, Write};
use dmls_matrix::facts::Endorsement;
use dmls_matrix::{Machine, RoomId};
use dmls_sim::net::Refusal;
use dmls_sim::trace::{Name, ServerName};
use dmls_sim::world::{Crypto, Options, World};
use dmls_store::{Key, SqliteStore};

use crate::contestant::Failure;
use crate::meter::{at_most, timed};
use crate::sheet::{CORE, Sheet, Unit, say};

/// How many messages are shown.
const SHOWN: usize = 50;
/// Long enough for a commit or a message to be made and to come, in virtual milliseconds.
const SOON: u64 = 3_000;
const KEY: [u8; 32] = [1; 32];

/// Two people on one server go on for so many epochs, with a message in each; then one of them opens the room again, and
/// is shown the last messages.
///
/// # Errors
/// Whatever the world fails with; if the room that is opened is not the one that was stored.
pub fn old(epochs: usize, sheet: &mut Sheet) -> Result<(), Failure> {
    if !sheet.wants("room/") {
        return Ok(());
    }
    say(&format!("{CORE}: a room of {epochs} epochs and as many messages"));
    let (alice, bob, room) = (Name::from("alice"), Name::from("bob"), RoomId::from("!room"));
    let Some(mut world) = live(epochs, &alice, &bob, &room, sheet.deadline())? else {
        sheet.miss("room/", 2, CORE, format!("making ready for {epochs} epochs took too long"));
        return Ok(());
    };
    let client = world.client(&bob)?;
    let (dir, device) = (tempfile::tempdir()?, client.device.clone());
    let journal = client.machine.as_ref().ok_or("the device is down")?.journal();
    let mut writes = Vec::new();
    for (table, place) in journal.places() {
        let value = journal.get(table, place)?.ok_or("a record has gone")?;
        writes.push(Write::Put { table, key: place.to_vec(), value });
    }
    let store = || SqliteStore::open(dir.path(), &Key::raw(KEY), Duration::ZERO);
    store()?.commit(&writes)?;
    let ((opened, store_heap), store_spent) = timed(|| at_most(store));
    let opened = opened?;
    let show = || -> Result<_, Failure> {
        let mut machine = Machine::open(opened, device)?;
        let rows = machine.newest_messages(&room, SHOWN)?;
        Ok((machine, rows))
    };
    let ((shown, heap), spent) = timed(|| at_most(show));
    let (mut machine, rows) = shown?;
    if rows.len() != SHOWN.min(epochs) || rows.iter().any(|row| row.content.is_none()) {
        return Err("not all that was said last can be read".into());
    }
    let known = world.client(&bob)?.machine.as_mut().ok_or("the device is down")?.log(&room)?;
    if machine.log(&room)? != known {
        return Err("another room was opened than was stored".into());
    }
    sheet.put("room/open-store", 2, CORE, Unit::Ms, store_spent);
    sheet.put("room/open-store-heap", 2, CORE, Unit::B, store_heap);
    sheet.put("room/show", 2, CORE, Unit::Ms, spent);
    sheet.put("room/show-heap", 2, CORE, Unit::B, heap);
    Ok(())
}

/// `None` if it took too long.
fn live(epochs: usize, alice: &Name, bob: &Name, room: &RoomId, deadline: Instant) -> Result<Option<World>, Failure> {
    let servers = vec![ServerName::from("one")];
    let mut world = World::new(Options { seed: 1, servers, crypto: Crypto::Real, soft_failed_by_id: false });
    world.add(alice, "@alice:one", Endorsement::Endorsed)?;
    world.add(bob, "@bob:one", Endorsement::Endorsed)?;
    world.run_for(SOON)?;
    let refused = |refusal: Refusal| format!("the server refuses: {}", refusal.0);
    world.create(alice, room)?.map_err(refused)?;
    world.invite(alice, room, "@bob:one")?.map_err(refused)?;
    world.join(bob, room)?.map_err(refused)?;
    world.run_for(10 * SOON)?;
    for number in 0..epochs {
        if Instant::now() > deadline {
            return Ok(None);
        }
        let (one, other) = if number % 2 == 0 { (alice, bob) } else { (bob, alice) };
        world.rekey(one, room)?;
        world.run_for(SOON)?;
        world.say(other, room, &format!("{number} epochs have gone by"))?;
        world.run_for(SOON)?;
    }
    Ok(Some(world))
}
