//! Journal entries and the catalog that explains them.

use super::{Source, nothing, sources};
use std::collections::BTreeMap;

/// Ids of the events in the sources, and of the catalog.
fn ids<'a>(files: &'a [Source], before: &str, after: &str, within: &str) -> BTreeMap<&'a str, usize> {
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.starts_with(within)) {
        for rest in file.text.split(before).skip(1) {
            let id = rest.split(after).next().unwrap_or_default();
            if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
                *found.entry(id).or_default() += 1;
            }
        }
    }
    found
}

/// Each id has one entry, each entry an id, and each entry says what to do.
fn mistakes(files: &[Source]) -> Vec<String> {
    let mut events = ids(files, "message_id = \"", "\"", "services/");
    events.extend(ids(files, "message_id = \"", "\"", "libmox/"));
    // Of what services have in common each has a table.
    events.extend(ids(files, "_id: \"", "\"", "services/"));
    let entries = ids(files, "\n-- ", "\n", "units/catalog/");
    let mut mistakes = Vec::new();
    for id in events.keys().filter(|id| !entries.contains_key(*id)) {
        mistakes.push(format!("{id}: no entry in units/catalog"));
    }
    for (id, count) in &entries {
        if *count > 1 {
            mistakes.push(format!("{id}: {count} entries in units/catalog"));
        }
        if !events.contains_key(id) {
            mistakes.push(format!("{id}: no event in the sources"));
        }
    }
    for file in files.iter().filter(|file| file.path.starts_with("units/catalog/")) {
        for entry in file.text.split("\n-- ").skip(1) {
            let (head, text) = entry.split_once("\n\n").unwrap_or((entry, ""));
            let complete = ["\nSubject: ", "\nDefined-By: mox", "\nDocumentation: man:mox"];
            if !complete.iter().all(|line| head.contains(line)) || text.trim().is_empty() {
                mistakes.push(format!(
                    "{}: {}: incomplete",
                    file.path,
                    head.lines().next().unwrap_or_default()
                ));
            }
        }
    }
    mistakes
}

#[test]
fn every_journal_event_is_explained() {
    let files = sources();
    assert!(ids(&files, "message_id = \"", "\"", "services/").len() > 20);
    nothing(&mistakes(&files));
}

#[test]
fn unexplained_events_are_found() {
    let (one, two) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let event = |id: &str| Source::example("services/a.rs", &format!("info!(message_id = \"{id}\", \"x\")"));
    let entry =
        |id: &str| format!("\n-- {id}\nSubject: A\nDefined-By: mox\nDocumentation: man:mox(8)\n\nDo this.\n");
    let catalog = |text: &str| Source::example("units/catalog/a.catalog", text);
    assert!(mistakes(&[event(one), catalog(&entry(one))]).is_empty());
    assert_eq!(mistakes(&[event(one)]).len(), 1);
    let table = Source::example("services/a.rs", &format!("Events {{ taken_id: \"{one}\" }}"));
    assert_eq!(mistakes(&[table]).len(), 1);
    assert_eq!(mistakes(&[event(one), catalog(&(entry(one) + &entry(two)))]).len(), 1);
    assert_eq!(mistakes(&[event(one), catalog(&(entry(one) + &entry(one)))]).len(), 1);
    assert_eq!(mistakes(&[event(one), catalog(&entry(one).replace("Do this.", ""))]).len(), 1);
}
