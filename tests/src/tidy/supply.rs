//! The rules of `deny.toml`, held without the program they are written for: licences, what must not come in, what only
//! one crate may pull in, one copy of what matters, one registry.

use super::nothing;
use mox_testkit::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use toml_edit::{DocumentMut, Item};

/// Two copies of these would be two TLS stacks, two resolvers, two HTTP stacks, two crypto providers.
const ONCE: [&str; 8] = [
    "rustls",
    "tokio-rustls",
    "hickory-proto",
    "hickory-resolver",
    "hyper",
    "aws-lc-rs",
    "aws-lc-sys",
    "tokio",
];

struct Rules {
    licenses: BTreeSet<String>,
    /// Crate and who may use it all the same.
    denied: BTreeMap<String, BTreeSet<String>>,
}

fn words(item: Option<&Item>) -> BTreeSet<String> {
    let list = item.and_then(Item::as_array).into_iter().flatten();
    list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn rules(text: &str) -> Rules {
    let deny: DocumentMut = text.parse().unwrap();
    let bans = deny["bans"]["deny"].as_array().unwrap();
    let denied = bans.iter().filter_map(|one| {
        let one = one.as_inline_table()?;
        let wrappers = one.get("wrappers").and_then(|list| list.as_array()).into_iter().flatten();
        let wrappers = wrappers.filter_map(|word| word.as_str().map(str::to_owned)).collect();
        Some((one.get("crate")?.as_str()?.to_owned(), wrappers))
    });
    Rules { licenses: words(deny["licenses"].get("allow")), denied: denied.collect() }
}

/// SPDX, as far as crates write it: `AND` binds tighter than `OR`, `/` is an old `OR`.
fn is_licensed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let mut text = expression.replace('/', " OR ");
    // From the innermost parentheses outwards.
    while let Some(close) = text.find(')') {
        let Some(open) = text[..close].rfind('(') else { return false };
        let inner = if plain(&text[open + 1..close], allowed) { "yes" } else { "no" };
        text.replace_range(open..=close, inner);
    }
    plain(&text, allowed)
}

fn plain(text: &str, allowed: &BTreeSet<String>) -> bool {
    text.split(" OR ").any(|all| {
        all.split(" AND ").all(|one| match one.trim() {
            "yes" => true,
            "no" => false,
            one => allowed.contains(one),
        })
    })
}

/// What is wrong with the dependencies that are built: names and versions. The metadata alone names more, for it does not
/// follow weak features.
fn mistakes(rules: &Rules, metadata: &Value, built: &BTreeSet<(String, String)>) -> Vec<String> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let is_built = |package: &&Value| built.contains(&(text(package, "name"), text(package, "version")));
    let names: BTreeMap<String, String> = packages
        .iter()
        .filter(is_built)
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let nodes = list(&metadata["resolve"]["nodes"]);
    for package in packages.iter().filter(is_built) {
        let (name, version) = (text(package, "name"), text(package, "version"));
        versions.entry(name.clone()).or_default().insert(version);
        match package["source"].as_str() {
            None => {}
            Some("registry+https://github.com/rust-lang/crates.io-index") => {
                let license = text(package, "license");
                if !is_licensed(&license, &rules.licenses) {
                    wrong.push(format!("{name}: licence {license:?} is not on the list"));
                }
            }
            Some(other) => wrong.push(format!("{name}: comes from {other}")),
        }
    }
    for node in &nodes {
        let Some(user) = names.get(&text(node, "id")) else { continue };
        for used in list(&node["deps"]).iter().filter_map(|dep| names.get(dep["pkg"].as_str()?)) {
            if rules.denied.get(used).is_some_and(|wrappers| !wrappers.contains(user)) {
                wrong.push(format!("{user}: pulls in {used}, which is denied"));
            }
        }
    }
    for name in ONCE {
        if let Some(several) = versions.get(name).filter(|several| several.len() > 1) {
            wrong.push(format!("{name}: {} copies: {several:?}", several.len()));
        }
    }
    wrong
}

