//! SPDX licence expressions.

/// Whether an expression can be satisfied with licences that `allowed` accepts.
///
/// `OR` needs one side, `AND` both; `A/B` is how old manifests write `A OR B`; `A+` (or later) is satisfied with A.
/// What cannot be parsed is not satisfied.
pub(super) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), at: 0 };
    let satisfied = words.either(allowed);
    satisfied == Some(true) && words.at == words.words.len()
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
        let mut value = self.both(allowed)?;
        while self.accept("OR") {
            value |= self.both(allowed)?;
        }
        Some(value)
    }

    fn both(&mut self, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
        let mut value = self.one(allowed)?;
        while self.accept("AND") {
            value &= self.one(allowed)?;
        }
        Some(value)
    }

    fn one(&mut self, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
        if self.accept("(") {
            let value = self.either(allowed)?;
            return self.accept(")").then_some(value);
        }
        let licence = self.next()?;
        if self.accept("WITH") {
            let exception = self.next()?;
            return Some(allowed(&format!("{licence} WITH {exception}")));
        }
        Some(allowed(licence.strip_suffix('+').unwrap_or(licence)))
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[test]
    fn expressions_are_weighed() {
        let allowed = |licence: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
        for good in [
            "MIT",
            "MIT+",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR ISC) AND MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "GPL-3.0 OR (MIT AND AGPL-3.0)", "MIT OR", "(MIT", "MIT ISC"] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }
}
