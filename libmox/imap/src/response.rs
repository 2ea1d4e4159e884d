//! What the server says, written into the output as it goes.
//!
//! Law: RFC 9051 §7 and §9, RFC 5530 (response codes), RFC 4731 (ESEARCH), RFC 7162 (modseq).
//! Does not know: whether it may be said now; that is the session's and the view's.
//! Fails with: nothing. Every writer appends whole tokens; lines end where their name says so.

use crate::command::{EventKind, StatusItem, StatusItems, Tag};
use crate::date::encode_date_time;
use crate::parse::{Dialect, Fault};
use crate::utf7;
use libmox_types::{Flags, Keyword, MailboxId, MailboxName, ModSeq, Timestamp, Uid, UidSet, UidValidity};
use std::io::Write;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// It was not.
    No,
    /// It made no sense.
    Bad,
}

impl Status {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Ok => b"OK ",
            Self::No => b"NO ",
            Self::Bad => b"BAD ",
        }
    }
}

/// What programs read of a status. RFC 9051 §7.1, RFC 5530.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// To be shown to the person.
    Alert,
    /// The name is taken.
    AlreadyExists,
    /// Where an appended message is.
    AppendUid(UidValidity, UidSet),
    /// Credentials wrong.
    AuthenticationFailed,
    /// Right credentials, but not for this.
    AuthorizationFailed,
    /// Charsets we search in.
    BadCharset,
    /// RFC 5465: the events that can be told.
    BadEvent,
    /// RFC 4469: this URL cannot be had.
    BadUrl(String),
    /// Can never be done.
    Cannot,
    /// Somebody else may, the client may not.
    NoPerm,
    /// A list of capabilities.
    Capability(String),
    /// The selected mailbox was let go of.
    Closed,
    /// RFC 4978: octets are compressed already.
    CompressionActive,
    /// Where copied messages are: from and to, pairwise.
    CopyUid(UidValidity, UidSet, UidSet),
    /// Messages named are gone; the client has yet to be told.
    ExpungeIssued,
    /// It has children.
    HasChildren,
    /// The highest modseq of the mailbox.
    HighestModSeq(ModSeq),
    /// A limit was reached.
    Limit,
    /// RFC 8474: names the mailbox whatever it is called.
    MailboxId(MailboxId),
    /// RFC 5464: a value of so many octets was left out.
    MetadataLongEntries(u64),
    /// RFC 5464: no value can have more octets.
    MetadataMaxSize(u64),
    /// RFC 5464: there are too many.
    MetadataTooMany,
    /// Messages that changed meanwhile: uids or sequence numbers.
    Modified(UidSet),
    /// There is none of that name.
    NonExistent,
    /// The search result was not saved.
    NotSaved,
    /// RFC 5267: the search with this tag is not kept up to date.
    NoUpdate(String),
    /// RFC 5465: nothing more is told until the next NOTIFY.
    NotificationOverflow,
    /// The account is full.
    OverQuota,
    /// Not without TLS.
    PrivacyRequired,
    /// Opened for reading only.
    ReadOnly,
    /// Opened for changes.
    ReadWrite,
    /// Something is broken here.
    ServerBug,
    /// Too large, or too many.
    TooBig,
    /// The mailbox is not there, and could be made.
    TryCreate,
    /// The next message gets this uid or more.
    UidNext(Uid),
    /// Which life of the mailbox this is.
    UidValidity(UidValidity),
    /// Cannot be done now.
    Unavailable,
    /// RFC 5466: there is no such filter.
    UndefinedFilter(String),
    /// RFC 9586: only commands by uid.
    UidRequired,
    /// RFC 9585: a command still runs; how far it is, and of how much.
    InProgress(String, u64, u64),
    /// The transfer encoding cannot be undone.
    UnknownCte,
    /// RFC 3501: the first message not seen, by number.
    Unseen(u32),
    /// RFC 4467 §8: how URLs can be authorised.
    UrlMech,
    /// RFC 6154: no such special use.
    UseAttr,
}

