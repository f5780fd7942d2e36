//! What is sent to SQLite is written down here and nowhere made (D9).

use std::fs;
use std::path::Path;

/// Calls of rusqlite that take a statement.
const CALLS: [&str; 6] = [".execute(", ".execute_batch(", ".prepare(", ".prepare_cached(", ".query_row(", ".one("];

/// Every statement is a literal, or a name for literals; text that people choose reaches SQLite as parameters only.
#[test]
fn no_statement_is_built_at_run_time() {
    let mut statements = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (at, call) in CALLS.iter().flat_map(|call| text.match_indices(call)) {
            let argument = text[at + call.len()..].trim_start();
            let literal = argument.starts_with('"') || argument.starts_with("sql)");
            // `one` and the rows of prepared statements take what was checked where they are called.
            let passed_on = argument.starts_with("params") || argument.starts_with("[]");
            assert!(literal || passed_on, "{}: {call}{}", path.display(), argument.lines().next().unwrap_or_default());
            statements += usize::from(literal);
        }
    }
    assert!(statements > 10, "{statements}");
}
