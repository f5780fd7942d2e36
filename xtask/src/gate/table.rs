//! Findings in columns.

use std::fmt;

/// Rows under a header, printed in columns.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    header: usize,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()], header: 1 }
    }

    pub(crate) fn push(&mut self, row: &[&str]) {
        self.rows.push(row.iter().map(ToString::to_string).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == self.header
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "  {}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}
