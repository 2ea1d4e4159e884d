//! A TOML table read key by key: what is asked for is taken, what is left over is a mistake.

use std::fmt;
use std::path::Path;
use std::time::Duration;
use toml_edit::{Document, Item, Table, Value};

/// One thing wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Starting at 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// In words for the admin.
    pub what: String,
}

/// Everything wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes {
    /// Which file.
    pub file: String,
    /// In order of lines.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn one(path: &Path, what: &str) -> Self {
        Self { file: path.display().to_string(), list: vec![Mistake { line: 0, what: what.to_owned() }] }
    }

    pub(super) fn in_file(mut self, file: &str) -> Self {
        if self.file.is_empty() {
            file.clone_into(&mut self.file);
        }
        self
    }

    /// `file:line: what`, one each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.list
            .iter()
            .map(|m| match m.line {
                0 => format!("{}: {}", self.file, m.what),
                line => format!("{}:{line}: {}", self.file, m.what),
            })
            .collect()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// Parses a file and hands its root table to `build`; any mistake noted fails the whole.
pub(super) fn read_file<T>(text: &str, build: impl FnOnce(&mut Section<'_>) -> T) -> Result<T, Mistakes> {
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        Mistakes { file: String::new(), list: vec![Mistake { line, what: error.message().to_owned() }] }
    })?;
    let mut list = Vec::new();
    let built = {
        let mut root = Section {
            text,
            name: String::new(),
            line: 1,
            table: Some(document.as_table()),
            taken: Vec::new(),
            mistakes: &mut list,
        };
        let built = build(&mut root);
        root.finish();
        built
    };
    if list.is_empty() {
        return Ok(built);
    }
    list.sort_by_key(|m| m.line);
    Err(Mistakes { file: String::new(), list })
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// A table being read. Absent tables read as empty.
pub(super) struct Section<'a> {
    text: &'a str,
    name: String,
    line: usize,
    table: Option<&'a Table>,
    taken: Vec<String>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Section<'a> {
    /// Notes a mistake at the section's own line.
    pub fn mistake(&mut self, what: impl Into<String>) {
        let line = self.line;
        self.mistakes.push(Mistake { line, what: what.into() });
    }

    fn take(&mut self, key: &str) -> Option<(&'a Item, usize)> {
        self.taken.push(key.to_owned());
        let (found, item) = self.table?.get_key_value(key)?;
        let line =
            found.span().or_else(|| item.span()).map_or(self.line, |span| line_of(self.text, span.start));
        Some((item, line))
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// A value read by `read`, which says what it wanted when it fails.
    pub fn value<T>(&mut self, key: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let (item, line) = self.take(key)?;
        let outcome = match item.as_value() {
            Some(value) => read(value),
            None => Err("a table stands where a value is wanted".to_owned()),
        };
        match outcome {
            Ok(value) => Some(value),
            Err(what) => {
                let what = format!("{}: {what}", self.full(key));
                self.mistakes.push(Mistake { line, what });
                None
            }
        }
    }

    /// Text, parsed further.
    pub fn text<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.value(key, |value| {
            parse(value.as_str().ok_or("text in quotes is wanted")?).map_err(|e| e.to_string())
        })
    }

    /// A list of texts, each parsed further.
    pub fn texts<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        self.value(key, |value| {
            let array = value.as_array().ok_or("a list in brackets is wanted")?;
            array
                .iter()
                .map(|one| {
                    let text = one.as_str().ok_or("a list of texts in quotes is wanted")?;
                    parse(text).map_err(|error| format!("{text:?}: {error}"))
                })
                .collect()
        })
    }

    /// `true` or `false`.
    pub fn yes_no(&mut self, key: &str, default: bool) -> bool {
        self.optional_yes_no(key).unwrap_or(default)
    }

    /// `true` or `false`, where neither is the default.
    pub fn optional_yes_no(&mut self, key: &str) -> Option<bool> {
        self.value(key, |value| value.as_bool().ok_or_else(|| "true or false is wanted".to_owned()))
    }

    /// A whole number within a range.
    pub fn number(&mut self, key: &str, default: u64, allowed: std::ops::RangeInclusive<u64>) -> u64 {
        self.value(key, |value| {
            let number =
                value.as_integer().and_then(|n| u64::try_from(n).ok()).ok_or("a whole number is wanted")?;
            in_range(number, &allowed, u64::to_string)
        })
        .unwrap_or(default)
    }

    /// A number such as 0.95 within a range.
    pub fn fraction(&mut self, key: &str, default: f64, allowed: std::ops::RangeInclusive<f64>) -> f64 {
        self.value(key, |value| {
            let number = value.as_float().ok_or("a number such as 0.5 is wanted")?;
            if allowed.contains(&number) {
                return Ok(number);
            }
            Err(format!("{number} is not within {} to {}", allowed.start(), allowed.end()))
        })
        .unwrap_or(default)
    }

    /// `"30s"`, `"5m"`, `"2h"`, `"1d"` or `"250ms"`.
    pub fn duration(
        &mut self,
        key: &str,
        default: Duration,
        allowed: std::ops::RangeInclusive<Duration>,
    ) -> Duration {
        self.optional_duration(key, allowed).unwrap_or(default)
    }

    /// The same without a default.
    pub fn optional_duration(
        &mut self,
        key: &str,
        allowed: std::ops::RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.text(key, |text| {
            let duration = parse_duration(text)
                .ok_or_else(|| "a duration like \"30s\", \"5m\", \"2h\" is wanted".to_owned())?;
            in_range(duration, &allowed, |d| format!("{d:?}"))
        })
    }

    /// `"100MiB"`, `"10GiB"`, `"512KiB"` or `"4096"`.
    pub fn bytes(&mut self, key: &str, default: u64, allowed: std::ops::RangeInclusive<u64>) -> u64 {
        self.optional_bytes(key, allowed).unwrap_or(default)
    }

    /// The same without a default.
    pub fn optional_bytes(&mut self, key: &str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.text(key, |text| {
            let bytes = parse_bytes(text).ok_or_else(|| "a size like \"100MiB\" is wanted".to_owned())?;
            in_range(bytes, &allowed, |n| format!("{n} bytes"))
        })
    }

    /// A table within this one.
    pub fn section<T>(&mut self, key: &str, build: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let found = self.take(key);
        let name = self.full(key);
        let (table, line) = match found {
            Some((item, line)) => match item.as_table() {
                Some(table) => (Some(table), line),
                None => {
                    self.mistakes.push(Mistake { line, what: format!("{name}: a table [{name}] is wanted") });
                    (None, line)
                }
            },
            None => (None, self.line),
        };
        let mut inner =
            Section { text: self.text, name, line, table, taken: Vec::new(), mistakes: self.mistakes };
        let built = build(&mut inner);
        inner.finish();
        built
    }

    /// Every table within the table `key`, with its name: `[accounts.jane]`.
    pub fn each(&mut self, key: &str, mut build: impl FnMut(&str, &mut Section<'_>)) {
        self.section(key, |outer| {
            let names: Vec<String> =
                outer.table.map(|t| t.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default();
            for name in names {
                outer.section(&name, |inner| build(&name, inner));
            }
        });
    }

    /// Every table of the list `[[key]]`, in order.
    pub fn tables<T>(&mut self, key: &str, mut build: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let Some((item, line)) = self.take(key) else { return Vec::new() };
        let name = self.full(key);
        let Some(tables) = item.as_array_of_tables() else {
            self.mistakes.push(Mistake { line, what: format!("{name}: tables [[{name}]] are wanted") });
            return Vec::new();
        };
        let mut built = Vec::with_capacity(tables.len());
        for table in tables {
            let line = table.span().map_or(line, |span| line_of(self.text, span.start));
            let name = name.clone();
            let (taken, table) = (Vec::new(), Some(table));
            let mut inner = Section { text: self.text, name, line, table, taken, mistakes: self.mistakes };
            built.push(build(&mut inner));
            inner.finish();
        }
        built
    }

    /// Names and texts of a table, both parsed further: `headers = { "list-id" = "example" }`.
    pub fn pairs<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(T, T)> {
        let Some((item, line)) = self.take(key) else { return Vec::new() };
        let name = self.full(key);
        let mut pairs = Vec::new();
        let mut wrong = Vec::new();
        match item.as_table_like() {
            None => wrong.push("names and texts { a = \"b\" } are wanted".to_owned()),
            Some(table) => {
                for (left, right) in table.iter() {
                    let both = right.as_str().ok_or_else(|| "text in quotes is wanted".to_owned()).and_then(
                        |right| {
                            let read = |text: &str| parse(text).map_err(|error| format!("{text:?}: {error}"));
                            Ok((read(left)?, read(right)?))
                        },
                    );
                    match both {
                        Ok(pair) => pairs.push(pair),
                        Err(what) => wrong.push(what),
                    }
                }
            }
        }
        for what in wrong {
            self.mistakes.push(Mistake { line, what: format!("{name}: {what}") });
        }
        pairs
    }

    fn finish(&mut self) {
        let Some(table) = self.table else { return };
        for (name, item) in table {
            if self.taken.iter().any(|taken| taken == name) {
                continue;
            }
            let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            let line = span.map_or(self.line, |span| line_of(self.text, span.start));
            let what = format!("unknown key {}", self.full(name));
            self.mistakes.push(Mistake { line, what });
        }
    }
}

fn in_range<T: PartialOrd>(
    value: T,
    allowed: &std::ops::RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<T, String> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(format!("{} is not between {} and {}", show(&value), show(allowed.start()), show(allowed.end())))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match &text[digits..] {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_come_at_once_with_their_lines() {
        let text = "a = 1\nb = \"x\"\n\n[s]\nd = \"5 minutes\"\nz = true\n";
        let mistakes = read_file(text, |root| {
            root.number("b", 0, 0..=1);
            root.section("s", |s| s.duration("d", Duration::ZERO, Duration::ZERO..=Duration::MAX));
        })
        .unwrap_err();
        assert_eq!(
            mistakes.in_file("f").lines(),
            [
                "f:1: unknown key a",
                "f:2: b: a whole number is wanted",
                "f:5: s.d: a duration like \"30s\", \"5m\", \"2h\" is wanted",
                "f:6: unknown key s.z"
            ]
        );
    }

    #[test]
    fn syntax_errors_have_a_line() {
        assert_eq!(read_file("a = 1\nb = [\n", |_| ()).unwrap_err().list[0].line, 2);
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(parse_bytes("100MiB"), Some(100 << 20));
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes("1mb"), None);
        assert_eq!(parse_bytes("99999999999TiB"), None);
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_duration("2"), None);
        assert_eq!(parse_duration("99999999999999999d"), None);
    }
}
