//! What FETCH can be asked.
//!
//! Law: RFC 9051 §6.4.5; RFC 3516, RFC 7162, RFC 8474, RFC 8514 and RFC 8970 for their items.

/// RFC 9051 §6.4.5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `UID`
    Uid,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY` alone: the structure without extensions.
    BodyPlain,
    /// `MODSEQ`, RFC 7162
    ModSeq,
    /// `SAVEDATE`, RFC 8514
    SaveDate,
    /// `PREVIEW`, RFC 8970
    Preview,
    /// `EMAILID`, RFC 8474
    EmailId,
    /// `THREADID`, RFC 8474
    ThreadId,
    /// `BODY[...]` and the RFC822 forms.
    Section {
        /// Which octets.
        section: Section,
        /// Under which name they come back.
        name: SectionName,
        /// Whether `\Seen` stays as it is.
        peek: Peek,
        /// Which of those octets.
        partial: Option<Partial>,
    },
    /// `BINARY[...]`: a part with its transfer encoding undone.
    Binary {
        /// Which part; empty is the whole message.
        part: Vec<u32>,
        /// Whether `\Seen` stays as it is.
        peek: Peek,
        /// Which of its octets.
        partial: Option<Partial>,
    },
    /// `BINARY.SIZE[...]`
    BinarySize(Vec<u32>),
}

impl FetchItem {
    /// Whether fetching it sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        matches!(self, Self::Section { peek: Peek::No, .. } | Self::Binary { peek: Peek::No, .. })
    }
}

/// Whether fetching sets `\Seen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// It does not.
    Yes,
    /// It does.
    No,
}

/// The spelling a section was asked with, which the answer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionName {
    /// `BODY[...]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// `<offset.length>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Octets to leave out.
    pub offset: u64,
    /// Octets wanted at most.
    pub length: u64,
}

/// RFC 9051 §9 `section-spec`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Section {
    /// Which part; empty is the message itself.
    pub part: Vec<u32>,
    /// What of it.
    pub text: SectionText,
}

/// RFC 9051 §9 `section-text`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it; of a part its body.
    #[default]
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`
    Fields(Vec<String>),
    /// `HEADER.FIELDS.NOT`
    FieldsNot(Vec<String>),
    /// `TEXT`
    Text,
    /// `MIME`
    Mime,
}
