//! The public suffix list: under which names everybody can register, as data that is searched where it lies.
//!
//! Law: <https://publicsuffix.org/list/>: the longest rule that matches counts, an exception before all, and without
//! any the last label is the suffix.
//! Knows: names as [`libmox_types::Domain::ascii`] gives them.
//!
//! A line of the list is a top level domain, the rules of ICANN's section below it, a tab and those of private
//! registries. Rules lack the top level domain, their labels go from right to left (`com amazonaws.s3`), and they are
//! sorted, as the lines are. `*` is any label, a label after `!` an exception.

use std::cmp::Ordering;

/// Made by the test `the_list_is_that_of_the_crate`.
const LIST: &str = include_str!("suffixes.txt");
/// More labels than any rule has.
const LABELS: usize = 8;

/// What everybody can register below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suffix<'a> {
    /// The end of the name that was asked about.
    pub name: &'a str,
    /// The rule is one of a private registry.
    pub private: bool,
}

/// The public suffix of a name; it may be all of it.
#[must_use]
pub fn suffix(name: &str) -> Suffix<'_> {
    let mut labels = name.rsplit('.').take(LABELS);
    let top = labels.next().unwrap_or(name);
    let mut best = Suffix { name: &name[name.len() - top.len()..], private: false };
    let Some(line) = line_of(top) else { return best };
    let (public, private) = line.split_once('\t').unwrap_or((line, ""));
    let mut above = String::new();
    let mut length = top.len();
    for label in labels {
        let start = above.len();
        let shorter = &name[name.len() - length..];
        length += 1 + label.len();
        let longer = &name[name.len() - length..];
        let separator = if start == 0 { "" } else { "." };
        for (rules, private) in [(public, false), (private, true)] {
            if has(rules, &format!("{above}{separator}!{label}")) {
                return Suffix { name: shorter, private };
            }
            if has(rules, &format!("{above}{separator}*")) {
                best = Suffix { name: longer, private };
            }
        }
        above.push_str(separator);
        above.push_str(label);
        for (rules, private) in [(public, false), (private, true)] {
            if has(rules, &above) {
                best = Suffix { name: longer, private };
            }
        }
    }
    best
}

/// The registrable domain, one label more than the suffix; none where the name is a suffix.
#[must_use]
pub fn registrable(name: &str) -> Option<&str> {
    let above = name.len().checked_sub(suffix(name).name.len() + 1)?;
    Some(&name[name[..above].rfind('.').map_or(0, |dot| dot + 1)..])
}

/// The rules below a top level domain.
fn line_of(top: &str) -> Option<&'static str> {
    let line = find(LIST, '\n', |line| line.split([' ', '\t']).next().unwrap_or_default().cmp(top))?;
    Some(line[top.len()..].strip_prefix(' ').unwrap_or(&line[top.len()..]))
}

fn has(rules: &str, rule: &str) -> bool {
    find(rules, ' ', |have| have.cmp(rule)).is_some()
}

