//! Tables without borders: columns that line up, headings above them, nothing else.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::plain;

/// How a table is to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether it goes to a terminal, whose width it must fit.
    pub is_terminal: bool,
    /// Whether headings may be bold.
    pub is_styled: bool,
}

/// Begins a line that is to be bold, for `Output`, which alone writes what a terminal obeys. No text has
/// this character.
pub(super) const BOLD: char = '\u{fdd0}';

/// Draws a table. A heading that ends with `>` aligns its column to the right.
pub(super) fn draw(look: Look, headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    let arrangement =
        if look.is_terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    if look.is_terminal
        && let Some(columns) = columns()
    {
        table.set_width(columns);
    }
    table.set_header(headings.iter().map(|heading| Cell::new(heading.trim_end_matches('>'))));
    // Here too, since what is replaced is wider.
    let safe = |row: Vec<String>| row.into_iter().map(|cell| plain::escaped(&cell).into_owned());
    table.add_rows(rows.into_iter().map(|row| safe(row).collect::<Vec<_>>()));
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.ends_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::from_iter(look.is_styled.then_some(BOLD));
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The terminal's width.
fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_plainly() {
        let look = Look { is_terminal: false, is_styled: false };
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned(), "x".to_owned()],
            vec!["longer".to_owned(), "100".to_owned(), String::new()],
        ];
        let text = draw(look, &["NAME", "SIZE>", "END"], rows);
        assert_eq!(text, "NAME    SIZE  END\na          1  x\nlonger   100\n");
    }
}
