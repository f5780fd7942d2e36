//! Paragraphs of the specification and citations of them.

use std::fmt;

/// The number of a section (`3`) or of a paragraph (`3.4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    section: u32,
    paragraph: Option<u32>,
}

impl Number {
    /// The number that `text` starts with.
    fn parse(text: &str) -> Option<Self> {
        let (section, rest) = digits(text)?;
        let paragraph = rest.strip_prefix('.').and_then(digits).map(|(paragraph, _)| paragraph);
        Some(Self { section, paragraph })
    }

    /// Whether it names a paragraph and not a whole section.
    pub(super) fn is_paragraph(self) -> bool {
        self.paragraph.is_some()
    }
}

fn digits(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok().map(|number| (number, &text[end..]))
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.paragraph {
            Some(paragraph) => write!(f, "{}.{paragraph}", self.section),
            None => write!(f, "{}", self.section),
        }
    }
}

/// What a line of the specification opens: a section (`## 3. Merging`) or a paragraph (`**3.4** ...`).
pub(super) fn opened_by(line: &str) -> Option<Number> {
    let paragraph = line.strip_prefix("**").filter(|rest| rest.contains("**")).and_then(Number::parse);
    let section = || line.strip_prefix("## ").and_then(Number::parse).filter(|number| !number.is_paragraph());
    paragraph.filter(|number| number.is_paragraph()).or_else(section)
}

/// All citations in a line: after the word SPEC, a list of `§` and number.
pub(super) fn cited_in(line: &str) -> Vec<Number> {
    let mut cited = Vec::new();
    for after in line.split("SPEC §").skip(1) {
        let numbers = after.split('§').scan(true, |listed, part| {
            let number = Number::parse(part).filter(|_| *listed);
            *listed = number.is_some_and(|number| continues(part, number));
            number
        });
        cited.extend(numbers);
    }
    cited
}

/// Whether nothing but a list's glue stands between a number and the next `§`.
fn continues(part: &str, number: Number) -> bool {
    let glue = part[number.to_string().len()..].trim();
    matches!(glue, "," | "and" | ", and" | "or")
}

#[cfg(test)]
mod tests {
    use super::{Number, cited_in, opened_by};

    fn numbers(line: &str) -> Vec<String> {
        cited_in(line).iter().map(Number::to_string).collect()
    }

    #[test]
    fn citations_are_found() {
        let sign = "SPEC §";
        assert_eq!(numbers(&format!("/// As said ({sign}3.4).")), ["3.4"]);
        assert_eq!(numbers(&format!("/// ({sign}3.5, §3.7 and §3.10)")), ["3.5", "3.7", "3.10"]);
        assert_eq!(numbers(&format!("RFC 8032 §5.1.7, {sign}5.2, RFC 9420 §8.2")), ["5.2"]);
        assert_eq!(numbers(&format!("{sign}2. {sign}5.6.")), ["2", "5.6"]);
        assert!(numbers("RFC 9420 §8.2").is_empty());
    }

    #[test]
    fn paragraphs_open_with_a_bold_number() {
        assert_eq!(opened_by("**3.10** A leaf is stale when").map(|number| number.to_string()), Some("3.10".into()));
        assert_eq!(opened_by("## 3. Merging").map(|number| number.to_string()), Some("3".into()));
        for line in ["see **3.4**", "**bold** words", "### 3.4", "**3** a section", "text"] {
            assert_eq!(opened_by(line), None, "{line}");
        }
    }
}