impl Code {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        match self {
            Self::Alert => put(out, "ALERT"),
            Self::AlreadyExists => put(out, "ALREADYEXISTS"),
            Self::AppendUid(validity, uids) => write_to(out, format_args!("APPENDUID {validity} {uids}")),
            Self::AuthenticationFailed => put(out, "AUTHENTICATIONFAILED"),
            Self::AuthorizationFailed => put(out, "AUTHORIZATIONFAILED"),
            Self::BadCharset => put(out, "BADCHARSET (US-ASCII UTF-8)"),
            Self::BadEvent => {
                let names: Vec<&str> = EventKind::ALL.iter().map(|(_, name)| *name).collect();
                write_to(out, format_args!("BADEVENT ({})", names.join(" ")));
            }
            Self::BadUrl(url) => {
                put(out, "BADURL ");
                // RFC 4469 §5: what would end the code early is encoded, as in a URL it should have been.
                for byte in url.bytes() {
                    match byte {
                        b' '..=b'Z' | b'^'..=b'~' => out.push(byte),
                        byte => write_to(out, format_args!("%{byte:02X}")),
                    }
                }
            }
            Self::Cannot => put(out, "CANNOT"),
            Self::NoPerm => put(out, "NOPERM"),
            Self::Capability(list) => write_to(out, format_args!("CAPABILITY {list}")),
            Self::Closed => put(out, "CLOSED"),
            Self::CompressionActive => put(out, "COMPRESSIONACTIVE"),
            Self::CopyUid(validity, from, to) => {
                write_to(out, format_args!("COPYUID {validity} {from} {to}"));
            }
            Self::ExpungeIssued => put(out, "EXPUNGEISSUED"),
            Self::HasChildren => put(out, "HASCHILDREN"),
            Self::HighestModSeq(mod_seq) => write_to(out, format_args!("HIGHESTMODSEQ {}", mod_seq.0.max(1))),
            Self::Limit => put(out, "LIMIT"),
            Self::MailboxId(id) => write_to(out, format_args!("MAILBOXID (B{id})")),
            Self::MetadataLongEntries(octets) => write_to(out, format_args!("METADATA LONGENTRIES {octets}")),
            Self::MetadataMaxSize(octets) => write_to(out, format_args!("METADATA MAXSIZE {octets}")),
            Self::MetadataTooMany => put(out, "METADATA TOOMANY"),
            Self::Modified(set) => write_to(out, format_args!("MODIFIED {set}")),
            Self::NonExistent => put(out, "NONEXISTENT"),
            Self::NotSaved => put(out, "NOTSAVED"),
            Self::NoUpdate(tag) => {
                put(out, "NOUPDATE ");
                string(out, tag.as_bytes(), Dialect::Utf7);
            }
            Self::NotificationOverflow => put(out, "NOTIFICATIONOVERFLOW"),
            Self::OverQuota => put(out, "OVERQUOTA"),
            Self::PrivacyRequired => put(out, "PRIVACYREQUIRED"),
            Self::ReadOnly => put(out, "READ-ONLY"),
            Self::ReadWrite => put(out, "READ-WRITE"),
            Self::ServerBug => put(out, "SERVERBUG"),
            Self::TooBig => put(out, "TOOBIG"),
            Self::TryCreate => put(out, "TRYCREATE"),
            Self::UndefinedFilter(name) => write_to(out, format_args!("UNDEFINED-FILTER {name}")),
            Self::UidRequired => put(out, "UIDREQUIRED"),
            Self::InProgress(tag, done, all) => {
                put(out, "INPROGRESS (");
                string(out, tag.as_bytes(), Dialect::Utf7);
                write_to(out, format_args!(" {done} {all})"));
            }
            Self::UidNext(uid) => write_to(out, format_args!("UIDNEXT {uid}")),
            Self::UidValidity(validity) => write_to(out, format_args!("UIDVALIDITY {validity}")),
            Self::Unavailable => put(out, "UNAVAILABLE"),
            Self::UnknownCte => put(out, "UNKNOWN-CTE"),
            Self::Unseen(number) => write_to(out, format_args!("UNSEEN {number}")),
            Self::UrlMech => put(out, "URLMECH INTERNAL"),
            Self::UseAttr => put(out, "USEATTR"),
        }
        out.extend_from_slice(b"] ");
    }
}