#[test]
fn dependencies_keep_to_the_rules() {
    let root = repository();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for platform in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let ask = |words: &[&str]| {
            let words = words.iter().chain(&["--locked", "--offline"]);
            let out = Command::new(&cargo).args(words).current_dir(&root).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        let tree = ask(&["tree", "--workspace", "--prefix", "none", "--format", "{p}", "--target", platform]);
        let built = tree.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
        });
        let built: BTreeSet<_> = built.collect();
        assert!(built.len() > 100, "{tree}");
        let metadata = ask(&["metadata", "--format-version", "1", "--filter-platform", platform]);
        let rules = rules(&std::fs::read_to_string(root.join("deny.toml")).unwrap());
        assert!(rules.licenses.len() > 3 && rules.denied.contains_key("sled"));
        nothing(&mistakes(&rules, &serde_json::from_str(&metadata).unwrap(), &built));
    }
}

#[test]
fn bad_dependencies_are_found() {
    let rules = rules(
        "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"ISC\"]\n[bans]\ndeny = [{ crate = \"ring\" }, { crate = \"sled\", \
         wrappers = [\"mox-store\"] }]\n",
    );
    for (expression, fine) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("AGPL-3.0-only OR MIT", true),
        ("AGPL-3.0-only", false),
        ("MIT AND AGPL-3.0-only", false),
        ("ISC AND (MIT OR GPL-3.0)", true),
        ("(ISC AND GPL-3.0) OR (GPL-2.0)", false),
        ("", false),
    ] {
        assert_eq!(is_licensed(expression, &rules.licenses), fine, "{expression}");
    }
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let package = |name: &str, version: &str, license: &str, source: Option<&str>| {
        serde_json::json!({ "id": format!("{name} {version}"), "name": name, "version": version, "license": license,
            "source": source })
    };
    let node = |id: &str, deps: &[&str]| {
        let deps: Vec<Value> = deps.iter().map(|dep| serde_json::json!({ "pkg": dep })).collect();
        serde_json::json!({ "id": id, "deps": deps })
    };
    let metadata = serde_json::json!({
        "packages": [
            package("mox-store", "0.1.0", "", None),
            package("mox-smtp", "0.1.0", "", None),
            package("sled", "0.34.7", "MIT", Some(registry)),
            package("ring", "0.17.0", "ISC", Some(registry)),
            package("rustls", "0.22.0", "MIT", Some(registry)),
            package("rustls", "0.23.0", "MIT", Some(registry)),
            package("sieve-rs", "0.1.0", "AGPL-3.0-only", Some(registry)),
            package("fork", "0.1.0", "MIT", Some("git+https://example.org/fork")),
            package("not-built", "0.1.0", "AGPL-3.0-only", Some(registry)),
        ],
        "resolve": { "nodes": [
            node("mox-store 0.1.0", &["sled 0.34.7"]),
            node("mox-smtp 0.1.0", &["sled 0.34.7", "rustls 0.23.0"]),
            node("sled 0.34.7", &[]),
            node("rustls 0.23.0", &["ring 0.17.0"]),
            node("rustls 0.22.0", &[]),
            node("ring 0.17.0", &[]),
            node("sieve-rs 0.1.0", &[]),
            node("fork 0.1.0", &[]),
        ] },
    });
    let built = metadata["packages"].as_array().unwrap().iter().filter(|one| one["name"] != "not-built");
    let built = built.map(|one| {
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        (text("name"), text("version"))
    });
    let found = mistakes(&rules, &metadata, &built.collect());
    for part in [
        "mox-smtp: pulls in sled",
        "rustls: pulls in ring",
        "rustls: 2 copies",
        "sieve-rs: licence \"AGPL-3.0-only\"",
        "fork: comes from git+https://example.org/fork",
    ] {
        assert!(found.iter().any(|line| line.contains(part)), "{part} in {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}
