//! Names and numbers of IMAP: a mailbox name has one spelling, a sequence set means the same in every way it is asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_imap::{Command, Dialect, Pattern, parse, parse_seq_set, response};
use libmox_types::{Uid, UidSet};

fn name(octets: &[u8], dialect: Dialect) -> Option<String> {
    match parse(octets, dialect) {
        (Some(_), Ok(Command::Subscribe(name))) => Some(name.to_string()),
        _ => None,
    }
}

/// What is read as a name is written and read again as the same.
fn names(data: &[u8], dialect: Dialect) {
    let mut line = format!("a SUBSCRIBE {{{}}}\r\n", data.len()).into_bytes();
    line.extend_from_slice(data);
    let Some(first) = name(&line, dialect) else { return };
    let mut written = b"a SUBSCRIBE ".to_vec();
    response::mailbox(&mut written, &first, dialect);
    assert_eq!(name(&written, dialect).as_deref(), Some(&first[..]), "{written:?}");
}

fuzz_target!(|data: &[u8]| {
    names(data, Dialect::Utf7);
    names(data, Dialect::Utf8);
    if let Ok(text) = std::str::from_utf8(data) {
        let (pattern, name) = text.split_once('\0').unwrap_or((text, text));
        let _ = Pattern::new(pattern).matches(name);
    }
    if let Ok(set) = parse_seq_set(data) {
        for last in [0, 1, 7, 100_000, u32::MAX] {
            let uids = set.uids(Uid(last));
            if let Some(uids) = &uids {
                judge(uids);
            }
            let within = set.numbers_within(last);
            if let Some(within) = &within {
                judge(within);
                assert!(within.last().is_none_or(|uid| uid.0 <= last));
            }
            assert_eq!(within.is_some(), uids.is_some());
            match set.numbers(last) {
                Some(Ok(strict)) => assert_eq!(Some(strict), within),
                Some(Err(_)) => {}
                None => assert!(within.is_none()),
            }
        }
    }
});

/// Ranges ascend and do not touch.
fn judge(set: &UidSet) {
    let mut before: Option<u32> = None;
    for (low, high) in set.ranges() {
        assert!(low <= high && before.is_none_or(|before| before < low.0.saturating_sub(1)), "{set:?}");
        before = Some(high.0);
    }
    assert_eq!(
        set.count(),
        set.ranges().map(|(low, high)| u64::from(high.0) - u64::from(low.0) + 1).sum::<u64>()
    );
}