/// Text as it is.
pub fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Formatted text.
pub fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector has no way to fail.
    let _ = out.write_fmt(text);
}

fn status_line(out: &mut Vec<u8>, status: Status, code: Option<&Code>, text: &str) {
    out.extend_from_slice(status.word());
    if let Some(code) = code {
        code.write(out);
    }
    put(out, text);
    out.extend_from_slice(b"\r\n");
}

/// The completion of a command; without a tag an untagged BAD. RFC 9051 §7.1.
pub fn tagged(out: &mut Vec<u8>, tag: Option<&Tag>, status: Status, code: Option<&Code>, text: &str) {
    put(out, tag.map_or("*", Tag::as_str));
    out.push(b' ');
    status_line(out, status, code, text);
}

/// An untagged status.
pub fn untagged(out: &mut Vec<u8>, status: Status, code: Option<&Code>, text: &str) {
    tagged(out, None, status, code, text);
}

/// The last word.
pub fn bye(out: &mut Vec<u8>, code: Option<&Code>, text: &str) {
    put(out, "* BYE ");
    if let Some(code) = code {
        code.write(out);
    }
    put(out, text);
    out.extend_from_slice(b"\r\n");
}

/// A continuation request.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    put(out, "+ ");
    put(out, text);
    out.extend_from_slice(b"\r\n");
}

/// The words a fault of the grammar becomes for the peer.
#[must_use]
pub fn fault_words(fault: &Fault) -> (Status, Option<Code>, &'static str) {
    match fault {
        Fault::Syntax(text) => (Status::Bad, None, text),
        Fault::UnknownCommand => (Status::Bad, None, "unknown command"),
        Fault::MailboxSpelling => (Status::Bad, None, "mailbox name is not valid modified UTF-7"),
        Fault::Mailbox(_) => (Status::No, Some(Code::Cannot), "not a valid mailbox name"),
        Fault::Keyword => (Status::No, Some(Code::Limit), "not a valid keyword"),
        Fault::UseAttr => (Status::No, Some(Code::UseAttr), "unknown special use"),
        Fault::BadCharset => (Status::No, Some(Code::BadCharset), "cannot search in this charset"),
        Fault::BadEvent => (Status::No, Some(Code::BadEvent), "unknown event"),
        Fault::TooBig(text) => (Status::Bad, Some(Code::TooBig), text),
        Fault::UnknownCte => (Status::No, Some(Code::UnknownCte), "unknown transfer encoding"),
    }
}

/// Quoted strings longer than this go as literals, which no client has to scan.
const QUOTED: usize = 1_000;

