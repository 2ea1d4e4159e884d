//! Which mailboxes LIST and LSUB name, and with what attributes.
//!
//! Law: RFC 9051 §6.3.9 and §7.3.1, RFC 5258, RFC 6154; RFC 3501 §6.3.9 and §7.2.3 for LSUB. Row IM-19: special
//! uses and children are always said.
//! Does not know: which mailboxes there are.

use crate::command::List;
use crate::parse::Dialect;
use crate::pattern::Pattern;
use crate::response::{mailbox, put};
use libmox_types::SpecialUses;
use std::collections::{BTreeMap, HashSet};

/// A mailbox or a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether there is a mailbox, and not only a subscription.
    pub exists: bool,
    /// Whether it is subscribed.
    pub subscribed: bool,
    /// What it is for.
    pub uses: SpecialUses,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The name.
    pub name: &'a str,
    /// Whether STATUS can be told of it.
    pub exists: bool,
    attributes: Vec<&'static str>,
    /// The criteria that something below it meets.
    child_info: Vec<&'static str>,
}

/// Answers LIST. The order is that of the entries, parents that do not exist behind them.
#[must_use]
pub fn list<'a>(list: &List, entries: &[Entry<'a>]) -> Vec<Line<'a>> {
    let patterns = compiled(&list.reference, list.patterns.iter().map(String::as_str));
    let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    let meets = |entry: &Entry<'_>| {
        (entry.exists || list.subscribed)
            && (!list.subscribed || entry.subscribed)
            && (!list.special_use || entry.uses != SpecialUses::NONE)
    };
    let parents = parents(entries.iter().filter(|entry| entry.exists));
    let children = |name: &str| if parents.contains(name) { "\\HasChildren" } else { "\\HasNoChildren" };
    let mut lines: BTreeMap<&'a str, Line<'a>> = BTreeMap::new();
    let line = |entry: &Entry<'a>| {
        let mut attributes = Vec::new();
        if !entry.exists {
            attributes.push("\\NonExistent");
        }
        if entry.subscribed && (list.subscribed || list.return_subscribed) {
            attributes.push("\\Subscribed");
        }
        attributes.push(children(entry.name));
        attributes.extend(entry.uses.names());
        Line { name: entry.name, exists: entry.exists, attributes, child_info: Vec::new() }
    };
    for entry in entries.iter().filter(|entry| meets(entry) && matches(entry.name)) {
        lines.insert(entry.name, line(entry));
    }
    if list.recursive_match {
        let mut criteria = Vec::new();
        if list.subscribed {
            criteria.push("SUBSCRIBED");
        }
        if list.special_use {
            criteria.push("SPECIAL-USE");
        }
        let by_name: BTreeMap<&str, &Entry<'a>> = entries.iter().map(|entry| (entry.name, entry)).collect();
        for entry in entries.iter().filter(|entry| meets(entry)) {
            let shown = lines.contains_key(entry.name);
            for parent in ancestors(entry.name) {
                if let Some(line) = lines.get_mut(parent) {
                    line.child_info.clone_from(&criteria);
                } else if !shown && matches(parent) {
                    // RFC 9051 §6.3.9.6: only for children that are not themselves named.
                    let mut line = by_name.get(parent).map_or_else(
                        || Line {
                            name: parent,
                            exists: false,
                            // RFC 5258 §5, example 10: children that are subscribed need not be there.
                            attributes: vec!["\\NonExistent", children(parent)],
                            child_info: Vec::new(),
                        },
                        |entry| line(entry),
                    );
                    line.child_info.clone_from(&criteria);
                    lines.insert(parent, line);
                }
            }
        }
    }
    in_order(lines)
}

