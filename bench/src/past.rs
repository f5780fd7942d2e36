//! What the core's past costs it: epochs that it holds, and epochs that it only knows.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::contest::Contest;
use crate::contestant::{Contestant, Failure};
use crate::core::Core;
use crate::meter::{heap, median, timed};
use crate::roster::Roster;
use crate::sheet::{CORE, Sheet, Unit, say};

/// How many epochs are held.
pub const HELD: [usize; 3] = [1, 8, 64];
/// How many epochs are known.
pub const KNOWN: [usize; 3] = [100, 1_000, 10_000];

/// How many commits are timed with so many known epochs.
const REKEYS: usize = 31;

/// Only two devices are left that do everything: the first speaks, the observer listens.
fn two_of(contest: &mut Contest<'_, Core>) -> Result<(), Failure> {
    // As in the story: the half of the tree that the warmers leave to it would stay cold.
    contest.rekey_cold()?;
    contest.warm_up()?;
    let two = BTreeSet::from([0, contest.roster.observer()]);
    contest.room.keep(&two);
    contest.actors = two;
    Ok(())
}

/// Messages with 1, 8 and 64 held epochs, and what holding them takes.
///
/// # Errors
/// Whatever the core fails with.
pub fn held(roster: Roster, sheet: &mut Sheet) -> Result<(), Failure> {
    let (n, deadline) = (roster.n, sheet.deadline());
    let wanted = ["message", "records", "held"].iter().any(|op| sheet.wants(op));
    if !wanted {
        return Ok(());
    }
    // The rows of the story were entered already.
    let mut aside = Sheet::new(Vec::new(), std::time::Duration::ZERO);
    let mut contest = Contest::<Core>::begin(roster, &mut aside)?;
    let observer = roster.observer();
    put_records("joined", &mut contest, sheet)?;
    two_of(&mut contest)?;
    let mut first = None;
    for held in HELD {
        say(&format!("{CORE}, {n} devices: {held} held epochs"));
        contest.room.restart(held)?;
        while first.is_none() || contest.room.epochs(observer)?.0 < held {
            if Instant::now() > deadline {
                sheet.miss(format!("message/seal held={held}"), n, CORE, "making ready took too long");
                return Ok(());
            }
            step(&mut contest)?;
            first.get_or_insert_with(heap);
        }
        let talk = contest.messages()?;
        sheet.put(format!("message/seal held={held}"), n, CORE, Unit::Us, talk.seal);
        sheet.put(format!("message/open held={held}"), n, CORE, Unit::Us, talk.open);
        put_records(&format!("held={held}"), &mut contest, sheet)?;
        if let Some(first) = first.filter(|_| held > 1) {
            // Two devices hold as many more than at first, in memory and in their journals.
            let each = (heap() - first) / (2.0 * (held - 1) as f64);
            sheet.put(format!("held/heap-each held={held}"), n, CORE, Unit::B, each);
        }
    }
    Ok(())
}

/// The observer's records: in all, and those of each table.
fn put_records(when: &str, contest: &mut Contest<'_, Core>, sheet: &mut Sheet) -> Result<(), Failure> {
    let (n, observer) = (contest.roster.n, contest.roster.observer());
    let records = contest.room.records(observer)?;
    sheet.put(format!("records {when}"), n, CORE, Unit::B, records.values().sum::<usize>() as f64);
    for (table, bytes) in records {
        sheet.put(format!("records {when} {table}"), n, CORE, Unit::B, bytes as f64);
    }
    Ok(())
}

/// One more epoch: what it took to make it and to take it in.
fn step(contest: &mut Contest<'_, Core>) -> Result<(f64, f64), Failure> {
    let (made, send) = timed(|| contest.room.rekey(0));
    let receive = contest.deliver(0, &made?)?;
    Ok((send, receive))
}

/// Commits, messages and loading with 100, 1,000 and 10,000 known epochs.
///
/// # Errors
/// Whatever the core fails with.
pub fn known(roster: Roster, counts: &[usize], sheet: &mut Sheet) -> Result<(), Failure> {
    let (n, deadline) = (roster.n, sheet.deadline());
    if !["message", "rekey", "load"].iter().any(|op| sheet.wants(op)) {
        return Ok(());
    }
    let mut aside = Sheet::new(Vec::new(), std::time::Duration::ZERO);
    let mut contest = Contest::<Core>::begin(roster, &mut aside)?;
    two_of(&mut contest)?;
    // Of most of them only stubs are left in the end.
    let mut known = contest.room.epochs(0)?.1;
    for count in counts {
        say(&format!("{CORE}, {n} devices: {count} known epochs"));
        while known + REKEYS < *count {
            if Instant::now() > deadline {
                let why = format!("making ready took too long: stopped at {known} epochs");
                sheet.miss(format!("known={count}"), n, CORE, why);
                return Ok(());
            }
            step(&mut contest)?;
            known += 1;
        }
        let (mut send, mut receive) = (Vec::new(), Vec::new());
        for _ in 0..REKEYS {
            let (there, here) = step(&mut contest)?;
            send.push(there);
            receive.push(here);
        }
        known += REKEYS;
        let talk = contest.messages()?;
        sheet.put(format!("rekey/send known={count}"), n, CORE, Unit::Ms, median(send));
        sheet.put(format!("rekey/receive known={count}"), n, CORE, Unit::Ms, median(receive));
        sheet.put(format!("message/seal known={count}"), n, CORE, Unit::Us, talk.seal);
        sheet.put(format!("message/open known={count}"), n, CORE, Unit::Us, talk.open);
        let (load, heap) = contest.room.load_from_disk(roster.observer())?;
        sheet.put(format!("load known={count}"), n, CORE, Unit::Ms, load);
        sheet.put(format!("load/heap known={count}"), n, CORE, Unit::B, heap);
    }
    contest.agree("a long past")
}