/// `string`: quoted where it can be, else a literal. NUL cannot be said and is left out.
pub fn string(out: &mut Vec<u8>, octets: &[u8], dialect: Dialect) {
    let eight_bit = octets.iter().any(|b| !b.is_ascii());
    let plain = octets.len() <= QUOTED
        && !octets.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
        && (!eight_bit || (dialect == Dialect::Utf8 && std::str::from_utf8(octets).is_ok()));
    if plain {
        out.push(b'"');
        for &byte in octets {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        return;
    }
    let nuls = octets.iter().filter(|&&b| b == 0).count();
    write_to(out, format_args!("{{{}}}\r\n", octets.len() - nuls));
    if nuls == 0 {
        out.extend_from_slice(octets);
    } else {
        out.extend(octets.iter().filter(|&&b| b != 0));
    }
}

/// `nstring`
pub fn nstring(out: &mut Vec<u8>, octets: Option<&[u8]>, dialect: Dialect) {
    match octets {
        Some(octets) => string(out, octets, dialect),
        None => put(out, "NIL"),
    }
}

/// The head of a literal; its octets are to follow.
pub fn literal_head(out: &mut Vec<u8>, size: u64) {
    write_to(out, format_args!("{{{size}}}\r\n"));
}

/// `mailbox`, in the spelling of the connection. The inbox is always `INBOX`: clients compare it as text.
pub fn mailbox(out: &mut Vec<u8>, name: &str, dialect: Dialect) {
    let mut text = Vec::with_capacity(name.len());
    match (name.strip_prefix("Inbox"), dialect) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('/') => {
            put(&mut text, "INBOX");
            spell(&mut text, rest, dialect);
        }
        _ => spell(&mut text, name, dialect),
    }
    let atom = !text.is_empty()
        && text.iter().all(|&b| crate::parse::is_astring_char(b))
        && !text.eq_ignore_ascii_case(b"NIL");
    if atom { out.extend_from_slice(&text) } else { string(out, &text, dialect) }
}

fn spell(out: &mut Vec<u8>, name: &str, dialect: Dialect) {
    match dialect {
        Dialect::Utf7 => utf7::encode(name, out),
        Dialect::Utf8 => put(out, name),
    }
}

/// `(\Seen work)`
pub fn flag_list(out: &mut Vec<u8>, flags: Flags, keywords: &[Keyword]) {
    out.push(b'(');
    let start = out.len();
    let mut name = |name: &str| {
        if out.len() > start {
            out.push(b' ');
        }
        put(out, name);
    };
    flags.names().for_each(&mut name);
    keywords.iter().for_each(|keyword| name(keyword.as_str()));
    out.push(b')');
}

/// `* n EXISTS`
pub fn exists(out: &mut Vec<u8>, count: u32) {
    write_to(out, format_args!("* {count} EXISTS\r\n"));
}

/// `* n EXPUNGE`
pub fn expunge(out: &mut Vec<u8>, number: u32) {
    write_to(out, format_args!("* {number} EXPUNGE\r\n"));
}

/// Whether a removal is told to a client that counts the message, or to one that remembers it. RFC 7162 §3.2.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It remembers it: numbers stay as they are.
    Yes,
    /// It counts it.
    No,
}

/// `* VANISHED uids`, in lines of at most `LINE` octets. RFC 7162 §3.2.10.
pub fn vanished(out: &mut Vec<u8>, earlier: Earlier, uids: &UidSet) {
    let head = match earlier {
        Earlier::Yes => "* VANISHED (EARLIER) ",
        Earlier::No => "* VANISHED ",
    };
    let mut start = None;
    for (low, high) in uids.ranges() {
        match start {
            // Two numbers of ten digits, and what is around them.
            Some(start) if out.len() - start + 24 <= LINE => put(out, ","),
            before => {
                if before.is_some() {
                    put(out, "\r\n");
                }
                start = Some(out.len());
                put(out, head);
            }
        }
        if low == high {
            write_to(out, format_args!("{low}"));
        } else {
            write_to(out, format_args!("{low}:{high}"));
        }
    }
    if start.is_some() {
        put(out, "\r\n");
    }
}

/// Octets of a line that grows with what it tells. Row IM-25.
const LINE: usize = 4 * 1024;

/// What the client switched on that changes how messages are told of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With modseqs. RFC 7162.
    pub mod_seq: bool,
    /// Without numbers. RFC 9586.
    pub uid_only: bool,
}

/// `* n FETCH (`, or what stands for it without numbers. RFC 9586.
pub fn fetch_head(out: &mut Vec<u8>, style: Style, number: u32, uid: Uid) {
    if style.uid_only {
        write_to(out, format_args!("* {uid} UIDFETCH ("));
    } else {
        write_to(out, format_args!("* {number} FETCH ("));
    }
}

