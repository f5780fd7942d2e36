use super::*;

fn row(id: &'static str, base: Option<&'static str>, resolves: &[&'static str]) -> Row<&'static str> {
    Row { id, base, resolves: resolves.to_vec(), mark: '*', text: id.to_owned() }
}

fn drawn(rows: &[Row<&'static str>]) -> String {
    draw(rows, Paint::PLAIN).join("\n")
}

#[test]
fn nothing() {
    assert_eq!(drawn(&[]), "");
}

#[test]
fn a_line() {
    let rows = [row("c", Some("b"), &[]), row("b", Some("a"), &[]), row("a", None, &[])];
    assert_eq!(drawn(&rows), "* c\n* b\n* a");
}

#[test]
fn a_fork_that_is_still_open() {
    let rows = [row("c", Some("a"), &[]), row("b", Some("a"), &[]), row("a", None, &[])];
    let expected = "\
*   c
│ * b
├─╯
*   a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn a_fork_and_its_merge() {
    let rows = [row("m", Some("c"), &["b"]), row("c", Some("a"), &[]), row("b", Some("a"), &[]), row("a", None, &[])];
    let expected = "\
*   m
├─╮
* │ c
│ * b
├─╯
*   a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn three_heads_merged_at_once() {
    let rows = [
        row("m", Some("b"), &["c", "d"]),
        row("b", Some("a"), &[]),
        row("c", Some("a"), &[]),
        row("d", Some("a"), &[]),
        row("a", None, &[]),
    ];
    let expected = "\
*     m
├─┬─╮
* │ │ b
│ * │ c
│ │ * d
├─┴─╯
*     a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn two_merges_of_the_same_heads() {
    let rows = [
        row("n", Some("c"), &["b"]),
        row("m", Some("b"), &["c"]),
        row("c", Some("a"), &[]),
        row("b", Some("a"), &[]),
        row("a", None, &[]),
    ];
    // m reaches the lane of c over that of b.
    let expected = "\
*     n
├─╮
│ │ * m
├─│─┤
* │ │ c
│ ├─╯
│ *   b
├─╯
*     a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn lanes_in_between_are_passed_over() {
    let rows = [
        row("m", Some("b"), &["d"]),
        row("c", Some("a"), &[]),
        row("n", Some("e"), &["b"]),
        row("b", Some("a"), &[]),
        row("d", Some("a"), &[]),
        row("e", Some("a"), &[]),
        row("a", None, &[]),
    ];
    let expected = "\
*       m
├─╮
│ │ *   c
│ │ │ * n
├─│─│─┤
* │ │ │ b
│ * │ │ d
│ │ │ * e
├─┴─┴─╯
*       a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn a_base_that_is_not_known() {
    let rows = [row("m", Some("x"), &["b"]), row("b", Some("y"), &[])];
    let expected = "\
*   m
╰─╮
  * b";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn a_resolved_head_may_be_the_base_of_another_lane() {
    // The lane of `b` began left of the merge.
    let rows = [
        row("c", Some("b"), &[]),
        row("m", Some("d"), &["b"]),
        row("d", Some("a"), &[]),
        row("b", Some("a"), &[]),
        row("a", None, &[]),
    ];
    let expected = "\
*   c
│ * m
├─┤
│ * d
* │ b
├─╯
*   a";
    assert_eq!(drawn(&rows), expected);
}

#[test]
fn colours_change_nothing_but_colour() {
    let rows = [row("m", Some("b"), &["c"]), row("b", Some("a"), &[]), row("c", Some("a"), &[]), row("a", None, &[])];
    let coloured = draw(&rows, Paint { colours: true }).join("\n");
    assert!(coloured.contains("\x1b["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap_or_default().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, drawn(&rows));
}
