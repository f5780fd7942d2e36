//! `cargo xtask arrows`: each layer uses only the layers below it (ARCHITECTURE.md).

use super::error::Error;
use super::metadata::{Kind, Metadata, Package};
use super::sources::{Source, test_lines, under};
use super::table::Table;

/// What a crate of this workspace may use of the others.
struct Layer {
    name: &'static str,
    uses: &'static [&'static str],
    /// In tests, besides.
    tests_use: &'static [&'static str],
}

const LAYERS: [Layer; 8] = [
    Layer { name: "dmls", uses: &[], tests_use: &["dmls-store"] },
    Layer { name: "dmls-store", uses: &["dmls"], tests_use: &[] },
    Layer { name: "dmls-matrix", uses: &["dmls", "dmls-store"], tests_use: &[] },
    Layer { name: "dmls-sim", uses: &["dmls", "dmls-store", "dmls-matrix"], tests_use: &[] },
    Layer { name: "dmls-client", uses: &["dmls", "dmls-store", "dmls-matrix"], tests_use: &["xtask"] },
    Layer {
        name: "dmls-cli",
        uses: &["dmls", "dmls-store", "dmls-matrix", "dmls-sim", "dmls-client"],
        tests_use: &["xtask"],
    },
    Layer { name: "dmls-bench", uses: &["dmls", "dmls-store", "dmls-matrix", "dmls-sim"], tests_use: &[] },
    Layer { name: "xtask", uses: &[], tests_use: &[] },
];

/// A family of packages (all whose names start so) and the only crates that may name it.
const FAMILIES: [(&str, &[&str]); 6] = [
    // The bench measures it beside the core, and in the simulator it follows the same rooms.
    ("openmls", &["dmls", "dmls-bench", "dmls-sim"]),
    ("matrix-sdk", &["dmls-client"]),
    ("ruma", &["dmls-matrix", "dmls-client"]),
    ("reqwest", &["dmls-client", "xtask"]),
    ("tokio", &["dmls-client", "dmls-cli", "xtask"]),
    // The simulator's attacks change database files behind the store's back.
    ("rusqlite", &["dmls-store", "dmls-sim"]),
];

/// Nothing of Matrix or of a network is built into the core, its tests and its examples.
const NOT_IN_CORE: [&str; 6] = ["matrix-", "ruma", "dmls-matrix", "dmls-client", "reqwest", "tokio"];

/// The crates without IO, clock, global randomness and async, and what their sources do not say.
const SANS_IO: [&str; 2] = ["crates/dmls/src", "crates/dmls-matrix/src"];
const NOT_SANS_IO: [&str; 14] = [
    "println!",
    "print!",
    "dbg!",
    "SystemTime::now",
    "Instant::now",
    "thread_rng",
    "OsRng",
    "getrandom",
    "async fn",
    "async move",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
];

/// The only directories that name an MLS library: our group is held against it there.
const MLS: [&str; 2] = ["crates/dmls/src/mls/tests", "crates/dmls-sim/examples/beside"];

/// Checks what crates depend on, and what the sans-IO crates say.
///
/// # Errors
/// [`Error::Findings`] lists every arrow that points the wrong way.
pub fn arrows() -> Result<String, Error> {
    let metadata = Metadata::read()?;
    let mut findings = Table::new(&["where", "what", "why not"]);
    let names: Vec<_> = metadata.members().map(|member| member.name.clone()).collect();
    for member in metadata.members() {
        check_layer(member, &names, &mut findings);
        check_families(member, &mut findings);
        if member.name == "dmls" {
            check_core(&metadata, member, &mut findings);
        }
    }
    check_mls(&mut findings)?;
    for directory in SANS_IO {
        under(directory, "rs")?.iter().for_each(|source| check_sans_io(source, &mut findings));
    }
    if findings.is_empty() {
        return Ok(format!("{} crates use only what is below them", names.len()));
    }
    Err(Error::Findings { what: "arrows that point the wrong way".to_owned(), table: findings })
}

fn check_layer(member: &Package, names: &[String], findings: &mut Table) {
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == member.name) else {
        findings.push(&[&member.name, "the crate", "it has no layer in xtask/src/gate/arrows.rs"]);
        return;
    };
    for dependency in member.dependencies.iter().filter(|dependency| names.contains(&dependency.name)) {
        let name = dependency.name.as_str();
        let in_tests = dependency.kind == Some(Kind::Dev) && layer.tests_use.contains(&name);
        if !in_tests && !layer.uses.contains(&name) {
            findings.push(&[&member.name, name, "not a layer below"]);
        }
    }
}

fn check_families(member: &Package, findings: &mut Table) {
    for dependency in &member.dependencies {
        for (family, users) in FAMILIES {
            if dependency.name.starts_with(family) && !users.contains(&member.name.as_str()) {
                findings.push(&[&member.name, &dependency.name, &format!("only {} may", users.join(", "))]);
            }
        }
    }
}

fn check_core(metadata: &Metadata, core: &Package, findings: &mut Table) {
    for name in metadata.tree(core) {
        if NOT_IN_CORE.iter().any(|family| name.starts_with(family)) {
            findings.push(&["dmls", name, "somewhere in the tree of the core, its tests or its examples"]);
        }
    }
}

fn check_mls(findings: &mut Table) -> Result<(), Error> {
    let sources = under("crates", "rs")?;
    for source in sources.iter().filter(|source| !MLS.iter().any(|place| source.path.starts_with(place))) {
        for (at, line) in source.text.lines().enumerate().filter(|(_, line)| line.contains("openmls")) {
            let why = format!("only {} name an MLS library", MLS.join(" and "));
            findings.push(&[&source.place(at), line.trim(), &why]);
        }
    }
    Ok(())
}

fn check_sans_io(source: &Source, findings: &mut Table) {
    let in_test = test_lines(source);
    for (at, line) in source.text.lines().enumerate().filter(|(at, _)| !in_test[*at]) {
        let code = line.split("//").next().unwrap_or_default();
        for word in NOT_SANS_IO.iter().filter(|word| code.contains(**word)) {
            findings.push(&[&source.place(at), word, "no IO, clock, global randomness or async here"]);
        }
    }
}
