//! Alters real bytes and real JSON as a [`Source`] says.

use serde_json::{Value, json};

use super::source::Source;

/// A real object with up to three alterations, or bytes that are nobody's.
pub(super) fn bytes(source: &mut Source<'_>, real: &[Vec<u8>]) -> Vec<u8> {
    let choice = source.byte();
    if choice == 0xff {
        return source.rest().to_vec();
    }
    let mut out =
        real.get(usize::from(choice).checked_rem(real.len()).unwrap_or_default()).cloned().unwrap_or_default();
    for _ in 0..source.byte() % 4 {
        edit(source, &mut out, real);
    }
    out
}

/// One alteration.
pub(super) fn edit(source: &mut Source<'_>, out: &mut Vec<u8>, others: &[Vec<u8>]) {
    let kind = source.byte();
    let at = source.index(out.len().max(1)).min(out.len());
    match kind % 7 {
        0 => out.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (kind / 32)),
        1 => out.iter_mut().skip(at).take(1).for_each(|byte| *byte = source.byte()),
        2 => drop(out.splice(at..at, source.chunk().iter().copied())),
        3 => drop(out.drain(at..(at + usize::from(source.byte())).min(out.len()))),
        4 => out.truncate(at),
        5 => {
            let new = source.chunk();
            let end = (at + new.len()).min(out.len());
            drop(out.splice(at..end, new.iter().copied()));
        }
        // As another object goes on.
        _ => {
            let other = source.pick(others).and_then(|other| other.get(at..)).unwrap_or_default();
            out.truncate(at);
            out.extend(other);
        }
    }
}

/// Real JSON with up to three alterations, or JSON that is nobody's, or nothing.
pub(super) fn json(source: &mut Source<'_>, real: &[Value]) -> Value {
    let choice = source.byte();
    if choice == 0xff {
        return serde_json::from_slice(source.rest()).unwrap_or_default();
    }
    let mut out =
        real.get(usize::from(choice).checked_rem(real.len()).unwrap_or_default()).cloned().unwrap_or_default();
    for _ in 0..source.byte() % 4 {
        edit_json(source, &mut out, real);
    }
    out
}

fn edit_json(source: &mut Source<'_>, out: &mut Value, others: &[Value]) {
    let path = source.chunk().to_vec();
    let donor = source.pick(others).cloned().unwrap_or_default();
    let donated = source.chunk().to_vec();
    let kind = source.byte();
    let place = walk(out, &path);
    match kind % 6 {
        0 => *place = nasty(source),
        1 => *place = walk(&mut donor.clone(), &donated).clone(),
        2 => remove(source, place),
        3 => double(source, place),
        4 => edit_text(source, place),
        _ => add(source, place),
    }
}

/// Down into a value; each byte says which child.
fn walk<'a>(value: &'a mut Value, path: &[u8]) -> &'a mut Value {
    let mut place = value;
    for step in path {
        let len = place.as_array().map_or(0, Vec::len).max(place.as_object().map_or(0, serde_json::Map::len));
        if len == 0 {
            break;
        }
        let at = usize::from(*step) % len;
        place = match place {
            Value::Array(list) => &mut list[at],
            Value::Object(map) => {
                let key = at_key(map, at);
                &mut map[key.as_str()]
            }
            other => other,
        };
    }
    place
}

fn at_key(map: &serde_json::Map<String, Value>, at: usize) -> String {
    map.keys().nth(at).cloned().unwrap_or_default()
}

/// What parsers meet seldom.
fn nasty(source: &mut Source<'_>) -> Value {
    match source.byte() % 16 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(1e308),
        6 => json!(""),
        7 => json!("\u{0}"),
        8 => json!([]),
        9 => json!({}),
        10 => json!("A".repeat(usize::from(source.number()))),
        11 => json!(source.number()),
        12 => json!([[[[[[[[]]]]]]]]),
        13 => json!("@:"),
        14 => json!("$"),
        _ => Value::from(String::from_utf8_lossy(source.chunk()).into_owned()),
    }
}

fn remove(source: &mut Source<'_>, place: &mut Value) {
    match place {
        Value::Array(list) if !list.is_empty() => drop(list.remove(source.index(list.len()))),
        Value::Object(map) if !map.is_empty() => drop(map.remove(&at_key(map, source.index(map.len())))),
        other => *other = Value::Null,
    }
}

/// An element once more, or a member's value under another's name.
fn double(source: &mut Source<'_>, place: &mut Value) {
    match place {
        Value::Array(list) if !list.is_empty() => {
            let again = list[source.index(list.len())].clone();
            list.insert(source.index(list.len()), again);
        }
        Value::Object(map) if !map.is_empty() => {
            let (from, to) = (at_key(map, source.index(map.len())), at_key(map, source.index(map.len())));
            let value = map.get(&from).cloned().unwrap_or_default();
            map.insert(to, value);
        }
        _ => {}
    }
}

fn edit_text(source: &mut Source<'_>, place: &mut Value) {
    if let Value::String(text) = place {
        let mut bytes = std::mem::take(text).into_bytes();
        edit(source, &mut bytes, &[]);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    }
}

fn add(source: &mut Source<'_>, place: &mut Value) {
    match place {
        Value::Array(list) => list.push(nasty(source)),
        Value::Object(map) => {
            let name = String::from_utf8_lossy(source.chunk()).into_owned();
            map.insert(name, nasty(source));
        }
        other => *other = json!([other.clone(), other.clone()]),
    }
}
