//! IMAP4rev1 and IMAP4rev2 as knowledge: grammar, session, view of a mailbox, responses.
//!
//! Law: RFC 9051, RFC 3501 and the extensions each module names.
//! Does not know: sockets, files, clocks, randomness, the store.
//! Fails with: one fault type per module. No input makes it panic.
//!
//! Octets become a [`Command`] in [`Reader`]; [`Session`] says what it means now as a [`Step`]; the service
//! carries the step out and writes with [`response`]; [`View`] keeps sequence numbers true meanwhile.

pub mod command;
mod date;
pub mod limits;
pub mod list;
pub mod metadata;
mod parse;
mod pattern;
mod reader;
pub mod response;
pub mod section;
mod seqset;
mod session;
pub mod sort;
pub mod structure;
pub mod thread;
pub mod url;
mod utf7;
mod view;

pub use command::{Command, Tag};
pub use date::{Date, encode_date_time, parse_date_time};
pub use parse::{Dialect, Fault, parse, parse_sasl_line, parse_search_program, parse_seq_set};
pub use pattern::Pattern;
pub use reader::{Event, Reader};
pub use seqset::{OutOfRange, SeqNumber, SeqSet};
pub use session::{
    Ask, Enabled, FoundModSeqs, Offers, Opened, Removed, SearchContext, Selected, Session, Step,
};
pub use view::{Expunges, Told, View};
