//! The rules of the source tree that a machine can check. Each rule is a function from text to what is wrong with it, so
//! that each also has a bad example that it must catch.

mod journal;
mod sources;
mod supply;
mod units;

use mox_testkit::repository;
use std::path::{Path, PathBuf};

/// A file of the tree.
struct Source {
    /// From the root.
    path: String,
    text: String,
}

impl Source {
    /// For the examples.
    fn example(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// Every text file of the tree, in order.
fn sources() -> Vec<Source> {
    let root = repository();
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&root).ok()?.to_str()?.to_owned();
        Some(Source { path, text: std::fs::read_to_string(&file).ok()? })
    };
    let all: Vec<Source> = files.into_iter().filter_map(read).collect();
    assert!(all.len() > 100, "only {} files found in {}", all.len(), root.display());
    all
}

/// What is made, not written, is left out.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if [".git", "target", "corpus", "artifacts"].iter().any(|out| path.ends_with(out)) {
            continue;
        }
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() {
            collect(&path, files);
        }
    }
}

#[track_caller]
fn nothing(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}
