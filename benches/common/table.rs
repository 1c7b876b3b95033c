//! Tables for people.

use std::fmt;

/// A table's title, its columns and what is to be said below it.
#[derive(Debug)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: &'static str,
    /// How many of the columns, from the left, are text; the others are figures.
    pub(crate) texts: usize,
    /// Headings and widths.
    pub(crate) columns: &'static [(&'static str, usize)],
    /// How to read it.
    pub(crate) legend: &'static str,
}

impl Table {
    /// Writes the table, unless it has no rows.
    pub(crate) fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        rows: impl Iterator<Item = Vec<String>>,
    ) -> fmt::Result {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let headings = self
            .columns
            .iter()
            .map(|(heading, _)| (*heading).to_owned());
        writeln!(f, "\n{}", self.title)?;
        for row in std::iter::once(headings.collect()).chain(rows) {
            let cells = row.iter().zip(self.columns).enumerate();
            let line: String = cells
                .map(|(nth, (cell, (_, width)))| match nth {
                    text if text < self.texts => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "{}", self.legend)
    }
}
