//! Columns for people. It knows nothing of what stands in them.

use super::print::shown;
use serde_json::Value;

/// Longer cells are cut: the whole is in `--json`.
const CELL_CHARS_MAX: usize = 60;

/// Rows of as many cells as there are headers, each column as wide as its longest cell; the last one is not cut.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let last = headers.len().saturating_sub(1);
    let cut = |(at, cell): (usize, &String)| {
        let cell = shown(cell);
        if at == last || cell.chars().count() <= CELL_CHARS_MAX {
            return cell;
        }
        cell.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
    };
    let mut lines: Vec<Vec<String>> = vec![headers.iter().map(|&header| header.to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().enumerate().map(cut).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// The named fields of each entry, as cells.
pub fn cells(entries: &Value, fields: &[&str]) -> Vec<Vec<String>> {
    let entries = entries.as_array().map_or(&[][..], Vec::as_slice);
    entries.iter().map(|entry| fields.iter().map(|field| cell(&entry[*field])).collect()).collect()
}

/// Text as it is, anything else as JSON writes it, and nothing as a dash.
pub fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_hold_no_control_characters() {
        let entries = json!([{ "a": "x\ny", "b": null }, { "a": 12, "b": "z".repeat(70) }]);
        let told = table(&["a", "b"], &cells(&entries, &["a", "b"]));
        assert_eq!(told, format!("a     b\nx\\ny  -\n12    {}\n", "z".repeat(70)));
        let cut = table(&["b", "a"], &cells(&entries, &["b", "a"]));
        assert!(cut.ends_with(&format!("{}…  12\n", "z".repeat(59))), "{cut}");
        assert_eq!(table(&["a"], &[]), "a\n");
    }
}
