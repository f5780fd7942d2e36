//! Canonical JSON (Matrix specification, appendices): one form of a value, so that signatures can be checked.

use dmls::defence;
use serde_json::Value;

/// Nesting beyond this is refused: nobody writes it, and it would exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The canonical form; `None` for numbers that are not integers in ±(2^53 - 1), or nesting beyond 64.
pub(crate) fn canonical(value: &Value) -> Option<String> {
    let mut out = String::new();
    write(value, &mut out, 0)?;
    Some(out)
}

fn write(value: &Value, out: &mut String, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Object(map) => write_object(map, out, depth),
        Value::Array(items) => write_array(items, out, depth),
        Value::Number(number) => {
            let integer = number.as_i64().is_some_and(|integer| integer.unsigned_abs() < 1 << 53);
            (integer || !defence::on("P8")).then(|| out.push_str(&number.to_string()))?;
            Some(())
        }
        other => {
            out.push_str(&other.to_string());
            Some(())
        }
    }
}

fn write_object(map: &serde_json::Map<String, Value>, out: &mut String, depth: usize) -> Option<()> {
    // Sorted here: whether serde_json keeps insertion order depends on features that others switch on.
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    out.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::String(key.clone()).to_string());
        out.push(':');
        write(value, out, depth + 1)?;
    }
    out.push('}');
    Some(())
}

fn write_array(items: &[Value], out: &mut String, depth: usize) -> Option<()> {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out, depth + 1)?;
    }
    out.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::canonical;

    #[test]
    fn keys_are_sorted_and_numbers_are_integers() {
        let value = json!({"b": 1, "a": {"z": [true, null, "ü\n"], "c": -7}});
        assert_eq!(canonical(&value).as_deref(), Some(r#"{"a":{"c":-7,"z":[true,null,"ü\n"]},"b":1}"#));
        assert_eq!(canonical(&json!({"a": 1.5})), None);
        assert_eq!(canonical(&json!(1u64 << 53)), None);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = json!(1);
        for _ in 0..100 {
            value = json!([value]);
        }
        assert_eq!(canonical(&value), None);
    }
}