/// What is told of a name about which something changed, there or not. RFC 5465 §5.4 and §5.5: with what it is
/// subscribed to, and under which name it was known before.
pub fn write_changed(
    out: &mut Vec<u8>,
    entries: &[Entry<'_>],
    name: &str,
    old: Option<&str>,
    dialect: Dialect,
) {
    let parents = parents(entries.iter().filter(|entry| entry.exists));
    let entry = entries.iter().find(|entry| entry.name == name);
    let mut attributes = Vec::new();
    if !entry.is_some_and(|entry| entry.exists) {
        attributes.push("\\NonExistent");
    }
    if entry.is_some_and(|entry| entry.subscribed) {
        attributes.push("\\Subscribed");
    }
    attributes.push(if parents.contains(name) { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(entry.iter().flat_map(|entry| entry.uses.names()));
    put(out, "* LIST (");
    put(out, &attributes.join(" "));
    put(out, ") \"/\" ");
    mailbox(out, name, dialect);
    if let Some(old) = old {
        put(out, " (\"OLDNAME\" (");
        mailbox(out, old, dialect);
        put(out, "))");
    }
    put(out, "\r\n");
}

/// What is told of a mailbox that has another name now. RFC 9051 §6.3.9.7, row IM-06.
pub fn write_renamed(out: &mut Vec<u8>, entries: &[Entry<'_>], old: &str, new: &str, dialect: Dialect) {
    let parents = parents(entries.iter().filter(|entry| entry.exists));
    for entry in entries.iter().filter(|entry| entry.exists) {
        let Some(rest) = entry.name.strip_prefix(new) else { continue };
        if !rest.is_empty() && !rest.starts_with('/') {
            continue;
        }
        let mut attributes =
            vec![if parents.contains(entry.name) { "\\HasChildren" } else { "\\HasNoChildren" }];
        attributes.extend(entry.uses.names());
        let line = Line { name: entry.name, exists: true, attributes, child_info: Vec::new() };
        write_line(out, "LIST", &line, dialect);
        // The line is open again for what belongs to it.
        out.truncate(out.len() - 2);
        put(out, " (\"OLDNAME\" (");
        mailbox(out, &format!("{old}{rest}"), dialect);
        put(out, "))\r\n");
    }
}

/// Answers LSUB.
#[must_use]
pub fn lsub<'a>(reference: &str, pattern: &str, entries: &[Entry<'a>]) -> Vec<Line<'a>> {
    let patterns = compiled(reference, [pattern]);
    let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    let mut lines: BTreeMap<&'a str, Line<'a>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.subscribed) {
        let plain =
            |name, attributes| Line { name, exists: entry.exists, attributes, child_info: Vec::new() };
        if matches(entry.name) {
            lines.insert(entry.name, plain(entry.name, Vec::new()));
            continue;
        }
        // RFC 3501 §6.3.9: with `%`, a parent stands for the subscribed child it hides.
        for parent in ancestors(entry.name).filter(|parent| pattern.ends_with('%') && matches(parent)) {
            lines.entry(parent).or_insert_with(|| plain(parent, vec!["\\Noselect"]));
        }
    }
    in_order(lines)
}

fn compiled<'p>(reference: &str, patterns: impl IntoIterator<Item = &'p str>) -> Vec<Pattern> {
    patterns.into_iter().map(|pattern| Pattern::new(&format!("{reference}{pattern}"))).collect()
}

/// The inbox first, as people expect it.
fn in_order<'a>(mut lines: BTreeMap<&'a str, Line<'a>>) -> Vec<Line<'a>> {
    let inbox = lines.remove("Inbox");
    inbox.into_iter().chain(lines.into_values()).collect()
}

fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn parents<'a>(entries: impl Iterator<Item = &'a Entry<'a>>) -> HashSet<&'a str> {
    entries.flat_map(|entry| ancestors(entry.name)).collect()
}

