//! What was claimed, and whether it held.

use std::fmt;

/// One claim of a story, checked.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What is claimed, as a sentence.
    pub claim: String,
    /// What speaks against it; empty if it holds.
    pub against: Vec<String>,
    /// What was counted or compared, for people.
    pub seen: String,
}

impl Verdict {
    /// Makes the verdict on a claim from what speaks against it.
    #[must_use]
    pub fn new(claim: &str, seen: String, against: Vec<String>) -> Self {
        Self { claim: claim.to_owned(), against, seen }
    }

    /// Tells whether the claim holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.against.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds() { "holds" } else { "FAILS" };
        write!(f, "{word}  {} ({})", self.claim, self.seen)?;
        for line in &self.against {
            write!(f, "\n         {line}")?;
        }
        Ok(())
    }
}
