//! What one message may make us keep in memory. Beyond a limit we keep less; we never refuse to read on.

/// Parts inside parts. Deeper ones are taken as one opaque body.
pub const NESTING: usize = 50;
/// Parts in one message. What follows is part of the last container.
pub const PARTS: usize = 1_000;
/// Octets of one header field that are looked at, after unfolding.
pub const FIELD_OCTETS: usize = 64 * 1024;
/// Fields in one header section that are looked at.
pub const FIELDS: usize = 10_000;
/// Octets of header values kept for one message, over all its parts.
pub const KEPT_OCTETS: usize = 256 * 1024;
/// Octets in a line that may still be a boundary. RFC 2046 §5.1.1 has 70 and padding.
pub const DELIMITER_OCTETS: usize = 1_000;
/// Parameters of one Content-Type or Content-Disposition.
pub const PARAMS: usize = 64;
/// Entries of one address list.
pub const ADDRESSES: usize = 5_000;
/// Message-IDs taken from References: the first and the last of them.
pub const REFERENCES: usize = 100;
/// Octets of a Message-ID we use for threading. RFC 5322 §2.1.1 bounds the line that holds it.
pub const MESSAGE_ID_OCTETS: usize = 998;
/// Characters of the preview. RFC 8970 §3.1 suggests 256 as the most.
pub const PREVIEW_CHARS: usize = 256;
/// Octets of decoded text looked at for the preview.
pub const PREVIEW_INPUT: usize = 1024 * 1024;
/// Words of the texts of a message that the junk filter is given.
pub const WORDS: usize = 2_000;
/// And of its header fields.
pub const FIELD_WORDS: usize = 300;
/// Hosts of links in one text part, with the domains above them.
pub const HOSTS: usize = 200;
/// Octets of one; what is longer is none.
pub const HOST_OCTETS: usize = 100;
/// Octets of all these words.
pub const WORD_OCTETS: usize = 24 * 1024;
/// Characters of a word, at least. Row JK-05 has four, departed from because words of three letters (you, our, buy) tell
/// a letter from an advertisement: of the corpus of `tests/bench/junk` a third less good mail is taken for junk.
pub const WORD_CHARS_LEAST: usize = 3;
/// And at most: what is longer is no word.
pub const WORD_CHARS: usize = 30;
/// Octets of decoded text looked at for words, over all parts.
pub const WORD_INPUT: usize = 1024 * 1024;
/// Octets of a message that is all in memory that are looked at together.
pub const PIECE_OCTETS: usize = 64 * 1024;
