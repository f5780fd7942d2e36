//! Slots: pages that small commits are written to, one after the other, until all changes get rows and it begins anew.
//!
//! They are sealed under a key that stands in the state and changes whenever the changes get rows: what is left in a slot
//! then cannot be opened any more, also by who has the key of the store (S9).

use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::index::Generation;
use crate::recent::Recent;
use crate::seal::{NONCE, Secret, TAG, nonce};

/// How many there are.
const SLOTS: usize = 24;
/// Bytes of a slot: with what SQLite adds it fills a page of 1,024 bytes, so that no other row is on that page.
const LENGTH: usize = 976;
/// Generation, number of the part, number of parts, bytes used: before and inside the seal.
const CLEAR: usize = 8;
const INSIDE: usize = 4;
/// Bytes of a commit in one slot.
const ROOM: usize = LENGTH - CLEAR - NONCE - TAG - INSIDE;

/// How many slots are in use.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Slots {
    used: usize,
}

/// One slot, as it is written: number, and clear generation, nonce and seal.
pub(crate) type Slot = (i64, Vec<u8>);

impl Slots {
    /// Seals the changes of the commit of `generation` for the next slots; `None` if there are not enough left.
    pub(crate) fn seal(
        &self,
        key: &Secret,
        generation: Generation,
        changes: &Recent,
    ) -> Result<Option<Vec<Slot>>, StoreError> {
        if changes.length().div_ceil(ROOM) + self.used > SLOTS {
            return Ok(None);
        }
        let bytes = changes.encode();
        let parts = bytes.len().div_ceil(ROOM);
        let mut slots = Vec::with_capacity(parts);
        for (part, bytes) in bytes.chunks(ROOM).enumerate() {
            slots.push((number(self.used + part)?, seal(key, generation, (number(part)?, number(parts)?), bytes)?));
        }
        Ok(Some(slots))
    }

    /// Whether none is in use.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// So many more are in use.
    pub(crate) fn take(&mut self, count: usize) {
        self.used += count;
    }
}

fn number<T: TryFrom<usize>>(number: usize) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::TooLarge)
}

fn seal(key: &Secret, generation: Generation, part: (u8, u8), bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(INSIDE + ROOM));
    plain.extend([part.0, part.1]);
    plain.extend(number::<u16>(bytes.len())?.to_be_bytes());
    plain.extend(bytes);
    plain.resize(INSIDE + ROOM, 0);
    let (clear, nonce) = (generation.0.to_be_bytes(), nonce()?);
    Ok([clear.as_slice(), &nonce, &key.seal(&nonce, &clear, &plain)?].concat())
}

/// One slot, opened.
struct Part {
    generation: Generation,
    part: u8,
    parts: u8,
    bytes: Zeroizing<Vec<u8>>,
}

/// Reads back what commits after `since` wrote: slots in use, and the commits in order. Nothing if a slot is damaged, or
/// one between others gone.
pub(crate) fn open(key: &Secret, since: Generation, slots: Vec<Slot>) -> Option<(usize, Vec<(Generation, Recent)>)> {
    let (mut used, mut commits) = (0, Vec::new());
    let (mut bytes, mut next) = (Zeroizing::new(Vec::with_capacity(SLOTS * ROOM)), 0);
    for (_, slot) in slots {
        let Some(Part { generation, part, parts, bytes: more }) = open_slot(key, since, slot)? else { continue };
        if generation.0 != since.0 + 1 + commits.len() as u64 || part != next || part >= parts {
            return None;
        }
        used += 1;
        bytes.extend(more.iter());
        next = part + 1;
        if next == parts {
            commits.push((generation, Recent::decode(&bytes)?));
            (bytes, next) = (Zeroizing::new(Vec::with_capacity(SLOTS * ROOM)), 0);
        }
    }
    (next == 0).then_some((used, commits))
}

/// `Some(None)` for a slot of a time before.
fn open_slot(key: &Secret, since: Generation, mut slot: Vec<u8>) -> Option<Option<Part>> {
    let clear: [u8; CLEAR] = *slot.first_chunk()?;
    let generation = Generation(u64::from_be_bytes(clear));
    if generation <= since {
        return Some(None);
    }
    let nonce: [u8; NONCE] = slot.get(CLEAR..)?.first_chunk().copied()?;
    let plain = key.open(&nonce, &clear, slot.split_off(CLEAR + NONCE))?;
    let ([part, parts, high, low], rest) = plain.split_first_chunk()?;
    let bytes = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
    Some(Some(Part { generation, part: *part, parts: *parts, bytes: Zeroizing::new(bytes.to_vec()) }))
}
