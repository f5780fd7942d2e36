//! Rust source as words, so that text is found again however it is laid out.

use std::ops::Range;

/// Places of all tokens; white space and comments are none, punctuation is one character each.
///
/// A comma before a closing bracket is none either: rustfmt writes it where a list stands on several lines.
pub(super) fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let length = match next {
            _ if next.is_whitespace() => next.len_utf8(),
            '/' if text[at..].starts_with("//") => line_comment(&text[at..]),
            '/' if text[at..].starts_with("/*") => block_comment(&text[at..]),
            _ => {
                let length = token(&text[at..]);
                drop_trailing_comma(text, &mut found, next);
                found.push(at..at + length);
                length
            }
        };
        at += length;
    }
    found
}

/// Places of the tokens of a pattern: without a comma at its end.
pub(super) fn pattern(text: &str) -> Vec<Range<usize>> {
    let mut found = tokens(text);
    drop_trailing_comma(text, &mut found, '}');
    found
}

fn drop_trailing_comma(text: &str, found: &mut Vec<Range<usize>>, next: char) {
    let comma = found.last().is_some_and(|last| &text[last.clone()] == ",");
    if comma && matches!(next, ')' | ']' | '}') {
        found.pop();
    }
}

fn line_comment(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How long the token is that `text` begins with.
fn token(text: &str) -> usize {
    let word = text.find(|char: char| !(char.is_alphanumeric() || char == '_')).unwrap_or(text.len());
    let (prefix, rest) = text.split_at(word);
    match (prefix, rest.as_bytes()) {
        ("" | "b" | "c", [b'"', ..]) => word + quoted(rest, '"'),
        ("r" | "br" | "cr", [b'"' | b'#', ..]) => raw_string(rest).map_or(word, |length| word + length),
        ("" | "b", [b'\'', ..]) => word + character(rest),
        ("", _) => text.chars().next().map_or(0, char::len_utf8),
        _ => word,
    }
}

/// Text that begins with a quotation mark, up to the next that no backslash stands before.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `"..."` between equal numbers of `#`; nothing if it is an identifier (`r#type`).
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.find(|char| char != '#')?;
    let inside = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &text[..hashes]);
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// A character in quotation marks, or a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{pattern, tokens};

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn layout_and_comments_make_no_difference() {
        let laid_out = "check(\n    one, // why\n    /* a /* b */ c */ two,\n)";
        assert_eq!(words(laid_out), ["check", "(", "one", ",", "two", ")"]);
        assert_eq!(words(laid_out), words("check(one,two)"));
        assert_eq!(words("[a, (b,), c,]").concat(), "[a,(b),c]");
    }

    #[test]
    fn what_stands_in_quotation_marks_is_one_token() {
        assert_eq!(words(r#"f("a // \" b", 'x')"#), ["f", "(", r#""a // \" b""#, ",", "'x'", ")"]);
        assert_eq!(words(r##"r#"a "b""# + b"c" + br"d\""##), [r##"r#"a "b""#"##, "+", "b\"c\"", "+", "br\"d\\\""]);
        assert_eq!(words(r"'\'' b'\\' '}' 'ä'"), [r"'\''", r"b'\\'", "'}'", "'ä'"]);
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_no_strings() {
        assert_eq!(words("&'a str, 'b: loop"), ["&", "'", "a", "str", ",", "'", "b", ":", "loop"]);
        assert_eq!(words("r#type.b"), ["r", "#", "type", ".", "b"]);
        assert_eq!(words("ab == a_b1"), ["ab", "=", "=", "a_b1"]);
    }

    #[test]
    fn a_pattern_ends_without_its_comma() {
        assert_eq!(pattern("a => b,\n").len(), 4);
        assert_eq!(tokens("a => b,\n").len(), 5);
    }
}
