//! The bodies of `tests/fuzz` for a short while each, see `mox-mutate`.
#![allow(unused_attributes, reason = "no_main is for the programs of libFuzzer")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "bodies of tests")]

use libfuzzer_sys::run;
use mox_testkit::repository;

#[path = "../fuzz/fuzz_targets/authentication.rs"]
mod authentication;
#[path = "../fuzz/fuzz_targets/dmarc_record.rs"]
mod dmarc_record;
#[path = "../fuzz/fuzz_targets/imap_connection.rs"]
mod imap_connection;
#[path = "../fuzz/fuzz_targets/imap_names.rs"]
mod imap_names;
#[path = "../fuzz/fuzz_targets/imap_reader.rs"]
mod imap_reader;
#[path = "../fuzz/fuzz_targets/imap_session.rs"]
mod imap_session;
#[path = "../fuzz/fuzz_targets/ipc_frames.rs"]
mod ipc_frames;
#[path = "../fuzz/fuzz_targets/ipc_values.rs"]
mod ipc_values;
#[path = "../fuzz/fuzz_targets/message.rs"]
mod message;
#[path = "../fuzz/fuzz_targets/reports.rs"]
mod reports;
#[path = "../fuzz/fuzz_targets/sasl.rs"]
mod sasl;
#[path = "../fuzz/fuzz_targets/smtp_data.rs"]
mod smtp_data;
#[path = "../fuzz/fuzz_targets/smtp_reply.rs"]
mod smtp_reply;
#[path = "../fuzz/fuzz_targets/smtp_session.rs"]
mod smtp_session;
#[path = "../fuzz/fuzz_targets/spf_record.rs"]
mod spf_record;
#[path = "../fuzz/fuzz_targets/words.rs"]
mod words;

fn mutate(name: &str, target: fn(&[u8])) {
    let tried = run(&repository().join("tests/fuzz/seeds").join(name), target);
    assert!(tried > 20, "{name} was tried {tried} times only");
}

#[test]
fn mutated_imap_connection() {
    mutate("imap_connection", imap_connection::target);
}

#[test]
fn mutated_imap_names() {
    mutate("imap_names", imap_names::target);
}

#[test]
fn mutated_imap_reader() {
    mutate("imap_reader", imap_reader::target);
}

#[test]
fn mutated_imap_session() {
    mutate("imap_session", imap_session::target);
}

#[test]
fn mutated_ipc_frames() {
    mutate("ipc_frames", ipc_frames::target);
}

#[test]
fn mutated_ipc_values() {
    mutate("ipc_values", ipc_values::target);
}

#[test]
fn mutated_message() {
    mutate("message", message::target);
}

#[test]
fn mutated_sasl() {
    mutate("sasl", sasl::target);
}

#[test]
fn mutated_smtp_data() {
    mutate("smtp_data", smtp_data::target);
}

#[test]
fn mutated_smtp_reply() {
    mutate("smtp_reply", smtp_reply::target);
}

#[test]
fn mutated_smtp_session() {
    mutate("smtp_session", smtp_session::target);
}

#[test]
fn mutated_authentication() {
    mutate("authentication", authentication::target);
}

#[test]
fn mutated_dmarc_record() {
    mutate("dmarc_record", dmarc_record::target);
}

#[test]
fn mutated_reports() {
    mutate("reports", reports::target);
}

#[test]
fn mutated_spf_record() {
    mutate("spf_record", spf_record::target);
}

#[test]
fn mutated_words() {
    mutate("words", words::target);
}

/// A target that is not tried here would be forgotten.
#[test]
fn every_fuzz_target_is_tried() {
    let here = include_str!("fuzz.rs");
    let targets = std::fs::read_dir(repository().join("tests/fuzz/fuzz_targets")).unwrap();
    for target in targets.flatten() {
        let name = target.path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(here.contains(&format!("fn mutated_{name}()")), "{name}");
    }
}
