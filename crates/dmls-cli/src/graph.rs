//! Draws a DAG in lanes, newest first, as `git log --graph` does.
//!
//! A lane leads down from an epoch to the epoch it was made on. Further parents of a merge join it from the side.

use crate::output::Paint;

/// A row of the graph. Children come before their parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<Id> {
    /// Whose row it is.
    pub id: Id,
    /// The epoch it was made on, if it is among the rows.
    pub base: Option<Id>,
    /// The heads that it brought together.
    pub resolves: Vec<Id>,
    /// Stands in the lane.
    pub mark: char,
    /// Stands beside the graph.
    pub text: String,
}

/// The lines of the graph.
pub fn draw<Id: PartialEq + Clone>(rows: &[Row<Id>], paint: Paint) -> Vec<String> {
    let mut graph = Graph { lanes: Vec::new(), lines: Vec::new() };
    for row in rows {
        let known = |id: &Id| rows.iter().any(|row| row.id == *id);
        graph.add(row, known);
    }
    let width = graph.lines.iter().map(|line| line.cells.len()).max().unwrap_or(0);
    graph.lines.iter().map(|line| line.render(width, paint)).collect()
}

/// One line: cells, two for each lane (the lane and the gap after it), and the text beside.
struct Line {
    cells: Vec<char>,
    text: String,
}

impl Line {
    fn render(&self, width: usize, paint: Paint) -> String {
        let mut out = String::new();
        for (column, cell) in self.cells.iter().enumerate() {
            match cell {
                ' ' => out.push(' '),
                '@' => out.push_str(&paint.bold("@")),
                cell => out.push_str(&paint.lane(column / 2, &cell.to_string())),
            }
        }
        if !self.text.is_empty() {
            out.extend(std::iter::repeat_n(' ', width - self.cells.len() + 1));
            out.push_str(&self.text);
        }
        out.trim_end().to_owned()
    }
}

struct Graph<Id> {
    /// The id that each lane leads to; `None` for a free lane.
    lanes: Vec<Option<Id>>,
    lines: Vec<Line>,
}

impl<Id: PartialEq + Clone> Graph<Id> {
    fn add(&mut self, row: &Row<Id>, known: impl Fn(&Id) -> bool) {
        let own = self.gather(&row.id);
        self.node(own, row);
        self.lanes[own] = row.base.clone().filter(|base| known(base));
        let continues = self.lanes[own].is_some();
        let mut ends = Vec::new();
        for head in row.resolves.iter().filter(|head| known(head)) {
            let there = self.lanes.iter().position(|lane| lane.as_ref() == Some(head));
            match there.filter(|lane| *lane != own) {
                Some(lane) => ends.push((lane, false)),
                None => ends.push((self.open(head, Some(own)), true)),
            }
        }
        if !ends.is_empty() {
            self.connect(own, continues, &ends, true);
        }
        while self.lanes.last().is_some_and(Option::is_none) {
            self.lanes.pop();
        }
    }

    /// The lane of `id`: where several lead to it, they join in the leftmost.
    fn gather(&mut self, id: &Id) -> usize {
        let leading: Vec<usize> = (0..self.lanes.len()).filter(|lane| self.lanes[*lane].as_ref() == Some(id)).collect();
        let Some((own, others)) = leading.split_first() else { return self.open(id, None) };
        if !others.is_empty() {
            for lane in others {
                self.lanes[*lane] = None;
            }
            let ends: Vec<_> = others.iter().map(|lane| (*lane, true)).collect();
            self.connect(*own, true, &ends, false);
        }
        *own
    }

    /// A free lane, right of lane `beside` if there is one.
    fn open(&mut self, id: &Id, beside: Option<usize>) -> usize {
        let right = beside.map_or(0, |lane| lane + 1);
        let candidates = (right..self.lanes.len()).chain(0..beside.unwrap_or(0));
        let free = candidates.into_iter().find(|lane| self.lanes[*lane].is_none());
        let lane = free.unwrap_or(self.lanes.len().max(right));
        if lane == self.lanes.len() {
            self.lanes.push(None);
        }
        self.lanes[lane] = Some(id.clone());
        lane
    }

    fn node(&mut self, own: usize, row: &Row<Id>) {
        let mut cells = self.upright();
        cells[2 * own] = row.mark;
        self.lines.push(Line { cells: trimmed(cells), text: row.text.clone() });
    }

    /// All lanes that lead on.
    fn upright(&self) -> Vec<char> {
        self.lanes.iter().flat_map(|lane| [if lane.is_some() { '│' } else { ' ' }, ' ']).collect()
    }

    /// A line that joins lane `own` with others: `ends` are lanes and whether they begin (`down`) or end here.
    fn connect(&mut self, own: usize, continues: bool, ends: &[(usize, bool)], down: bool) {
        let mut cells = self.upright();
        let lanes = ends.iter().map(|(lane, _)| *lane).chain([own]);
        let (left, right) = lanes.clone().fold((own, own), |(left, right), lane| (left.min(lane), right.max(lane)));
        for cell in &mut cells[2 * left..2 * right] {
            // Lanes that have nothing to do with it pass over.
            if *cell == ' ' {
                *cell = '─';
            }
        }
        for (lane, fresh) in ends {
            cells[2 * lane] = corner(*lane, left, right, *fresh, down);
        }
        cells[2 * own] = match (left < own, own < right, continues) {
            (false, _, true) => '├',
            (true, false, true) => '┤',
            (true, true, true) => '┼',
            (false, _, false) => '╰',
            (true, false, false) => '╯',
            (true, true, false) => '┴',
        };
        self.lines.push(Line { cells: trimmed(cells), text: String::new() });
    }
}

/// Where a joining line meets a lane that begins or ends in it (`fresh`), or passes through it.
fn corner(lane: usize, left: usize, right: usize, fresh: bool, down: bool) -> char {
    match (lane == left, lane == right, fresh, down) {
        (true, _, true, true) => '╭',
        (true, _, true, false) => '╰',
        (true, _, false, _) => '├',
        (_, true, true, true) => '╮',
        (_, true, true, false) => '╯',
        (_, true, false, _) => '┤',
        (_, _, true, true) => '┬',
        (_, _, true, false) => '┴',
        (_, _, false, _) => '┼',
    }
}

fn trimmed(mut cells: Vec<char>) -> Vec<char> {
    while cells.last() == Some(&' ') {
        cells.pop();
    }
    cells
}

#[cfg(test)]
mod tests;
