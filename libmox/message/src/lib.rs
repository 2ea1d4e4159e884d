//! Messages: what they are made of, what they say, and writing the ones we write ourselves.
//!
//! Law: RFC 5322, RFC 2045 to 2047, RFC 2231, RFC 6532, RFC 3464, RFC 8601.
//! Does not know: sockets, files, clocks, randomness; time and unique names come in as arguments.
//! Fails with: nothing when reading mail. [`structure::StructureFault`] for stored bytes.

pub mod address;
pub mod date;
mod decoded;
pub mod dsn;
pub mod facts;
pub mod foreign;
mod hosts;
pub mod limits;
pub mod params;
pub mod parser;
mod preview;
pub mod received;
pub mod structure;
pub mod subject;
mod tokens;
pub mod transfer;
pub mod words;
pub mod write;

pub use facts::{Facts, Flaws};
pub use parser::{Parser, parse};
pub use structure::{Envelope, EnvelopeView, Part, Structure, StructureFault, envelope_in, repeats_in};
