//! How results reach the terminal: text in columns, or JSON.

use serde_json::Value;

/// Where and how.
#[derive(Debug, Clone, Copy)]
pub struct To {
    /// JSON instead of text.
    pub json: bool,
}

impl To {
    /// Text as it is.
    #[expect(clippy::print_stdout, reason = "what the person asked for")]
    pub fn text(self, text: &str) {
        println!("{}", text.trim_end());
    }

    /// A thing that was done. JSON says so too.
    pub fn done(self, what: &str) {
        if self.json {
            self.text(&serde_json::json!({ "done": what }).to_string());
        } else {
            self.text(what);
        }
    }

    /// Rows under headings; JSON gives the objects themselves.
    pub fn rows(self, headings: &[&str], rows: &[Vec<String>], objects: &Value) {
        if self.json {
            self.text(&serde_json::to_string_pretty(objects).unwrap_or_default());
            return;
        }
        self.text(&columns(headings, rows));
    }
}

/// Columns as wide as their widest cell.
pub fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(headings.get(column).map(|h| h.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push('\n');
        text.push_str(&line(&mut row.iter().map(|cell| clean(cell))));
    }
    text
}

/// The first line only: replies of other servers may have many.
fn clean(cell: &str) -> &str {
    cell.lines().next().unwrap_or_default()
}

/// What went wrong, on standard error.
#[expect(clippy::print_stderr, reason = "errors of a command go to the terminal")]
pub fn error(error: &anyhow::Error) {
    eprintln!("mox: {error:#}");
}

/// Seconds since 1970 as UTC.
pub fn time(seconds: i64) -> String {
    let (year, month, day, hour, minute, second) =
        libmox_message::date::utc(libmox_types::Timestamp(seconds));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Octets for people.
pub fn size(octets: u64) -> String {
    match octets {
        0..1_024 => format!("{octets} B"),
        1_024..1_048_576 => format!("{} KiB", octets.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{} MiB", octets.div_ceil(1 << 20)),
        _ => format!("{} GiB", octets.div_ceil(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "long cell".into()], vec!["bbbb".into(), "two\nlines".into()]];
        assert_eq!(columns(&["one", "two"], &rows), "one   two\na     long cell\nbbbb  two");
    }

    #[test]
    fn times_and_sizes_are_for_people() {
        assert_eq!(time(1_000_000_000), "2001-09-09 01:46:40");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1025), "2 KiB");
    }
}