/// Searches parts of a sorted text by halving it.
fn find(text: &str, separator: char, compare: impl Fn(&str) -> Ordering) -> Option<&str> {
    let (mut from, mut to) = (0, text.len());
    while from < to {
        let middle = usize::midpoint(from, to);
        let start = text[from..middle].rfind(separator).map_or(from, |at| from + at + 1);
        let end = text[middle..to].find(separator).map_or(to, |at| middle + at);
        match compare(&text[start..end]) {
            Ordering::Equal => return Some(&text[start..end]),
            Ordering::Less => from = (end + 1).min(to),
            Ordering::Greater => to = start.saturating_sub(1).max(from),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_types::Domain;
    use std::collections::{BTreeMap, HashSet};
    use std::path::Path;

    /// The rules as the crate ships them.
    fn rules() -> Vec<String> {
        let run = std::process::Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"])
            .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let psl = packages.iter().find(|package| package["name"] == "psl").unwrap();
        let manifest = Path::new(psl["manifest_path"].as_str().unwrap());
        let text = std::fs::read_to_string(manifest.with_file_name("data").join("rules.txt")).unwrap();
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// A rule of the crate in the form of DNS, without its mark.
    fn ascii(rule: &str) -> String {
        Domain::parse(rule).unwrap().ascii().to_owned()
    }

    fn of_crate(name: &str) -> Suffix<'_> {
        let suffix = psl::suffix(name.as_bytes()).unwrap();
        let text = std::str::from_utf8(suffix.as_bytes()).unwrap();
        Suffix { name: &name[name.len() - text.len()..], private: suffix.typ() == Some(psl::Type::Private) }
    }

    /// `MOX_WRITE=1` writes it anew, after `cargo update -p psl`.
    #[test]
    fn the_list_is_that_of_the_crate() {
        let mut lines: BTreeMap<String, [Vec<String>; 2]> = BTreeMap::new();
        for rule in rules() {
            let (mark, plain) = match (rule.strip_prefix("*."), rule.strip_prefix('!')) {
                (Some(plain), _) => ("*", plain),
                (_, Some(plain)) => ("!", plain),
                _ => ("", rule.as_str()),
            };
            let name = ascii(plain);
            let asked = if mark == "*" { format!("a.{name}") } else { name.clone() };
            let mut labels: Vec<&str> = name.rsplit('.').collect();
            let top = labels.remove(0).to_owned();
            let below = match mark {
                "*" => labels.iter().copied().chain(["*"]).collect::<Vec<_>>().join("."),
                "!" => {
                    let last = labels.pop().unwrap();
                    let last = format!("!{last}");
                    labels.iter().copied().chain([last.as_str()]).collect::<Vec<_>>().join(".")
                }
                _ => labels.join("."),
            };
            let private = usize::from(of_crate(&asked).private);
            let line = lines.entry(top).or_default();
            if !below.is_empty() {
                line[private].push(below);
            }
        }
        let mut text = String::new();
        for (top, mut sections) in lines {
            sections.iter_mut().for_each(|rules| rules.sort_unstable());
            text += &top;
            for rule in &sections[0] {
                text += " ";
                text += rule;
            }
            if !sections[1].is_empty() {
                text += "\t";
                text += &sections[1].join(" ");
            }
            text += "\n";
        }
        if std::env::var_os("MOX_WRITE").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/suffixes.txt"), text).unwrap();
        } else {
            assert!(text == LIST, "written anew with MOX_WRITE=1");
        }
    }

    /// Each rule, with labels less and more, and neighbours that no rule names.
    #[test]
    fn finds_what_the_crate_finds() {
        let rules = rules();
        let (mut asked, mut differ, mut seen) = (0, 0, HashSet::new());
        let mut ask = |name: &str| {
            asked += 1;
            if suffix(name) == of_crate(name) {
                assert_eq!(registrable(name), psl::domain_str(name), "{name}");
                return;
            }
            // It overlooks that `*` above matches the last label of a name, where longer rules go on from that.
            differ += 1;
            let (_, above) = name.split_once('.').unwrap();
            assert_eq!(suffix(name).name, name);
            assert!(rules.contains(&format!("*.{above}")), "{name}");
            assert!(rules.iter().any(|rule| rule.ends_with(&format!(".{name}"))), "{name}");
        };
        for rule in &rules {
            let plain = rule.trim_start_matches("*.").trim_start_matches('!');
            assert!(plain.matches('.').count() + 2 < LABELS);
            let name = ascii(plain);
            let mut part = name.as_str();
            while seen.insert(part.to_owned()) {
                for front in ["", "a.", "b.a.", "h.g.f.e.d.c.b.a.", "x"] {
                    ask(&format!("{front}{part}"));
                }
                ask(&format!("a.{part}-"));
                let Some((_, rest)) = part.split_once('.') else { break };
                part = rest;
            }
        }
        for name in ["a", "test", "a.test", "b.a.test", "localhost", "zzzzzz", "0", "a.0", "xn--a", "-.-"] {
            ask(name);
        }
        assert!(asked > 60_000 && differ < 50);
    }
}
