//! Lists of messages, read back from the wire by hand: half the time of what is generated for it, and lists of a hundred
//! thousand messages are what readers wait for. The form is that of `postcard`, field by field in the order of
//! [`MessageRecord`]; the tests hold both against each other.

use crate::{Item, MessageRecord};
use libmox_types::{ByteCount, ModSeq, MsgId, Timestamp, Uid};
use serde::de::DeserializeOwned;

/// A record takes no fewer octets: as many as it has fields.
const LEAST: usize = 14;

/// [`Item::Messages`] without its first octet; `None` if it is none.
pub(crate) fn read(bytes: &[u8]) -> Option<Item> {
    let mut rest = Rest(bytes);
    let count = usize::try_from(rest.number()?).ok()?;
    let mut records = Vec::with_capacity(count.min(bytes.len() / LEAST));
    for _ in 0..count {
        records.push(MessageRecord {
            uid: Uid(rest.small()?),
            id: MsgId(rest.number()?),
            mod_seq: ModSeq(rest.number()?),
            flags: rest.other()?,
            keywords: if rest.is_zero()? { Vec::new() } else { rest.other()? },
            size: ByteCount(rest.number()?),
            received: rest.time()?,
            saved: match rest.octet()? {
                0 => None,
                1 => Some(rest.time()?),
                _ => return None,
            },
            prefix: rest.small()?,
            thread: MsgId(rest.number()?),
            marks: rest.other()?,
            structure: rest.octets()?.to_vec(),
            preview: std::str::from_utf8(rest.octets()?).ok()?.to_owned(),
        });
    }
    Some(Item::Messages(records))
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline(always)]
    fn octet(&mut self) -> Option<u8> {
        let (octet, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*octet)
    }

    /// Takes a zero, if it is next.
    #[inline(always)]
    fn is_zero(&mut self) -> Option<bool> {
        let is_zero = *self.0.first()? == 0;
        if is_zero {
            self.0 = &self.0[1..];
        }
        Some(is_zero)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        let first = self.octet()?;
        if first < 0x80 { Some(first.into()) } else { self.long(first) }
    }

    fn long(&mut self, first: u8) -> Option<u64> {
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let octet = self.octet()?;
            // The tenth has room for one bit.
            if shift == 63 && octet > 1 {
                return None;
            }
            number |= u64::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline(always)]
    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// The sign is the lowest bit.
    #[inline(always)]
    fn time(&mut self) -> Option<Timestamp> {
        let number = self.number()?;
        Some(Timestamp((number >> 1).cast_signed() ^ -(number & 1).cast_signed()))
    }

    #[inline(always)]
    fn octets(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        let (octets, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(octets)
    }

    fn other<T: DeserializeOwned>(&mut self) -> Option<T> {
        let (value, rest) = postcard::take_from_bytes(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mark, Marks, StoreContract};
    use libmox_ipc::Contract as _;
    use libmox_types::{Flag, Flags, Keyword};

    fn records() -> Vec<MessageRecord> {
        let edges = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 40, u64::MAX];
        let record = |number: usize| {
            let edge = |at: usize| edges[(number * 7 + at * 3) % edges.len()];
            let small = |at| u32::try_from(edge(at)).unwrap_or(u32::MAX);
            let time = |at| Timestamp(edge(at).cast_signed());
            MessageRecord {
                uid: Uid(small(0)),
                id: MsgId(edge(1)),
                mod_seq: ModSeq(edge(2)),
                flags: if number.is_multiple_of(3) {
                    Flags::NONE
                } else {
                    Flags::NONE.with(Flag::Seen).with(Flag::Draft)
                },
                keywords: (0..number % 4).map(|n| Keyword::parse(&format!("word{n}")).unwrap()).collect(),
                size: ByteCount(edge(3)),
                received: time(4),
                saved: number.is_multiple_of(2).then(|| time(5)),
                prefix: small(6),
                thread: MsgId(edge(7)),
                marks: Marks::NONE.set(Mark::Muted, number.is_multiple_of(5)),
                structure: vec![7; number * 3 % 300],
                preview: "ä".repeat(number % 90),
            }
        };
        (0..400).map(record).collect()
    }

    #[test]
    fn what_is_written_is_read_by_both_ways_alike() {
        for some in records().chunks(37).chain([&[][..]]) {
            let item = Item::Messages(some.to_vec());
            let bytes = postcard::to_allocvec(&item).unwrap();
            assert_eq!(postcard::from_bytes::<Item>(&bytes).unwrap(), item);
            assert_eq!(StoreContract::read_item(&bytes).unwrap(), item);
        }
        let other = Item::QueueChanged;
        let bytes = postcard::to_allocvec(&other).unwrap();
        assert_eq!(StoreContract::read_item(&bytes).unwrap(), other);
    }

    #[test]
    fn what_is_damaged_is_refused_by_both_ways_alike() {
        let bytes = postcard::to_allocvec(&Item::Messages(records()[..9].to_vec())).unwrap();
        for cut in 0..bytes.len() {
            assert!(StoreContract::read_item(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut seed = 3u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bad = bytes.clone();
            let at = 1 + usize::try_from(seed >> 33).unwrap() % (bad.len() - 1);
            bad[at] = seed.to_be_bytes()[0];
            let (ours, theirs) =
                (StoreContract::read_item(&bad).ok(), postcard::from_bytes::<Item>(&bad).ok());
            assert_eq!(ours, theirs, "{at} is {}", bad[at]);
        }
    }
}