/// `* n FETCH (UID u FLAGS (...))`, unasked for. RFC 9051 §7.5.2: the uid is always in.
pub fn fetch_flags(
    out: &mut Vec<u8>,
    style: Style,
    number: u32,
    uid: Uid,
    flags: Flags,
    keywords: &[Keyword],
    mod_seq: ModSeq,
) {
    fetch_head(out, style, number, uid);
    if !style.uid_only {
        write_to(out, format_args!("UID {uid} "));
    }
    put(out, "FLAGS ");
    flag_list(out, flags, keywords);
    if style.mod_seq {
        write_to(out, format_args!(" MODSEQ ({})", mod_seq.0.max(1)));
    }
    out.extend_from_slice(b")\r\n");
}

/// A quoted date-time.
pub fn date_time(out: &mut Vec<u8>, time: Timestamp) {
    out.push(b'"');
    encode_date_time(time, out);
    out.push(b'"');
}

/// When a message came into its mailbox; messages from before that was noted have none. RFC 8514 §4.1, row TR-48.
pub fn save_date(out: &mut Vec<u8>, saved: Option<Timestamp>) {
    match saved {
        Some(saved) => date_time(out, saved),
        None => put(out, "NIL"),
    }
}

/// What STATUS can be told from.
#[derive(Debug, Clone, Copy)]
pub struct MailboxState {
    /// Which.
    pub id: MailboxId,
    /// All messages, marked `\Deleted` or not.
    pub messages: u32,
    /// Without `\Seen`.
    pub unseen: u32,
    /// With `\Deleted`.
    pub deleted: u32,
    /// Octets.
    pub size: u64,
    /// The next message gets this or more.
    pub uid_next: Uid,
    /// Which life of the name.
    pub uid_validity: UidValidity,
    /// Of all changes the highest.
    pub mod_seq: ModSeq,
    /// Octets of one appended message.
    pub append_limit: u64,
}

