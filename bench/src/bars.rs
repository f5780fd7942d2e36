//! The bars: what dmls wants to be, as ratios of values of one run.

use crate::sheet::{CORE, LIMIT, MODULE, Sheet};

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What is compared with what.
    pub what: String,
    /// The ratio must not be above this.
    pub most: f64,
    /// The ratio, if both were measured.
    pub ratio: Option<f64>,
}

impl Bar {
    /// Whether it is met, if that is known.
    pub fn passes(&self) -> Option<bool> {
        self.ratio.map(|ratio| ratio <= self.most)
    }
}

/// One value: which row, in a room of how many devices, by whom.
type Cell<'a> = (&'a str, u32, &'a str);

/// The sizes of rooms of which something is promised.
const LARGE: [u32; 2] = [1_000, 10_000];
const MESSAGE: [&str; 2] = ["message/seal", "message/open"];
const COMMIT: [&str; 2] = ["rekey/send", "rekey/receive"];

/// All bars; `past` is the size of the room whose known epochs were counted.
pub fn bars(sheet: &Sheet, past: u32) -> Vec<Bar> {
    let mut bars = Bars { sheet, found: Vec::new() };
    bars.module();
    bars.core();
    bars.known(past);
    bars.messages(past);
    bars.held();
    bars.forks();
    bars.found
}

struct Bars<'a> {
    sheet: &'a Sheet,
    found: Vec<Bar>,
}

impl Bars<'_> {
    fn bar(&mut self, most: f64, ours: Cell<'_>, other: Cell<'_>) {
        let value = |(op, n, who): Cell<'_>| self.sheet.value(op, n, who);
        let ratio = value(ours).zip(value(other)).map(|(ours, other)| ours / other);
        let what = format!("{} over {}", named(ours), named(other));
        self.found.push(Bar { what, most, ratio });
    }

    fn module(&mut self) {
        for n in LARGE {
            for op in ["create", "join", "rekey/send"] {
                self.bar(1.25, (op, n, MODULE), (op, n, LIMIT));
            }
            self.bar(1.6, ("rekey/receive", n, MODULE), ("rekey/receive", n, LIMIT));
        }
    }

    fn core(&mut self) {
        for (n, most) in LARGE.into_iter().zip([2.0, 3.0]) {
            for op in COMMIT {
                self.bar(most, (op, n, CORE), (op, n, MODULE));
            }
        }
    }

    fn known(&mut self, past: u32) {
        for op in COMMIT {
            let (many, few) = (format!("{op} known=10000"), format!("{op} known=100"));
            self.bar(1.2, (&many, past, CORE), (&few, past, CORE));
        }
    }

    fn messages(&mut self, past: u32) {
        for op in MESSAGE {
            self.bar(1.1, (op, 1_000, CORE), (op, 10, CORE));
            let (many, one) = (format!("{op} held=64"), format!("{op} held=1"));
            self.bar(1.1, (&many, 1_000, CORE), (&one, 1_000, CORE));
            let (many, few) = (format!("{op} known=10000"), format!("{op} known=100"));
            self.bar(1.1, (&many, past, CORE), (&few, past, CORE));
            self.bar(1.3, (op, 1_000, CORE), (op, 1_000, MODULE));
            self.bar(1.0, (op, 1_000, CORE), (op, 1_000, "megolm"));
        }
    }

    /// Over the records of one who has just joined: one epoch, and no past.
    fn held(&mut self) {
        self.bar(1.5, ("records held=64", 1_000, CORE), ("records joined", 1_000, CORE));
    }

    fn forks(&mut self) {
        for op in ["fork-8/bytes", "fork-8/receive"] {
            self.bar(1.0, (op, 1_000, CORE), (op, 1_000, "beekem"));
        }
    }
}

fn named((op, n, who): Cell<'_>) -> String {
    format!("{who} {op} at {n}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::bars;
    use crate::sheet::{CORE, Sheet, Unit};

    #[test]
    fn a_bar_is_met_missed_or_not_known() {
        let mut sheet = Sheet::new(Vec::new(), Duration::ZERO);
        sheet.put("fork-8/bytes", 1_000, CORE, Unit::B, 29.0);
        sheet.put("fork-8/bytes", 1_000, "beekem", Unit::B, 34.0);
        sheet.put("message/open", 1_000, CORE, Unit::Us, 446.0);
        sheet.put("message/open", 1_000, "megolm", Unit::Us, 35.0);
        let bars = bars(&sheet, 10);
        let verdict = |what: &str| bars.iter().find(|bar| bar.what == what).map(super::Bar::passes);
        assert_eq!(verdict("core fork-8/bytes at 1000 over beekem fork-8/bytes at 1000"), Some(Some(true)));
        assert_eq!(verdict("core message/open at 1000 over megolm message/open at 1000"), Some(Some(false)));
        assert_eq!(verdict("core fork-8/receive at 1000 over beekem fork-8/receive at 1000"), Some(None));
    }
}
