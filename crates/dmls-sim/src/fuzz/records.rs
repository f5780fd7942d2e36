//! Target `records`: what is stored, altered below the seal: versions, bit rot that nothing noticed, our own mistakes.

use dmls::group::{Group, Settings};
use dmls::journal::{Journal, Records, Table, Write};
use dmls::package::KeyPackages;
use dmls_matrix::Machine;
use dmls_store::MemoryStore;

use super::alter;
use super::joins::ExpectFact;
use super::source::Source;
use super::{core, matrix};
use crate::entropy::Stream;

/// Damaged records are an error or read as something else; they never panic, and never spread to other rooms' calls.
pub fn target(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    if source.byte().is_multiple_of(2) { group(&mut source) } else { machine(&mut source) }
}

fn group(source: &mut Source<'_>) {
    let scene = core::scene();
    let saved = if source.byte().is_multiple_of(2) { &scene.alice } else { &scene.bob };
    let store = damaged(source, &saved.store);
    let _damaged = KeyPackages::load(&store);
    let Ok(mut group) = Group::load(core::room(), saved.own.clone(), Settings::default(), &store) else { return };
    let mut entropy = Stream::new(1, "fuzz");
    if let Some(input) = source.pick(&scene.inputs).cloned() {
        let _damaged = group.handle(input, core::NOW, &mut entropy);
    }
    let _shown = (group.epochs(), group.readiness(), group.due(core::NOW), group.needs(core::NOW));
}

fn machine(source: &mut Source<'_>) {
    let scene = matrix::scene();
    let store = damaged(source, &scene.store);
    let Ok(mut machine) = Machine::open(store, scene.device.clone()) else { return };
    let mut entropy = Stream::new(1, "fuzz");
    let _damaged = (machine.rooms().is_ok(), machine.messages(&matrix::room()).is_ok());
    let _damaged = (machine.members(&matrix::room()).is_ok(), machine.log(&matrix::room()).is_ok());
    if let Some(sync) = matrix::missed() {
        let _damaged = machine.receive_sync(sync, scene.now, &mut entropy);
    }
    let _damaged = machine.outgoing_requests(scene.now, &mut entropy);
}

/// A copy with up to three records altered, removed or exchanged.
fn damaged(source: &mut Source<'_>, store: &MemoryStore) -> MemoryStore {
    let mut store = store.clone();
    let places: Vec<(Table, Vec<u8>)> = store.places().map(|(table, key)| (table, key.to_vec())).collect();
    for _ in 0..=source.byte() % 3 {
        let (Some((table, key)), Some(other)) = (source.pick(&places), source.pick(&places)) else { break };
        let value = |(table, key): &(Table, Vec<u8>)| {
            store.get(*table, key).expect_fact().map(|value| value.to_vec()).unwrap_or_default()
        };
        let mut new = value(&(*table, key.clone()));
        let write = match source.byte() % 8 {
            0 => Write::delete(*table, key.clone()),
            1 => Write::put(*table, key.clone(), value(other)),
            2 => Write::put(*table, source.chunk().to_vec(), new),
            _ => {
                alter::edit(source, &mut new, &[value(other)]);
                Write::put(*table, key.clone(), new)
            }
        };
        store.commit(&[write]).expect_fact();
    }
    store
}
