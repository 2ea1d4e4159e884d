//! URLs that name a message, or a part of one, on this server.
//!
//! Law: RFC 5092 §11 (grammar), RFC 4467 §3 and §9 (URLAUTH), RFC 4469 §3 (relative ones in CATENATE).
//! Does not know: whether there is such a server, person, mailbox or message.
//! Fails with: `None`. What names a server, a mailbox or a search is none of ours: RFC 4467 §7, RFC 4469 §3.

use crate::command::{Partial, Section};
use crate::date::parse_internet_time;
use crate::limits;
use crate::parse::parse_section;
use libmox_types::{MailboxName, Timestamp, Uid, UidValidity};

/// A message, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUrl {
    /// Who says so and where; none in a relative URL.
    pub server: Option<UrlServer>,
    /// Where; none is the open mailbox.
    pub mailbox: Option<MailboxName>,
    /// The life of that name that is meant.
    pub uid_validity: Option<UidValidity>,
    /// Which message.
    pub uid: Uid,
    /// What of it.
    pub section: Section,
    /// Which octets of that.
    pub partial: Option<Partial>,
    /// Who may read it without being its owner.
    pub grant: Option<UrlGrant>,
}

/// `iserver`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlServer {
    /// The owner of the mailbox.
    pub user: Option<String>,
    /// The host, lower case, without the port.
    pub host: String,
}

/// `iurlauth-rump`, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlGrant {
    /// No longer than this.
    pub expire: Option<Timestamp>,
    /// Who.
    pub access: UrlAccess,
    /// Octets of the URL without mechanism and token.
    pub rump: usize,
    /// The mechanism in upper case and the token; none as long as nobody authorised it.
    pub token: Option<(String, Vec<u8>)>,
}

/// Who may read what a URL names. RFC 4467 §3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlAccess {
    /// A submission server, for this person.
    Submit(String),
    /// This person.
    User(String),
    /// Whoever signed in.
    AuthUser,
    /// Whoever.
    Anonymous,
}

impl MessageUrl {
    /// Reads a URL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > limits::URL || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let authority = match text.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case("imap://") => Some(&text[7..]),
            _ => text.strip_prefix("//"),
        };
        let (server, path) = match authority {
            Some(rest) => {
                let (server, path) = rest.split_once('/')?;
                (Some(UrlServer::parse(server)?), path)
            }
            None => (None, text),
        };
        // Only a relative path may leave the mailbox out.
        let absolute = server.is_some() || path.starts_with('/');
        let path = if server.is_some() { path } else { path.strip_prefix('/').unwrap_or(path) };
        let mut url = Self {
            server,
            mailbox: None,
            uid_validity: None,
            uid: Uid(0),
            section: Section::default(),
            partial: None,
            grant: None,
        };
        url.path(path, text.len() - path.len())?;
        (url.uid.0 > 0 && (url.mailbox.is_some() || !absolute)).then_some(url)
    }

    /// Parameters come in one order, each once; all but the validity and the grant have a slash in front.
    fn path(&mut self, path: &str, start: usize) -> Option<()> {
        let (mailbox, mut rest) = path.split_once(';')?;
        let mut slash = mailbox.is_empty() || mailbox.ends_with('/');
        let mailbox = mailbox.strip_suffix('/').unwrap_or(mailbox);
        if !mailbox.is_empty() {
            self.mailbox = Some(MailboxName::parse(&decoded(mailbox)?).ok()?);
        }
        let mut last = 0;
        loop {
            let (parameter, next) = match rest.split_once(';') {
                Some((parameter, next)) => (parameter, Some(next)),
                None => (rest, None),
            };
            let (name, value) = parameter.split_once('=')?;
            let ends_in_slash = next.is_some() && value.ends_with('/');
            let value = if ends_in_slash { &value[..value.len() - 1] } else { value };
            let place = match name.to_ascii_uppercase().as_str() {
                "UIDVALIDITY" if !slash && self.mailbox.is_some() => {
                    self.uid_validity = Some(UidValidity(nz_number(value)?));
                    1
                }
                "UID" if slash => {
                    self.uid = Uid(nz_number(value)?);
                    2
                }
                "SECTION" if slash && self.uid.0 > 0 => {
                    self.section = parse_section(decoded(value)?.as_bytes())?;
                    3
                }
                "PARTIAL" if slash && self.uid.0 > 0 => {
                    self.partial = Some(partial(value)?);
                    4
                }
                "EXPIRE" if !slash && self.uid.0 > 0 => {
                    let expire = Some(parse_internet_time(value.as_bytes())?);
                    self.grant =
                        Some(UrlGrant { expire, access: UrlAccess::Anonymous, rump: 0, token: None });
                    5
                }
                "URLAUTH" if !slash && self.uid.0 > 0 && next.is_none() => {
                    let expire = self.grant.take().and_then(|grant| grant.expire);
                    let behind = start + path.len() - value.len();
                    self.grant = Some(UrlGrant::parse(value, expire, behind)?);
                    6
                }
                _ => return None,
            };
            if place <= last {
                return None;
            }
            last = place;
            slash = ends_in_slash;
            match next {
                Some(next) => rest = next,
                // An end of validity alone grants nothing.
                None => return (last != 5).then_some(()),
            }
        }
    }
}

