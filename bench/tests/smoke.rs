//! The bench in a tiny room: so that it is known to work when it is needed. No time is judged.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use dmls_bench::bars::bars;
use dmls_bench::report::{Circumstances, json, markdown};
use dmls_bench::run::{Plan, run};

/// Every contestant gets through the whole story, and its members agree after each part of it: else it says FAILED.
#[test]
fn four_devices_play_everything() {
    let (only, known) = (Vec::new(), vec![20, 30]);
    let plan = Plan { sizes: vec![4], only, by: Vec::new(), budget: Duration::from_secs(600), known };
    let sheet = run(&plan).unwrap();
    let failed: Vec<_> = sheet.unmeasured.iter().filter(|row| row.why.contains("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let rows: BTreeSet<_> = sheet.rows.iter().map(|row| (row.op.as_str(), row.who)).collect();
    for who in ["module", "core", "openmls", "mls-rs", "beekem", "megolm"] {
        let mut ops = vec!["create", "join", "rekey/send", "rekey/receive", "rekey/bytes", "remove/send"];
        ops.extend(["fork-2/bytes", "fork-2/receive"]);
        ops.extend(["message/seal", "message/open"].iter().filter(|_| who != "beekem"));
        for op in ops {
            assert!(rows.contains(&(op, who)), "{who} has no {op}");
        }
    }
    for op in
        ["message/open held=64", "records joined", "records held=1", "rekey/receive known=30", "message/written-open"]
    {
        assert!(rows.contains(&(op, "core")), "the core has no {op}");
    }
    assert!(rows.contains(&("rekey/send", "limit")));

    let lines = json(&sheet).unwrap();
    assert_eq!(lines.lines().count(), sheet.rows.len());
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    for field in ["op", "n", "who", "unit", "value", "per_limit", "per_best_peer"] {
        assert!(first.get(field).is_some(), "{field}");
    }
    let of = Circumstances { command: "smoke".to_owned(), wasm: "SKIPPED".to_owned() };
    let report = markdown(&sheet, &bars(&sheet, plan.past()), &of);
    assert!(report.contains("| fork-2/bytes | B |"), "{report}");
    assert!(report.contains("not measured"), "{report}");
}

/// Whoever asks for one row gets no other.
#[test]
fn only_some_rows() {
    let only = vec!["rekey/".to_owned()];
    let plan = Plan { sizes: vec![4], only, by: Vec::new(), budget: Duration::from_secs(600), known: vec![20] };
    let sheet = run(&plan).unwrap();
    assert!(!sheet.rows.is_empty());
    assert!(sheet.rows.iter().all(|row| row.op.starts_with("rekey/")), "{:?}", sheet.rows);
}
