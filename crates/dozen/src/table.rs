//! Columns of text, aligned, without lines between them.

/// Rows of cells; the first row may be a heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub(crate) fn with_heading(cells: &[&str]) -> Self {
        Self { rows: vec![cells.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| dozen_model::printable::printable(&cell, false).into_owned())
                .collect(),
        );
    }

    /// The lines, each column as wide as its widest cell, no space at a line's end.
    pub(crate) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::with_heading(&["NAME", "STATE"]);
        table.row(["web.1".to_owned(), "up".to_owned()]);
        table.row(["a\x1b[2Jb".to_owned(), String::new()]);
        assert_eq!(table.lines(), ["NAME   STATE", "web.1  up", "ab"]);
    }
}
