//! What a crash or a bad disk can leave of a journal, and what reading it then says.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::medium::Disk;
use super::*;

const SEGMENT: u64 = 4096;

fn change(number: u32) -> Change {
    let mut change = Change::new();
    change.put(number.to_be_bytes().to_vec(), vec![7; (number % 90) as usize]);
    change
}

fn number(change: &Change) -> u32 {
    let key = change.index.keys().next().expect("one key");
    u32::from_be_bytes(key.as_slice().try_into().expect("four bytes"))
}

fn begin(dir: &Path) -> Journal {
    let tail = Tail { end: 0, checksum: 0, segment: None, torn: false };
    Journal::resume(dir, &tail, SEGMENT, Arc::new(Disk)).expect("resume")
}

/// Appends groups of the given sizes, numbering changes upwards from `from`.
fn write(journal: &mut Journal, from: u32, groups: &[u32]) {
    let mut next = from;
    let mut ends = Vec::new();
    for size in groups {
        let changes: Vec<Change> = (next..next + size).map(change).collect();
        journal.append(changes.iter(), &mut ends).expect("append");
        next += size;
    }
}

fn read(dir: &Path, from: u64) -> Result<(Vec<u32>, Tail), JournalError> {
    let mut seen = Vec::new();
    let tail = replay(dir, from, |_, change| {
        seen.push(number(&change));
        Ok(())
    })?;
    Ok((seen, tail))
}

#[test]
fn comes_back_in_order_over_segments() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[1, 5, 2, 40, 1, 30, 60]);
    let (seen, tail) = read(dir.path(), 0).expect("replay");
    assert_eq!(seen, (0..139).collect::<Vec<_>>());
    assert!(list(dir.path()).expect("list").len() > 2);
    assert_eq!((tail.end, tail.torn), (journal.end(), false));

    let mut journal = Journal::resume(dir.path(), &tail, SEGMENT, Arc::new(Disk)).expect("resume");
    write(&mut journal, 139, &[3]);
    assert_eq!(read(dir.path(), tail.end).expect("replay").0, [139, 140, 141]);
}

#[test]
fn a_group_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[1, 300, 1]);
    assert_eq!(read(dir.path(), 0).expect("replay").0.len(), 302);
}

/// Every cut of the last group ends with some of its changes from its front, and never an error.
#[test]
fn a_torn_tail_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[2, 3]);
    let synced = journal.end();
    write(&mut journal, 5, &[4]);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).expect("read");
    let end = journal.end();
    for cut in synced..end {
        for stale in [0u8, 0xff] {
            let mut torn = whole.clone();
            let at = usize::try_from(SEGMENT_HEADER + cut).expect("small");
            torn[at..].fill(stale);
            fs::write(&path, &torn).expect("write");
            let (seen, tail) = read(dir.path(), 0).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
            // Two empty lists and the padding are zeros anyway.
            let in_padding = cut + 10 > end;
            assert!(seen.len() >= 5 && (in_padding || seen.len() < 9), "cut {cut}: {seen:?}");
            assert_eq!(seen, (0..u32::try_from(seen.len()).expect("few")).collect::<Vec<_>>());
            // Going on from there must not bring the torn rest back.
            let mut journal = Journal::resume(dir.path(), &tail, SEGMENT, Arc::new(Disk)).expect("resume");
            write(&mut journal, 100, &[1]);
            let (again, _) = read(dir.path(), 0).expect("replay");
            assert_eq!(again[..seen.len()], seen[..]);
            assert_eq!(again[seen.len()..], [100]);
        }
    }
}

/// Blocks of one group may reach the disk in any order.
#[test]
fn a_hole_in_the_last_group_cuts_the_group() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[2]);
    let synced = journal.end();
    write(&mut journal, 2, &[6]);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).expect("read");
    for at in synced..synced + 40 {
        let mut torn = whole.clone();
        torn[usize::try_from(SEGMENT_HEADER + at).expect("small")] ^= 0x55;
        fs::write(&path, &torn).expect("write");
        let (seen, tail) = read(dir.path(), 0).expect("torn, not damaged");
        assert_eq!(seen, [0, 1], "byte {at}");
        assert!(tail.torn);
    }
}

