//! Writes the switches of mutants into a source file.

use std::ops::Range;
use std::path::Path;

use super::lexer::{pattern, tokens};
use super::mutant::{Edit, Instead};

/// Why a mutant cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misfit {
    #[error("its original is not in the file")]
    NotThere,
    #[error("its original is in the file more than once")]
    Ambiguous,
    #[error("its original is empty")]
    Empty,
    #[error("what `let` binds would be gone after the switch: name the expression")]
    Binding,
    #[error("an expression needs a weaker one")]
    NoExpression,
    #[error("the original is an arm of a match, what is weaker is not")]
    NoArm,
    #[error("it overlaps with another mutant and does not lie within it")]
    Overlap,
}

/// The source with a switch for each edit, in their order; a fault comes with its edit's place in the list.
pub(super) fn switched(text: &str, edits: &[(&str, &Edit)]) -> Result<String, (usize, Misfit)> {
    let mut changes = Vec::new();
    for (at, (id, edit)) in edits.iter().enumerate() {
        changes.push(change(text, id, edit, at).map_err(|why| (at, why))?);
    }
    // What lies around others comes before them.
    changes.sort_by_key(|change| (change.range.start, std::cmp::Reverse(change.range.end), change.edit));
    render(text, 0..text.len(), &changes)
}

/// What is put around a part of the source.
struct Change {
    range: Range<usize>,
    before: String,
    after: String,
    /// Whether the part itself stays there.
    keeps: bool,
    /// Which edit it is.
    edit: usize,
}

fn render(text: &str, range: Range<usize>, changes: &[Change]) -> Result<String, (usize, Misfit)> {
    let (mut out, mut at, mut left) = (String::new(), range.start, changes);
    while let Some((outer, rest)) = left.split_first() {
        let within = rest.iter().take_while(|inner| inner.range.start < outer.range.end).count();
        let (inside, after) = rest.split_at(within);
        let crossing = inside.iter().find(|inner| inner.range.end > outer.range.end || !outer.keeps);
        if let Some(crossing) = crossing {
            return Err((crossing.edit, Misfit::Overlap));
        }
        out.push_str(&text[at..outer.range.start]);
        out.push_str(&outer.before);
        if outer.keeps {
            out.push_str(&render(text, outer.range.clone(), inside)?);
        }
        out.push_str(&outer.after);
        (at, left) = (outer.range.end, after);
    }
    out.push_str(&text[at..range.end]);
    Ok(out)
}

fn change(text: &str, id: &str, edit: &Edit, at: usize) -> Result<Change, Misfit> {
    let range = find(text, &edit.original)?;
    let on = switch(&edit.file, id);
    let (range, before, after, keeps) = match &edit.instead {
        Instead::Switched(switched) => {
            let switched = without_doubled_comma(switched, &text[range.end..]).replace("@on", &on);
            match switched.split_once("@original") {
                Some((before, after)) => (range, before.to_owned(), after.to_owned(), true),
                None => (range, switched, String::new(), false),
            }
        }
        Instead::Weaker(weaker) => {
            // A comment at its end must not take in what comes behind.
            let weaker = &if weaker.contains("//") { format!("{weaker}\n") } else { weaker.clone() };
            let (range, before, after) = by_form(text, range, weaker, &on)?;
            (range, before, after, true)
        }
    };
    Ok(Change { range, before, after, keeps, edit: at })
}

/// A comma at the end of an arm is not part of what is found, and stays in the source.
fn without_doubled_comma<'a>(switched: &'a str, behind: &str) -> &'a str {
    let switched = switched.trim_end();
    match switched.strip_suffix(',') {
        Some(without) if behind.trim_start().starts_with(',') => without,
        _ => switched,
    }
}

/// How code asks whether a mutant's check is on.
fn switch(file: &Path, id: &str) -> String {
    let krate = if file.starts_with("crates/dmls/src") { "crate" } else { "dmls" };
    format!("{krate}::defence::on(\"{id}\")")
}

/// Where the only place is that reads like `original`, apart from layout and comments.
fn find(text: &str, original: &str) -> Result<Range<usize>, Misfit> {
    let wanted: Vec<_> = pattern(original).into_iter().map(|range| &original[range]).collect();
    let there = tokens(text);
    if wanted.is_empty() {
        return Err(Misfit::Empty);
    }
    let reads_like =
        |part: &&[Range<usize>]| part.iter().zip(&wanted).all(|(range, word)| &text[range.clone()] == *word);
    let mut places = there.windows(wanted.len()).filter(reads_like);
    let first = places.next().ok_or(Misfit::NotThere)?;
    if places.next().is_some() {
        return Err(Misfit::Ambiguous);
    }
    Ok(first[0].start..first[first.len() - 1].end)
}