impl UrlServer {
    fn parse(text: &str) -> Option<Self> {
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => {
                // How the client would sign in is nothing to us: it has.
                let user = user.split(';').next().unwrap_or_default();
                (if user.is_empty() { None } else { Some(decoded(user)?) }, host)
            }
            None => (None, text),
        };
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => host,
        };
        if host.is_empty() { None } else { Some(Self { user, host: host.to_ascii_lowercase() }) }
    }
}

impl UrlGrant {
    fn parse(text: &str, expire: Option<Timestamp>, start: usize) -> Option<Self> {
        let (access, token) = match text.split_once(':') {
            Some((access, token)) => (access, Some(token)),
            None => (text, None),
        };
        let rump = start + access.len();
        let lower = access.to_ascii_lowercase();
        let person = |prefix: &str| {
            let name = decoded(&access[prefix.len()..])?;
            if name.is_empty() { None } else { Some(name) }
        };
        let access = match lower.as_str() {
            "authuser" => UrlAccess::AuthUser,
            "anonymous" => UrlAccess::Anonymous,
            _ if lower.starts_with("submit+") => UrlAccess::Submit(person("submit+")?),
            _ if lower.starts_with("user+") => UrlAccess::User(person("user+")?),
            _ => return None,
        };
        let token = match token {
            None => None,
            Some(token) => {
                let (mechanism, token) = token.split_once(':')?;
                let token = hexadecimal(token)?;
                // RFC 5092 §11: `enc-urlauth` has 32 digits or more.
                if mechanism.is_empty() || token.len() < 16 {
                    return None;
                }
                Some((mechanism.to_ascii_uppercase(), token))
            }
        };
        Some(Self { expire, access, rump, token })
    }
}

fn nz_number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok().filter(|n| *n > 0) } else { None }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && i64::try_from(*n).is_ok())
}

/// `partial-range`: without a length it is all from there.
fn partial(text: &str) -> Option<Partial> {
    match text.split_once('.') {
        Some((offset, length)) => {
            Some(Partial { offset: number(offset)?, length: number(length).filter(|n| *n > 0)? })
        }
        None => Some(Partial { offset: number(text)?, length: u64::MAX }),
    }
}

