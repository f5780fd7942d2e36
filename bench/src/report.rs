//! What is written of a run: lines of JSON, and `bench/RESULTS.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use serde::Serialize;

use crate::bars::Bar;
use crate::sheet::{CORE, LIMIT, MODULE, Row, Sheet, Unit};

/// In which order contestants stand in the tables.
const COLUMNS: [&str; 7] = [LIMIT, MODULE, CORE, "openmls", "mls-rs", "beekem", "megolm"];

/// A bar that is no ratio: milliseconds, and bytes.
const ROOM: &str = "room of 10,000 epochs and 10,000 messages: open, show the last 50";
const ROOM_MOST: (f64, f64) = (50.0, 64e6);

/// What was run, where and when.
#[derive(Debug)]
pub struct Circumstances {
    /// The command that was given.
    pub command: String,
    /// What became of the build for wasm.
    pub wasm: String,
}

#[derive(Serialize)]
struct Line<'a> {
    op: &'a str,
    n: u32,
    who: &'a str,
    unit: Unit,
    value: f64,
    per_limit: Option<f64>,
    per_best_peer: Option<f64>,
}

/// One object a line.
pub fn json(sheet: &Sheet) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for row in &sheet.rows {
        let line = Line {
            op: &row.op,
            n: row.n,
            who: row.who,
            unit: row.unit,
            value: row.value,
            per_limit: sheet.per_limit(row),
            per_best_peer: sheet.per_best_peer(row),
        };
        out += &serde_json::to_string(&line)?;
        out.push('\n');
    }
    Ok(out)
}

/// The whole report.
pub fn markdown(sheet: &Sheet, bars: &[Bar], of: &Circumstances) -> String {
    let mut out = String::from("# Results\n\n");
    out += &circumstances(of);
    out += "\n## Bars\n\n";
    out += &bar_table(bars, &of.wasm, &old_room(sheet));
    for n in sheet.rows.iter().map(|row| row.n).collect::<BTreeSet<_>>() {
        let title = if n == 1 { "The primitives".to_owned() } else { format!("{n} devices") };
        let _always = write!(out, "\n## {title}\n\n{}", table(sheet, n));
    }
    out += "\n## Not measured\n\n";
    for missing in &sheet.unmeasured {
        let n = if missing.n == 0 { String::new() } else { format!(", {} devices", missing.n) };
        let _always = writeln!(out, "- {}{n}: {}: {}", missing.who, missing.op, missing.why);
    }
    out + HOW
}

const HOW: &str = "
## How

One process, one thread, one run: ratios within it mean something, times of different runs do not. Times are of the
thread's processor time; medians of 15 warm commits, 41 messages, up to 3 removals; create, join and the first rekey
are single. `send` is all that a committer does until it may go on, `receive` all that one other member does; bytes
come in and go out. `bytes` is what everybody receives, `beside` adds Welcome, GroupInfo and tree, and is not in it.
Warm: the paths of the first eight devices have keys on all sides. `fork-K`: K commits at once, until all agree and
every update counts; of libraries whose epochs form a line, K - 1 commits are made again.
`limit` is what the public-key primitives and the tree's hashes alone would take. `module` is our RFC 9420 group,
`core` is `dmls::group::Group` with a journal in memory, without the limit of what fits into one event; above 2,000
devices it and openmls add in batches of 500. `megolm` sends a room key to each device over Olm.
`written` counts keys and values of the records of one commit or message, `records` those that are in the journal.
";

fn circumstances(of: &Circumstances) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let date = time::UtcDateTime::now().date();
    let commit = said_by("git", &["describe", "--always", "--dirty", "--exclude=*"]);
    let compiler = said_by("rustc", &["--version"]);
    let build = if cfg!(debug_assertions) { "debug: times mean nothing" } else { "release" };
    format!(
        "- `{}`, {date}, commit {commit}\n- {model}, {cores} cores, load {load} at the end\n- {compiler}, {build}\n",
        of.command
    )
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let said = output.filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if said.is_empty() { "unknown".to_owned() } else { said }
}

/// What it takes to open an old room, and whether that is little enough. That a profile is opened, whatever rooms it has,
/// counts too.
fn old_room(sheet: &Sheet) -> (String, &'static str) {
    let of = |op: &str| sheet.rows.iter().find(|row| row.op == op).map(|row| row.value);
    let both = |one: &str, other: &str| of(one).zip(of(other));
    let (spent, heap) = (both("room/show", "room/open-store"), both("room/show-heap", "room/open-store-heap"));
    match spent.zip(heap) {
        Some(((show, open), (show_heap, open_heap))) => {
            let (spent, heap) = (show + open, show_heap + open_heap);
            let verdict = if spent <= ROOM_MOST.0 && heap <= ROOM_MOST.1 { "pass" } else { "MISS" };
            (format!("{spent:.0} ms ({open:.0} of them the store), {:.0} MB", heap / 1e6), verdict)
        }
        None => ("-".to_owned(), "not measured"),
    }
}

fn bar_table(bars: &[Bar], wasm: &str, (old_room, verdict): &(String, &str)) -> String {
    let mut out = String::from("| ratio | at most | measured | |\n|---|---|---|---|\n");
    for bar in bars {
        let measured = bar.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = match bar.passes() {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "not measured",
        };
        let _always = writeln!(out, "| {} | {} | {measured} | {verdict} |", bar.what, bar.most);
    }
    let _always = writeln!(out, "| {ROOM} | 50 ms, 64 MB | {old_room} | {verdict} |");
    let _always = writeln!(out, "| the core builds for wasm32 | | | {wasm} |");
    out
}

/// All rows of one size: a line for each operation, a column for each contestant.
fn table(sheet: &Sheet, n: u32) -> String {
    let rows: Vec<_> = sheet.rows.iter().filter(|row| row.n == n).collect();
    let who: Vec<_> = COLUMNS.into_iter().filter(|who| rows.iter().any(|row| row.who == *who)).collect();
    let ours: Vec<_> = [MODULE, CORE].into_iter().filter(|ours| who.contains(ours)).collect();
    let ratios = ours.iter().flat_map(|ours| [format!("{ours} / limit"), format!("{ours} / best peer")]);
    let header: Vec<_> =
        [String::new(), String::new()].into_iter().chain(who.iter().map(ToString::to_string)).chain(ratios).collect();
    let mut out = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    let mut told = BTreeSet::new();
    for row in rows.iter().filter(|row| told.insert(row.op.clone())) {
        let of = |who: &str| rows.iter().find(|other| other.op == row.op && other.who == who);
        let values = who.iter().map(|who| of(who).map_or_else(String::new, |row| value(row)));
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let ratios = ours.iter().flat_map(|ours| match of(ours) {
            Some(row) => [ratio(sheet.per_limit(row)), ratio(sheet.per_best_peer(row))],
            None => [String::new(), String::new()],
        });
        let cells: Vec<_> = values.chain(ratios).collect();
        let _always = writeln!(out, "| {} | {} | {} |", row.op, row.unit.word(), cells.join(" | "));
    }
    out
}

/// With three digits, or all that a byte count has.
fn value(row: &Row) -> String {
    match row.value {
        value if row.unit == Unit::B || value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value if value.abs() >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}
