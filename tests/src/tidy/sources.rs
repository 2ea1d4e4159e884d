//! What every source file keeps to.

use super::{Source, nothing, sources};
use std::collections::BTreeSet;

/// Every Rust file says at its top what it is.
fn without_header(files: &[Source]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{}: no //! header", file.path))
        .collect()
}

/// Written in halves, because this file is looked at too.
const UNFINISHED: [(&str, &str); 3] = [("todo", "!("), ("unimplemented", "!("), ("#[ign", "ore")];
/// Folders of the machines that this was written on.
const MACHINES: [(&str, &str); 2] = [("/wo", "rk/"), ("/ro", "ot/")];

/// No file has these in it.
fn with(words: &[(&str, &str)], ending: &str, files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(ending)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for (one, two) in words {
                let word = format!("{one}{two}");
                if line.contains(&word) {
                    found.push(format!("{}:{number}: {word}", file.path));
                }
            }
        }
    }
    found
}

/// Numbers of the RFCs that the product cites.
fn cited(files: &[Source]) -> BTreeSet<u32> {
    let product = ["libmox/", "services/", "dbus/"];
    files
        .iter()
        .filter(|file| product.iter().any(|folder| file.path.starts_with(folder)))
        .filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".xml"))
        .flat_map(|file| file.text.split("RFC ").skip(1))
        .filter_map(|after| after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect()
}

/// The index names each of them once, in order, and says how far we follow it.
fn index_mistakes(index: &str, cited: &BTreeSet<u32>) -> Vec<String> {
    let (mut mistakes, mut last, mut listed) = (Vec::new(), 0, BTreeSet::new());
    for line in index.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let number: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        if number <= last {
            mistakes.push(format!("{line}: out of order"));
        }
        last = number;
        if !matches!(words.next(), Some("yes" | "partly" | "no")) || words.next().is_none() {
            mistakes.push(format!("{line}: wants yes, partly or no, and what it is"));
        }
        listed.insert(number);
    }
    mistakes.extend(cited.difference(&listed).map(|number| format!("RFC {number} is cited, not listed")));
    mistakes.extend(listed.difference(cited).map(|number| format!("RFC {number} is listed, not cited")));
    mistakes
}

#[test]
fn every_file_says_what_it_is() {
    nothing(&without_header(&sources()));
    let bad = [Source::example("a/b.rs", "use std::io;\n"), Source::example("a/c.rs", "//! Fine.\n")];
    assert_eq!(without_header(&bad), ["a/b.rs: no //! header"]);
}

#[test]
fn nothing_is_left_unfinished() {
    nothing(&with(&UNFINISHED, ".rs", &sources()));
    for (one, two) in UNFINISHED {
        let bad = [Source::example("a.rs", &format!("fn a() {{\n    {one}{two}"))];
        assert_eq!(with(&UNFINISHED, ".rs", &bad).len(), 1);
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut files = sources();
    // Folders of the containers these tests boot.
    files.retain(|file| !file.path.starts_with("tests/system/"));
    nothing(&with(&MACHINES, "", &files));
    for (one, two) in MACHINES {
        let bad = [Source::example("Makefile", &format!("all:\n\tcp x {one}{two}y\n"))];
        assert_eq!(with(&MACHINES, "", &bad).len(), 1);
    }
}

#[test]
fn every_cited_rfc_is_in_the_index() {
    let files = sources();
    let index = files.iter().find(|file| file.path == "libmox/rfcs.txt").unwrap();
    nothing(&index_mistakes(&index.text, &cited(&files)));

    let one = cited(&[
        Source::example("libmox/a.rs", "// RFC 5321 §4, RFC 822.\n"),
        Source::example("b.rs", "RFC 1"),
    ]);
    assert_eq!(one, BTreeSet::from([822, 5321]));
    assert!(index_mistakes("822 no old\n5321 yes mail\n", &one).is_empty());
    assert_eq!(index_mistakes("822 no old\n", &one), ["RFC 5321 is cited, not listed"]);
    assert_eq!(
        index_mistakes("822 no old\n5321 yes mail\n5322 yes x\n", &one),
        ["RFC 5322 is listed, not cited"]
    );
    assert_eq!(index_mistakes("5321 yes mail\n822 no old\n", &one).len(), 1);
    assert_eq!(index_mistakes("822 perhaps old\n5321 yes\n", &one).len(), 2);
}
