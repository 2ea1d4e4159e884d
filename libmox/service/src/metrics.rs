//! What a service counts, and states that are a number, by the names that Prometheus has for them. Shown with those of
//! lookups on the bus (`org.libmox.Service1`, Metrics).
//!
//! Names are preset to zero before the first event (row TR-27); there are as many as our code and configuration name.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

static VALUES: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn values() -> MutexGuard<'static, BTreeMap<String, u64>> {
    // Every critical section here leaves whole values.
    VALUES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There from now on, at zero.
pub fn preset<'a>(names: impl IntoIterator<Item = &'a str>) {
    let mut values = values();
    for name in names {
        values.entry(name.to_owned()).or_default();
    }
}

/// One more, or several.
pub fn count(name: &str, more: u64) {
    let mut values = values();
    match values.get_mut(name) {
        Some(value) => *value = value.saturating_add(more),
        None => drop(values.insert(name.to_owned(), more)),
    }
}

/// States with names that begin like this are these from now on; others of them are gone.
pub fn set_all(prefix: &str, now: impl IntoIterator<Item = (String, u64)>) {
    let mut values = values();
    values.retain(|name, _| !name.starts_with(prefix));
    values.extend(now);
}

/// All of them.
#[must_use]
pub fn all() -> Vec<(String, u64)> {
    values().iter().map(|(name, value)| (name.clone(), *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_preset_counted_and_replaced() {
        let of = |prefix: &str| -> Vec<(String, u64)> {
            all().into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
        };
        preset(["a_total{x=\"1\"}", "a_total{x=\"2\"}"]);
        count("a_total{x=\"1\"}", 2);
        preset(["a_total{x=\"1\"}"]);
        assert_eq!(of("a_"), [("a_total{x=\"1\"}".into(), 2), ("a_total{x=\"2\"}".into(), 0)]);
        set_all("b{", [("b{one}".to_owned(), 1)]);
        set_all("b{", [("b{other}".to_owned(), 0)]);
        assert_eq!(of("b{"), [("b{other}".to_owned(), 0)]);
    }
}