/// Writes one answer.
pub fn write_line(out: &mut Vec<u8>, response: &str, line: &Line<'_>, dialect: Dialect) {
    put(out, "* ");
    put(out, response);
    put(out, " (");
    put(out, &line.attributes.join(" "));
    put(out, ") \"/\" ");
    mailbox(out, line.name, dialect);
    if !line.child_info.is_empty() {
        put(out, " (\"CHILDINFO\" (\"");
        put(out, &line.child_info.join("\" \""));
        put(out, "\"))");
    }
    put(out, "\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::parse::parse;
    use libmox_types::SpecialUse;

    /// `!` in front: no mailbox. `+` behind: subscribed.
    const NAMES: [&str; 7] = ["Inbox+", "Foo", "Foo/Bar+", "Foo/Baz", "Moo", "!Vanished/Sub+", "Sent"];

    #[track_caller]
    fn lists(command: &str, want: &[&str]) {
        let entries: Vec<Entry<'_>> = NAMES
            .iter()
            .map(|name| Entry {
                name: name.trim_matches(['!', '+']),
                exists: !name.starts_with('!'),
                subscribed: name.ends_with('+'),
                uses: if *name == "Sent" {
                    SpecialUses::NONE.with(SpecialUse::Sent)
                } else {
                    SpecialUses::NONE
                },
            })
            .collect();
        let (_, command) = parse(format!("a {command}").as_bytes(), Dialect::Utf7);
        let mut out = Vec::new();
        match command.unwrap() {
            Command::List(command) => {
                list(&command, &entries)
                    .iter()
                    .for_each(|line| write_line(&mut out, "LIST", line, Dialect::Utf7));
            }
            Command::Lsub { reference, pattern } => lsub(&reference, &pattern, &entries)
                .iter()
                .for_each(|line| write_line(&mut out, "LSUB", line, Dialect::Utf7)),
            other => panic!("{other:?}"),
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn plain_and_extended() {
        lists(
            "LIST \"\" %",
            &[
                "* LIST (\\HasNoChildren) \"/\" INBOX",
                "* LIST (\\HasChildren) \"/\" Foo",
                "* LIST (\\HasNoChildren) \"/\" Moo",
                "* LIST (\\HasNoChildren \\Sent) \"/\" Sent",
            ],
        );
        lists(
            "LIST Foo/ *",
            &["* LIST (\\HasNoChildren) \"/\" Foo/Bar", "* LIST (\\HasNoChildren) \"/\" Foo/Baz"],
        );
        lists(
            "LIST (SUBSCRIBED) \"\" *",
            &[
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX",
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" Foo/Bar",
                "* LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" Vanished/Sub",
            ],
        );
        lists(
            "LIST \"\" (Inbox Foo/%) RETURN (SUBSCRIBED)",
            &[
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX",
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" Foo/Bar",
                "* LIST (\\HasNoChildren) \"/\" Foo/Baz",
            ],
        );
        lists("LIST (SPECIAL-USE) \"\" *", &["* LIST (\\HasNoChildren \\Sent) \"/\" Sent"]);
        lists("LIST (REMOTE) \"\" Moo", &["* LIST (\\HasNoChildren) \"/\" Moo"]);
        lists("LIST \"\" nothing", &[]);
    }

    #[test]
    fn recursive_match_names_parents_of_what_is_hidden() {
        // RFC 9051 §6.3.9.8, examples 8 and 9
        lists(
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %",
            &[
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX",
                "* LIST (\\HasChildren) \"/\" Foo (\"CHILDINFO\" (\"SUBSCRIBED\"))",
                "* LIST (\\NonExistent \\HasNoChildren) \"/\" Vanished (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            ],
        );
        lists(
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" *",
            &[
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX",
                "* LIST (\\Subscribed \\HasNoChildren) \"/\" Foo/Bar",
                "* LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" Vanished/Sub",
            ],
        );
    }

    #[test]
    fn lsub_is_the_old_way() {
        lists(
            "LSUB \"\" *",
            &["* LSUB () \"/\" INBOX", "* LSUB () \"/\" Foo/Bar", "* LSUB () \"/\" Vanished/Sub"],
        );
        lists(
            "LSUB \"\" %",
            &["* LSUB () \"/\" INBOX", "* LSUB (\\Noselect) \"/\" Foo", "* LSUB (\\Noselect) \"/\" Vanished"],
        );
    }
}