/// Percent encoding undone. Quotes, spaces and the like are never written plain.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => octets.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' | b'?' | b'#' => {
                return None;
            }
            byte => octets.push(byte),
        }
    }
    String::from_utf8(octets).ok().filter(|text| !text.contains('\0'))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::SectionText;

    fn url(text: &str) -> MessageUrl {
        MessageUrl::parse(text).unwrap_or_else(|| panic!("{text} is a URL"))
    }

    #[test]
    fn relative_and_absolute() {
        let whole = url("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME");
        assert_eq!(whole.mailbox.as_ref().map(MailboxName::as_str), Some("Drafts"));
        assert_eq!((whole.uid_validity, whole.uid), (Some(UidValidity(385_759_045)), Uid(20)));
        assert_eq!(whole.section, Section { part: vec![1], text: SectionText::Mime });
        assert_eq!(whole.server, None);
        assert_eq!(url("Drafts/;UID=20").mailbox, url("/Drafts/;uid=20").mailbox);
        let open = url(";UID=3/;PARTIAL=0.1024");
        assert_eq!((open.mailbox, open.partial), (None, Some(Partial { offset: 0, length: 1024 })));
        let far = url("IMAP://joe%40example.org;AUTH=*@Mail.Example.ORG:143/a/b%20%C3%BC/;UID=1");
        let server = far.server.unwrap();
        assert_eq!((server.user.as_deref(), &*server.host), (Some("joe@example.org"), "mail.example.org"));
        assert_eq!(far.mailbox.unwrap().as_str(), "a/b ü");
        let fields = url("/x/;uid=1/;section=HEADER.FIELDS%20(To%20Cc)");
        assert_eq!(fields.section.text, SectionText::Fields(vec!["To".into(), "Cc".into()]));
        assert_eq!(url("inbox/;uid=1").mailbox, Some(MailboxName::inbox()));
    }

    #[test]
    fn grants() {
        let text = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2040-01-01T02:00:00+02:00\
            ;urlauth=submit+fred:internal:91354a473744909de610943775f92038";
        let grant = url(text).grant.unwrap();
        assert_eq!(grant.access, UrlAccess::Submit("fred".into()));
        assert_eq!(grant.expire, Some(Timestamp(2_208_988_800)));
        assert!(text[..grant.rump].ends_with(";urlauth=submit+fred"));
        let (mechanism, token) = grant.token.unwrap();
        assert_eq!((&*mechanism, token.len(), token[0]), ("INTERNAL", 16, 0x91));
        let rump = url("imap://joe@example.com/INBOX/;uid=20;URLAUTH=AUTHUSER").grant.unwrap();
        assert_eq!((rump.access, rump.token), (UrlAccess::AuthUser, None));
        let own = url("imap://j@h/x/;uid=1;urlauth=user+a%40b.example").grant.unwrap();
        assert_eq!(own.access, UrlAccess::User("a@b.example".into()));
    }

    #[test]
    fn what_is_no_message() {
        for text in [
            "",
            "/",
            "imap://h",
            "imap://h/",
            "imap://h/x",
            "imap://h/x?SUBJECT%20a",
            "http://h/x/;uid=1",
            "/;uid=1",
            "/x/;uid=0",
            "/x/;uid=+1",
            "/x;uid=1",
            "/x/;uid=1;section=1",
            "/x/;uid=1/;section=1.",
            "/x/;uid=1/;section=NONSENSE",
            "/x/;uid=1/;section=1/;section=2",
            "/x/;uid=1/;partial=1.0",
            "/x/;uid=1/;partial=",
            "/x/;section=1/;uid=1",
            "/x/;uidvalidity=1/;uid=1",
            "/x%zz/;uid=1",
            "/x%00/;uid=1",
            "/x%ff/;uid=1",
            "/x y/;uid=1",
            "/x/;uid=1;expire=2040-01-01T00:00:00Z",
            "/x/;uid=1;urlauth=",
            "/x/;uid=1;urlauth=user+",
            "/x/;uid=1;urlauth=everybody",
            "/x/;uid=1;urlauth=anonymous:internal:12",
            "/x/;uid=1;urlauth=anonymous:internal:9135",
            "/x/;uid=1;urlauth=anonymous;expire=2040-01-01T00:00:00Z",
        ] {
            assert_eq!(MessageUrl::parse(text), None, "{text}");
        }
        let long = format!("/{}/;uid=1", "x".repeat(limits::URL));
        assert_eq!(MessageUrl::parse(&long), None);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let words = [
            "imap://",
            "//",
            "/",
            ";",
            "uid=",
            "1",
            "x",
            "%",
            "%41",
            "@",
            ":",
            ";urlauth=",
            "user+",
            "=",
            "ü",
        ];
        let mut seed = 5_u32;
        let mut next = |bound: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % bound
        };
        for _ in 0..20_000 {
            let text: String = (0..next(14)).map(|_| words[next(words.len())]).collect();
            if let Some(url) = MessageUrl::parse(&text)
                && let Some(grant) = url.grant
            {
                assert!(grant.rump <= text.len());
            }
        }
    }
}