/// `* STATUS name (...)`. RFC 9051 §7.3.2.
pub fn status(
    out: &mut Vec<u8>,
    name: &MailboxName,
    items: StatusItems,
    state: &MailboxState,
    dialect: Dialect,
) {
    put(out, "* STATUS ");
    mailbox(out, name.as_str(), dialect);
    put(out, " (");
    let mut first = true;
    for (item, word) in StatusItem::ALL {
        if !items.has(item) {
            continue;
        }
        if !first {
            out.push(b' ');
        }
        first = false;
        let value = match item {
            StatusItem::Messages => u64::from(state.messages),
            StatusItem::UidNext => u64::from(state.uid_next.0),
            StatusItem::UidValidity => u64::from(state.uid_validity.0),
            StatusItem::Unseen => u64::from(state.unseen),
            StatusItem::Deleted => u64::from(state.deleted),
            StatusItem::Size => state.size,
            // We call no message recent.
            StatusItem::Recent => 0,
            StatusItem::HighestModSeq => state.mod_seq.0.max(1),
            StatusItem::AppendLimit => state.append_limit,
            // Row IM-29, DF-09.
            StatusItem::DeletedStorage => 0,
            StatusItem::MailboxId => {
                write_to(out, format_args!("{word} (B{})", state.id));
                continue;
            }
        };
        write_to(out, format_args!("{word} {value}"));
    }
    out.extend_from_slice(b")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_types::Flag;

    #[track_caller]
    fn writes(want: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn strings_are_quoted_where_they_can_be() {
        for (octets, dialect, want) in [
            (&b"plain"[..], Dialect::Utf7, "\"plain\""),
            (b"", Dialect::Utf7, "\"\""),
            (b"a\"b\\c", Dialect::Utf7, "\"a\\\"b\\\\c\""),
            (b"a\r\nb", Dialect::Utf7, "{4}\r\na\r\nb"),
            (b"a\0b", Dialect::Utf7, "{2}\r\nab"),
            ("é".as_bytes(), Dialect::Utf7, "{2}\r\né"),
            ("é".as_bytes(), Dialect::Utf8, "\"é\""),
        ] {
            writes(want, |out| string(out, octets, dialect));
        }
        writes("NIL", |out| nstring(out, None, Dialect::Utf7));
        writes(&format!("{{1001}}\r\n{}", "x".repeat(1001)), |out| {
            string(out, &[b'x'; 1001], Dialect::Utf7);
        });
    }

    #[test]
    fn mailboxes_are_spelled_for_the_connection() {
        for (name, dialect, want) in [
            ("Inbox", Dialect::Utf7, "INBOX"),
            ("Inbox/Ä", Dialect::Utf7, "INBOX/&AMQ-"),
            ("Inboxes", Dialect::Utf8, "Inboxes"),
            ("a b", Dialect::Utf7, "\"a b\""),
            ("a&b", Dialect::Utf7, "a&-b"),
            ("a&b", Dialect::Utf8, "a&b"),
            ("Ä", Dialect::Utf8, "\"Ä\""),
            ("nil", Dialect::Utf7, "\"nil\""),
            ("a*", Dialect::Utf7, "\"a*\""),
        ] {
            writes(want, |out| mailbox(out, name, dialect));
        }
    }

    #[test]
    fn lines_are_whole() {
        let tag = Tag("a1".into());
        let uids: UidSet = [Uid(3), Uid(4)].into_iter().collect();
        writes("a1 NO [TRYCREATE] no such mailbox\r\n", |out| {
            tagged(out, Some(&tag), Status::No, Some(&Code::TryCreate), "no such mailbox");
        });
        writes("* OK [UIDNEXT 4392] next\r\n", |out| {
            untagged(out, Status::Ok, Some(&Code::UidNext(Uid(4392))), "next");
        });
        writes("* OK [COPYUID 38505 3:4 3:4] x\r\n", |out| {
            let code = Code::CopyUid(UidValidity(38505), uids.clone(), uids.clone());
            untagged(out, Status::Ok, Some(&code), "x");
        });
        writes("* 23 FETCH (UID 4827313 FLAGS (\\Seen \\Flagged a) MODSEQ (1))\r\n", |out| {
            let flags = Flags::NONE.with(Flag::Seen).with(Flag::Flagged);
            let style = Style { mod_seq: true, uid_only: false };
            fetch_flags(out, style, 23, Uid(4_827_313), flags, &[Keyword::parse("A").unwrap()], ModSeq(0));
        });
        writes("NIL", |out| save_date(out, None));
        writes("\" 1-Jan-1970 00:00:00 +0000\"", |out| save_date(out, Some(Timestamp(0))));
        writes("* VANISHED 3:4\r\n", |out| vanished(out, Earlier::No, &uids));
        writes("", |out| vanished(out, Earlier::Yes, &UidSet::new()));
        // Row IM-25: many removals make several lines, none of them long.
        let odd: UidSet = (0..3_000).map(|n| Uid(4_000_000_001 + 2 * n)).collect();
        let mut out = Vec::new();
        vanished(&mut out, Earlier::Yes, &odd);
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.len() < LINE));
        let told: UidSet = text
            .lines()
            .flat_map(|line| line.strip_prefix("* VANISHED (EARLIER) ").unwrap().split(','))
            .map(|uid| uid.parse().unwrap())
            .collect();
        assert_eq!(told, odd);
        let state = MailboxState {
            id: MailboxId(3),
            messages: 231,
            unseen: 1,
            deleted: 2,
            size: 9,
            uid_next: Uid(44292),
            uid_validity: UidValidity(1),
            mod_seq: ModSeq(7),
            append_limit: 5,
        };
        // RFC 9051 §6.3.11
        let items = StatusItems::default().with(StatusItem::UidNext).with(StatusItem::Messages);
        writes("* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n", |out| {
            status(out, &MailboxName::parse("blurdybloop").unwrap(), items, &state, Dialect::Utf7);
        });
    }
}