/// What to put around which part: by whether it is an arm of a match, a statement or an expression.
fn by_form(text: &str, range: Range<usize>, weaker: &str, on: &str) -> Result<(Range<usize>, String, String), Misfit> {
    let original = &text[range.clone()];
    if let Some(arm) = Arm::of(original) {
        return around_arm(&arm, range, weaker, on);
    }
    if original.starts_with("let ") {
        return Err(Misfit::Binding);
    }
    if original.ends_with([';', '}']) {
        return Ok((range, format!("if {on} {{ "), format!(" }} else {{ {weaker} }}")));
    }
    match weaker {
        "" => Err(Misfit::NoExpression),
        _ => Ok((range, format!("(if {on} {{ "), format!(" }} else {{ {weaker} }})"))),
    }
}

/// With its check off, an arm comes after the weaker one, or is gone if there is none.
fn around_arm(
    arm: &Arm,
    range: Range<usize>,
    weaker: &str,
    on: &str,
) -> Result<(Range<usize>, String, String), Misfit> {
    if weaker.is_empty() {
        let place = |part: &Range<usize>| range.start + part.start..range.start + part.end;
        return Ok(match &arm.guard {
            Some(guard) => (place(guard), format!("{on} && ("), ")".to_owned()),
            None => (place(&(arm.arrow..arm.arrow)), format!("if {on} "), String::new()),
        });
    }
    let instead = Arm::of(weaker).ok_or(Misfit::NoArm)?;
    let end = pattern(weaker).last().map_or(weaker.len(), |last| last.end);
    let body = &weaker[instead.arrow..end];
    let guarded = match &instead.guard {
        Some(guard) => format!("{}!{on} && ({}) ", &weaker[..guard.start], &weaker[guard.clone()]),
        None => format!("{}if !{on} ", &weaker[..instead.arrow]),
    };
    Ok((range.start..range.start, format!("{guarded}{body}, "), String::new()))
}

/// Where the parts of an arm are: its guard, and the `=>`.
struct Arm {
    guard: Option<Range<usize>>,
    arrow: usize,
}

impl Arm {
    /// Nothing, if there is no `=>` outside of brackets.
    fn of(text: &str) -> Option<Self> {
        let (mut depth, mut guard, mut last) = (0_u32, None, 0..0);
        for range in tokens(text) {
            match &text[range.clone()] {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.checked_sub(1)?,
                "if" if depth == 0 => guard = guard.or(Some(range.end)),
                ">" if depth == 0 && &text[last.clone()] == "=" && last.end == range.start => {
                    let arrow = last.start;
                    return Some(Self { guard: guard.map(|start| trimmed(text, start..arrow)), arrow });
                }
                _ => {}
            }
            last = range;
        }
        None
    }
}

/// Without the white space around it.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

#[cfg(test)]
mod tests {
    use super::{Misfit, switched};
    use crate::mutants::mutant::{Edit, Instead};

    const FILE: &str = "crates/dmls/src/mls/commit.rs";

    fn weaker(original: &str, weaker: &str) -> Edit {
        Edit { file: FILE.into(), original: original.into(), instead: Instead::Weaker(weaker.into()) }
    }

    fn by_text(original: &str, text: &str) -> Edit {
        Edit { file: FILE.into(), original: original.into(), instead: Instead::Switched(text.into()) }
    }

    /// The source with switches; `on("X")` for the whole question.
    fn apply(text: &str, edits: &[(&str, Edit)]) -> Result<String, (usize, Misfit)> {
        let edits: Vec<_> = edits.iter().map(|(id, edit)| (*id, edit)).collect();
        switched(text, &edits).map(|text| text.replace("crate::defence::", ""))
    }

    fn one(text: &str, edit: Edit) -> Result<String, Misfit> {
        apply(text, &[("X", edit)]).map_err(|(_, why)| why)
    }

    #[test]
    fn an_expression_is_switched_in_its_place() {
        let text = "if own == leaf && valid(\n    key, // strictly\n) {\n}\n";
        let done = one(text, weaker("valid(key)", "true"));
        let expected = "if own == leaf && (if on(\"X\") { valid(\n    key, // strictly\n) } else { true }) {\n}\n";
        assert_eq!(done.as_deref(), Ok(expected));
    }

    #[test]
    fn statements_are_switched_with_or_without_others_instead() {
        let text = "    if a {\n        return Err(b);\n    }\n    check(c)?;\n    Ok(())\n";
        let done = one(text, weaker("if a { return Err(b); }", ""));
        assert!(done.is_ok_and(|done| {
            done.starts_with("    if on(\"X\") { if a {\n        return Err(b);\n    } } else {  }\n")
        }));
        let done = one(text, weaker("check(c)?;", "note(c);"));
        assert!(done.is_ok_and(|done| done.contains("    if on(\"X\") { check(c)?; } else { note(c); }\n    Ok")));
    }