#[test]
fn damage_before_synced_records_is_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[2, 1]);
    let damage_to = journal.end();
    write(&mut journal, 3, &[2, 60, 60]);
    assert!(list(dir.path()).expect("list").len() > 1);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).expect("read");
    for at in 0..SEGMENT_HEADER + damage_to {
        // Bytes 24 to 32 of the segment header are unused, as is padding.
        let mut bad = whole.clone();
        bad[usize::try_from(at).expect("small")] ^= 1;
        fs::write(&path, &bad).expect("write");
        match read(dir.path(), 0) {
            Err(JournalError::Damaged { .. }) => {}
            Ok((seen, _)) => assert_eq!(seen.len(), 125, "byte {at}: skipped silently"),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_missing_segment_is_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[60, 60, 60, 60]);
    let starts = list(dir.path()).expect("list");
    assert!(starts.len() >= 3);
    fs::remove_file(segment_path(dir.path(), starts[1])).expect("remove");
    assert!(matches!(read(dir.path(), 0), Err(JournalError::Gap { .. } | JournalError::Damaged { .. })));
    fs::remove_file(segment_path(dir.path(), starts[0])).expect("remove");
    assert!(matches!(read(dir.path(), 0), Err(JournalError::Gap { .. })));
    assert!(matches!(read(dir.path(), journal.end() + 8), Err(JournalError::Short { .. })));
}

#[test]
fn dropped_segments_are_used_again() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut journal = begin(dir.path());
    write(&mut journal, 0, &[40, 40, 40, 40]);
    let from = *list(dir.path()).expect("list").last().expect("some");
    assert!(drop_segments(dir.path(), from, SEGMENT).expect("drop") > 0);
    let spares = || (0..SPARES).filter(|number| spare(dir.path(), *number).exists()).count();
    let kept = spares();
    assert!(kept > 0);
    let before = read(dir.path(), from).expect("replay").0.len();
    write(&mut journal, 160, &[40]);
    assert_eq!(spares(), kept - 1, "reused");
    assert_eq!(read(dir.path(), from).expect("replay").0.len(), before + 40);
    write(&mut journal, 200, &[40, 40, 40, 40]);
    assert_eq!(spares(), 0);
    prepare_spare(dir.path(), SEGMENT).expect("spare");
    assert_eq!(spares(), 1);
    write(&mut journal, 360, &[40, 40]);
    assert_eq!(read(dir.path(), from).expect("replay").0.len(), before + 280);
}

/// Fails the operation with the given number, counting writes and syncs together.
struct FailAt {
    at: u32,
    count: AtomicU32,
}

impl Medium for FailAt {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.count.fetch_add(1, Ordering::Relaxed) == self.at {
            // Part of it arrives all the same.
            file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.count.fetch_add(1, Ordering::Relaxed) == self.at {
            return Err(io::Error::other("sync"));
        }
        file.sync_data()
    }
}

#[test]
fn a_failed_group_leaves_no_trace_once_the_next_is_written() {
    // Two to begin the segment, then two a group; the last group has no successor.
    for at in 0..12 {
        let dir = tempfile::tempdir().expect("tempdir");
        let tail = Tail { end: 0, checksum: 0, segment: None, torn: false };
        let medium = Arc::new(FailAt { at, count: AtomicU32::new(0) });
        let mut journal = Journal::resume(dir.path(), &tail, SEGMENT, medium).expect("resume");
        let mut ends = Vec::new();
        let mut want = Vec::new();
        let mut failed = 0;
        for round in 0..6u32 {
            let changes: Vec<Change> = (round * 10..round * 10 + 3).map(change).collect();
            match journal.append(changes.iter(), &mut ends) {
                Ok(()) => want.extend(changes.iter().map(number)),
                Err(_) => failed += 1,
            }
        }
        assert!(failed <= 1, "at {at}");
        let (seen, tail) = read(dir.path(), 0).unwrap_or_else(|error| panic!("at {at}: {error}"));
        assert_eq!(seen, want, "at {at}");
        assert_eq!(tail.end, journal.end());
    }
}