    #[test]
    fn a_guard_is_an_expression_and_an_arm_can_go_or_come_second() {
        let text =
            "match psks {\n    [psk] if psk.base == base => one(psk),\n    [] => Ok(()),\n    _ => Err(Bad),\n}\n";
        let arm = |done: Result<String, Misfit>, line: usize| {
            done.map(|done| done.lines().nth(line).unwrap_or_default().trim().to_owned())
        };
        let done = arm(one(text, weaker("psk.base == base", "true")), 1);
        assert_eq!(done.as_deref(), Ok("[psk] if (if on(\"X\") { psk.base == base } else { true }) => one(psk),"));
        let done = arm(one(text, weaker("[psk] if psk.base == base => one(psk),", "")), 1);
        assert_eq!(done.as_deref(), Ok("[psk] if on(\"X\") && (psk.base == base) => one(psk),"));
        let done = arm(one(text, weaker("[] => Ok(()),", "")), 2);
        assert_eq!(done.as_deref(), Ok("[] if on(\"X\") => Ok(()),"));
        let done = arm(one(text, weaker("_ => Err(Bad)", "[psk, _] if psk.own() => one(psk),")), 3);
        assert_eq!(done.as_deref(), Ok("[psk, _] if !on(\"X\") && (psk.own()) => one(psk), _ => Err(Bad),"));
        let done = arm(one(text, weaker("_ => Err(Bad),", "_ => Ok(())")), 3);
        assert_eq!(done.as_deref(), Ok("_ if !on(\"X\") => Ok(()), _ => Err(Bad),"));
    }

    #[test]
    fn text_of_ones_own_asks_the_switch_and_may_hold_the_original() {
        let done = one("let a = b;\n", by_text("let a = b;", "let a = if @on { b } else { c };"));
        assert_eq!(done.as_deref(), Ok("let a = if on(\"X\") { b } else { c };\n"));
        let done = one("for a in b {\n", by_text("a in b", "@original.take(if @on { 1 } else { 2 })"));
        assert_eq!(done.as_deref(), Ok("for a in b.take(if on(\"X\") { 1 } else { 2 }) {\n"));
    }

    #[test]
    fn arms_of_ones_own_end_with_one_comma() {
        let arms = by_text("Err(a) => Err(a),\nOk(b) => c,", "Err(a) if @on => Err(a),\n_ => c,");
        let done = one("match d {\n    Err(a) => Err(a),\n    Ok(b) => c,\n    _ => e,\n}\n", arms);
        assert_eq!(done.as_deref(), Ok("match d {\n    Err(a) if on(\"X\") => Err(a),\n_ => c,\n    _ => e,\n}\n"));
        let last = by_text("e => f,", "e if @on => f,\n_ => g,");
        let done = one("match d {\n    e => f,\n}\n", last);
        assert_eq!(done.as_deref(), Ok("match d {\n    e if on(\"X\") => f,\n_ => g,\n}\n"));
        let block = by_text("a => {}", "a if @on => {}\nb => c,");
        assert_eq!(
            one("match d { a => {} e => f }", block).as_deref(),
            Ok("match d { a if on(\"X\") => {}\nb => c, e => f }")
        );
    }

    #[test]
    fn other_crates_ask_the_core() {
        let edit = Edit { file: "crates/dmls-store/src/file.rs".into(), ..weaker("a()", "b()") };
        assert_eq!(switched("a()", &[("X", &edit)]), Ok("(if dmls::defence::on(\"X\") { a() } else { b() })".into()));
    }

    #[test]
    fn mutants_within_each_other_are_switched_apart() {
        let text = "ok(a == b && c)";
        let edits =
            [("X", weaker("a == b", "true")), ("Y", weaker("a == b && c", "false")), ("Z", weaker("a == b", "d"))];
        let done = apply(text, &edits);
        let expected = "ok((if on(\"Y\") { (if on(\"X\") { (if on(\"Z\") { a == b } else { d }) } else { true }) && c } \
                        else { false }))";
        assert_eq!(done.as_deref(), Ok(expected));
        let arms = [("X", weaker("A => b", "C => d")), ("Y", weaker("A => b", "")), ("Z", weaker("b", "e"))];
        let done = apply("match a { A => b }", &arms);
        let expected = "match a { C if !on(\"X\") => d, A if on(\"Y\") => (if on(\"Z\") { b } else { e }) }";
        assert_eq!(done.as_deref(), Ok(expected));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(one("a == b", weaker("a == c", "true")), Err(Misfit::NotThere));
        assert_eq!(one("aa == b", weaker("a == b", "true")), Err(Misfit::NotThere));
        assert_eq!(one("f(a); f( a )", weaker("f(a)", "true")), Err(Misfit::Ambiguous));
        assert_eq!(one("a", weaker("// a", "true")), Err(Misfit::Empty));
        assert_eq!(one("let a = b;", weaker("let a = b;", "let a = c;")), Err(Misfit::Binding));
        assert_eq!(one("a()", weaker("a()", "")), Err(Misfit::NoExpression));
        assert_eq!(one("A => b", weaker("A => b", "c")), Err(Misfit::NoArm));
        let crossing = [("X", weaker("a == b", "true")), ("Y", weaker("b && c", "true"))];
        assert_eq!(apply("a == b && c", &crossing), Err((1, Misfit::Overlap)));
        let hidden = [("X", by_text("a == b", "@on")), ("Y", weaker("b", "c"))];
        assert_eq!(apply("a == b && c", &hidden), Err((1, Misfit::Overlap)));
    }
}
