//! One line, without its end, becomes a [`Command`] or a [`Fault`].
//!
//! Law: RFC 5321 §4.1, RFC 3030 (BDAT), and the parameters of RFC 1870, 3461, 4865, 4954, 6152, 6531, 8689. Tolerated, because it
//! is common (TM-03): a space after `FROM:` and `TO:`, several spaces after AUTH's mechanism, spaces at the end. A
//! pedantic server (row SR-39) refuses these.
//! Does not know: which command is legal when, what is on offer.
//! Fails with: [`Fault`].

use libmox_message::date;
use libmox_sasl::Mechanism;
use libmox_types::{Address, Host, LocalPart, ReversePath, Timestamp};
use std::net::IpAddr;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELO`
    Helo(Hello),
    /// `EHLO`
    Ehlo(Hello),
    /// `MAIL FROM:`
    Mail(Mail),
    /// `RCPT TO:`
    Rcpt(Rcpt),
    /// `DATA`
    Data,
    /// `BDAT`, RFC 3030: so many octets follow at once.
    Chunk {
        /// How many.
        octets: u64,
        /// The message ends with them.
        last: bool,
    },
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `QUIT`
    Quit,
    /// `VRFY` or `EXPN`
    Verify,
    /// `HELP`
    Help,
    /// `STARTTLS`
    StartTls,
    /// `AUTH`
    Auth {
        /// None: one we do not speak.
        mechanism: Option<Mechanism>,
        /// The initial response, still base64.
        initial: Option<Vec<u8>>,
    },
}

/// The argument of EHLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// As it came.
    pub text: String,
    /// If it is one.
    pub host: Option<Host>,
}

/// MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The reverse path.
    pub from: ReversePath,
    /// All parameters.
    pub params: MailParams,
}

/// Parameters of MAIL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParams {
    /// RFC 1870.
    pub size: Option<u64>,
    /// RFC 6152.
    pub body: Option<BodyType>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 4954 §5, decoded; `<>` is empty.
    pub auth: Option<String>,
    /// RFC 3461: `FULL` or `HDRS`.
    pub ret: Option<Ret>,
    /// RFC 3461, decoded.
    pub envid: Option<String>,
    /// RFC 4865.
    pub hold: Option<Hold>,
    /// RFC 8689.
    pub requiretls: bool,
}

impl MailParams {
    /// Whether a parameter of RFC 3461 was given.
    #[must_use]
    pub fn uses_dsn(&self) -> bool {
        self.ret.is_some() || self.envid.is_some()
    }
}

/// RFC 6152, RFC 3030.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyType {
    /// `7BIT`
    SevenBit,
    /// `8BITMIME`
    EightBit,
    /// `BINARYMIME`, RFC 3030 §3: by BDAT only.
    Binary,
}

/// RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// RFC 4865.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Seconds from now.
    For(i64),
    /// Until then.
    Until(Timestamp),
}

/// RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward path.
    pub to: RcptPath,
    /// RFC 3461, as given; empty if not.
    pub notify: String,
    /// RFC 3461, as given; empty if not.
    pub orcpt: String,
}

/// The forward path without its route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RcptPath {
    /// The usual.
    Address(Address),
    /// RFC 5321 §4.1.1.3: `<Postmaster>` without domain.
    Postmaster,
    /// `<user@[192.0.2.1]>`
    Literal(LocalPart, IpAddr),
}

impl std::fmt::Display for RcptPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Postmaster => f.write_str("postmaster"),
            Self::Literal(local, ip) => write!(f, "{local}@{}", Host::Literal(*ip)),
        }
    }
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such command.
    #[error("unknown command")]
    Unknown,
    /// Its arguments are not what it takes.
    #[error("syntax error in arguments")]
    Arguments,
    /// MAIL FROM has no valid address.
    #[error("bad sender address")]
    Sender,
    /// RCPT TO has no valid address.
    #[error("bad recipient address")]
    Recipient,
    /// The same parameter twice, or two that exclude each other.
    #[error("parameter given twice")]
    Duplicate,
    /// A parameter's value.
    #[error("bad parameter value")]
    Value,
    /// A parameter we do not know.
    #[error("unknown parameter")]
    Parameter,
    /// Neither ASCII nor UTF-8, or control characters.
    #[error("bytes that are not text")]
    NotText,
}

/// What is forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What clients in the wild get wrong.
    Tolerant,
    /// Nothing (row SR-39).
    Pedantic,
}

/// Reads a line without its line end.
pub fn parse(line: &[u8]) -> Result<Command, Fault> {
    parse_as(line, Manner::Tolerant)
}

/// The same, as strict as asked.
pub fn parse_as(line: &[u8], manner: Manner) -> Result<Command, Fault> {
    if manner == Manner::Pedantic && !is_proper(line) {
        return Err(Fault::Arguments);
    }
    let text = std::str::from_utf8(line).map_err(|_| Fault::NotText)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Fault::NotText);
    }
    let text = text.trim_end_matches([' ', '\t']);
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut upper = [0; 8];
    let Some(upper) = upper.get_mut(..verb.len()) else { return Err(Fault::Unknown) };
    upper.copy_from_slice(verb.as_bytes());
    upper.make_ascii_uppercase();
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(Fault::Arguments) };
    match &*upper {
        b"HELO" => hello(rest).map(Command::Helo),
        b"EHLO" => hello(rest).map(Command::Ehlo),
        b"MAIL" => mail(rest).map(Command::Mail),
        b"RCPT" => rcpt(rest).map(Command::Rcpt),
        b"DATA" => alone(Command::Data),
        b"BDAT" => chunk(rest),
        b"RSET" => alone(Command::Rset),
        b"QUIT" => alone(Command::Quit),
        b"STARTTLS" => alone(Command::StartTls),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" | b"EXPN" => Ok(Command::Verify),
        b"AUTH" => auth(rest),
        _ => Err(Fault::Unknown),
    }
}

/// Neither spaces where there are none, nor two where there is one. RFC 5321 §4.1.2.
fn is_proper(line: &[u8]) -> bool {
    let spaces = line.windows(2).any(|pair| pair == b"  ");
    let colon = [&b"FROM: "[..], b"TO: "]
        .iter()
        .any(|wrong| line.get(5..5 + wrong.len()).is_some_and(|start| start.eq_ignore_ascii_case(wrong)));
    // A quoted local part may have any spaces.
    !line.ends_with(b" ") && !line.contains(&b'\t') && !colon && (!spaces || line.contains(&b'"'))
}

/// RFC 3030 §2: `BDAT 1000` or `BDAT 1000 LAST`.
fn chunk(rest: &str) -> Result<Command, Fault> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let size = words.next().filter(|word| word.len() <= 19 && word.bytes().all(|b| b.is_ascii_digit()));
    let octets = size.and_then(|word| word.parse().ok()).ok_or(Fault::Arguments)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(Fault::Arguments),
    };
    if words.next().is_some() { Err(Fault::Arguments) } else { Ok(Command::Chunk { octets, last }) }
}

fn hello(rest: &str) -> Result<Hello, Fault> {
    let text = rest.trim_start();
    if text.is_empty() || text.contains(' ') || text.len() > 255 {
        return Err(Fault::Arguments);
    }
    Ok(Hello { text: text.into(), host: Host::parse(text).ok() })
}

fn auth(rest: &str) -> Result<Command, Fault> {
    let rest = rest.trim_start();
    let (name, initial) = rest.split_once(' ').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(Fault::Arguments);
    }
    let initial = initial.trim_start();
    if initial.contains(' ') {
        return Err(Fault::Arguments);
    }
    let initial = (!initial.is_empty()).then(|| initial.as_bytes().to_vec());
    Ok(Command::Auth { mechanism: Mechanism::parse(name.as_bytes()), initial })
}

/// `FROM:<...>`; what stands between the brackets, and what behind.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Fault> {
    let rest = rest.trim_start();
    let Some(start) = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword)) else {
        return Err(Fault::Arguments);
    };
    // TM-03.
    let rest = rest[start.len()..].trim_start();
    let inner = rest.strip_prefix('<').ok_or(Fault::Arguments)?;
    let end = closing(inner).ok_or(Fault::Arguments)?;
    let (path, after) = (&inner[..end], &inner[end + 1..]);
    if !after.is_empty() && !after.starts_with(' ') {
        return Err(Fault::Arguments);
    }
    // RFC 5321 §4.1.1.3 and appendix C: a source route is read and forgotten.
    let path = match path.strip_prefix('@') {
        Some(_) => path.split_once(':').ok_or(Fault::Arguments)?.1,
        None => path,
    };
    Ok((path, after))
}

/// The `>` that is not inside a quoted local part.
fn closing(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inner.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

fn mail(rest: &str) -> Result<Mail, Fault> {
    let (path, after) = path(rest, "FROM:")?;
    let from = if path.is_empty() {
        ReversePath::Null
    } else {
        // An address literal is no place for reports (row SR-09), so it does not parse here.
        ReversePath::Address(Address::parse(path).map_err(|_| Fault::Sender)?)
    };
    let mut params = MailParams::default();
    each_param(after, |name, value| {
        match name {
            "SIZE" => {
                let digits = value.filter(|v| v.len() <= 20 && v.bytes().all(|b| b.is_ascii_digit()));
                once(&mut params.size, digits.and_then(|v| v.parse().ok()))
            }
            "BODY" => once(
                &mut params.body,
                match value.map(str::to_ascii_uppercase).as_deref() {
                    Some("7BIT") => Some(BodyType::SevenBit),
                    Some("8BITMIME") => Some(BodyType::EightBit),
                    Some("BINARYMIME") => Some(BodyType::Binary),
                    _ => None,
                },
            ),
            "SMTPUTF8" => flag(&mut params.smtputf8, value),
            "REQUIRETLS" => flag(&mut params.requiretls, value),
            "AUTH" => once(
                &mut params.auth,
                value.and_then(|v| if v == "<>" { Some(String::new()) } else { xtext(v) }),
            ),
            "RET" => once(
                &mut params.ret,
                match value.map(str::to_ascii_uppercase).as_deref() {
                    Some("FULL") => Some(Ret::Full),
                    Some("HDRS") => Some(Ret::Headers),
                    _ => None,
                },
            ),
            "ENVID" => once(&mut params.envid, value.filter(|v| v.len() <= 100).and_then(xtext)),
            // RFC 4865 §4: one of them.
            "HOLDFOR" => once(
                &mut params.hold,
                value
                    .filter(|v| v.len() <= 9)
                    .and_then(|v| v.parse().ok())
                    .filter(|s| *s >= 0)
                    .map(Hold::For),
            ),
            "HOLDUNTIL" => once(&mut params.hold, value.and_then(internet_date).map(Hold::Until)),
            _ => Err(Fault::Parameter),
        }
    })?;
    Ok(Mail { from, params })
}

fn rcpt(rest: &str) -> Result<Rcpt, Fault> {
    let (path, after) = path(rest, "TO:")?;
    let to = recipient(path).ok_or(Fault::Recipient)?;
    let (mut notify, mut orcpt) = (None, None);
    each_param(after, |name, value| match name {
        "NOTIFY" => once(&mut notify, value.map(str::to_ascii_uppercase).filter(|v| is_notify(v))),
        "ORCPT" => once(&mut orcpt, value.filter(|v| is_orcpt(v)).map(String::from)),
        _ => Err(Fault::Parameter),
    })?;
    Ok(Rcpt { to, notify: notify.unwrap_or_default(), orcpt: orcpt.unwrap_or_default() })
}

fn recipient(path: &str) -> Option<RcptPath> {
    if path.eq_ignore_ascii_case("postmaster") {
        return Some(RcptPath::Postmaster);
    }
    if let Ok(address) = Address::parse(path) {
        return Some(RcptPath::Address(address));
    }
    let (local, host) = path.rsplit_once('@')?;
    match Host::parse(host) {
        Ok(Host::Literal(ip)) => Some(RcptPath::Literal(LocalPart::parse(local).ok()?, ip)),
        _ => None,
    }
}

/// Calls back with each `NAME` or `NAME=value`, the name in upper case.
fn each_param(
    after: &str,
    mut take: impl FnMut(&str, Option<&str>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for word in after.split([' ', '\t']).filter(|word| !word.is_empty()) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Fault::Arguments);
        }
        take(&name.to_ascii_uppercase(), value)?;
    }
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), Fault> {
    if slot.is_some() {
        return Err(Fault::Duplicate);
    }
    *slot = Some(value.ok_or(Fault::Value)?);
    Ok(())
}

fn flag(slot: &mut bool, value: Option<&str>) -> Result<(), Fault> {
    if value.is_some() {
        return Err(Fault::Value);
    }
    if std::mem::replace(slot, true) { Err(Fault::Duplicate) } else { Ok(()) }
}

/// RFC 3461 §4: `+2B` is a plus sign.
#[must_use]
pub fn xtext(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'+' {
            let [a, b, tail @ ..] = after else { return None };
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            out.push(digit(*a)? << 4 | digit(*b)?);
            rest = tail;
        } else {
            out.push(byte);
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn is_notify(value: &str) -> bool {
    value == "NEVER" || value.split(',').all(|word| matches!(word, "SUCCESS" | "FAILURE" | "DELAY"))
}

/// `rfc822;xtext`. RFC 3461 §4.2.
fn is_orcpt(value: &str) -> bool {
    value.len() <= 500
        && value.split_once(';').is_some_and(|(kind, text)| {
            !kind.is_empty()
                && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && xtext(text).is_some()
        })
}

/// RFC 3339 with a zone, as RFC 4865 §5 wants it.
fn internet_date(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let at = |index: usize, want: &[u8]| text.as_bytes().get(index).is_some_and(|b| want.contains(b));
    if !(at(4, b"-") && at(7, b"-") && at(10, b"Tt") && at(13, b":") && at(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !valid {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h @ ..] if h.len() == 5 && h[2] == b':' => {
            let hours: i64 = zone.get(1..3)?.parse().ok()?;
            let minutes: i64 = zone.get(4..6)?.parse().ok()?;
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    Some(date::from_utc(year, month, day, hour, minute, second).plus(-offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the rows of the table read better")]
    fn reads(line: &str, want: Result<Command, Fault>) {
        assert_eq!(parse(line.as_bytes()), want, "{line:?}");
    }

    fn from(address: &str, params: MailParams) -> Result<Command, Fault> {
        let from = if address.is_empty() {
            ReversePath::Null
        } else {
            ReversePath::Address(address.parse().unwrap())
        };
        Ok(Command::Mail(Mail { from, params }))
    }

    fn to(address: &str) -> Result<Command, Fault> {
        let to = RcptPath::Address(address.parse().unwrap());
        Ok(Command::Rcpt(Rcpt { to, notify: String::new(), orcpt: String::new() }))
    }

    #[test]
    fn simple_commands() {
        reads("quit", Ok(Command::Quit));
        reads("RSET ", Ok(Command::Rset));
        reads("RSET now", Err(Fault::Arguments));
        reads("NOOP anything", Ok(Command::Noop));
        reads("VRFY x", Ok(Command::Verify));
        reads("StartTLS", Ok(Command::StartTls));
        reads("GET / HTTP/1.1", Err(Fault::Unknown));
        reads("", Err(Fault::Unknown));
        reads("VERYLONGCOMMAND", Err(Fault::Unknown));
        reads("NOOP \u{1}", Err(Fault::NotText));
        assert_eq!(parse(b"NOOP \xff"), Err(Fault::NotText));
        let hello = |text: &str, host: Option<&str>| Hello {
            text: text.into(),
            host: host.map(|h| Host::parse(h).unwrap()),
        };
        reads("EHLO mx.example", Ok(Command::Ehlo(hello("mx.example", Some("mx.example")))));
        reads("HELO [192.0.2.1]", Ok(Command::Helo(hello("[192.0.2.1]", Some("[192.0.2.1]")))));
        reads("EHLO [bogus", Ok(Command::Ehlo(hello("[bogus", None))));
        reads("EHLO", Err(Fault::Arguments));
        reads("EHLO a b", Err(Fault::Arguments));
    }

    #[test]
    fn chunks() {
        // RFC 3030 §2
        reads("BDAT 1000", Ok(Command::Chunk { octets: 1000, last: false }));
        reads("bdat 0 last", Ok(Command::Chunk { octets: 0, last: true }));
        for wrong in
            ["BDAT", "BDAT x", "BDAT -1", "BDAT 1 LAST x", "BDAT 1 FIRST", "BDAT 99999999999999999999"]
        {
            reads(wrong, Err(Fault::Arguments));
        }
    }

    #[test]
    fn a_pedantic_server_forgives_nothing() {
        // Row SR-39
        for line in ["MAIL FROM: <a@b>", "RCPT TO: <a@b>", "AUTH PLAIN  x", "RSET ", "MAIL  FROM:<a@b>"] {
            assert!(parse(line.as_bytes()).is_ok(), "{line}");
            assert_eq!(parse_as(line.as_bytes(), Manner::Pedantic), Err(Fault::Arguments), "{line}");
        }
        for line in ["MAIL FROM:<a@b> SIZE=1", "RCPT TO:<\"a  b\"@c>", "RSET"] {
            assert!(parse_as(line.as_bytes(), Manner::Pedantic).is_ok(), "{line}");
        }
    }

    #[test]
    fn paths() {
        reads("MAIL FROM:<>", from("", MailParams::default()));
        reads("mail from:<a@b>", from("a@b", MailParams::default()));
        reads("MAIL FROM: <a@b>", from("a@b", MailParams::default())); // TM-03
        reads("RCPT TO:<@x,@y:a@b>", to("a@b"));
        reads("RCPT TO:<\"a > \\\" b\"@c>", to("\"a > \\\" b\"@c"));
        reads(
            "RCPT TO:<Postmaster>",
            Ok(Command::Rcpt(Rcpt { to: RcptPath::Postmaster, notify: String::new(), orcpt: String::new() })),
        );
        reads(
            "RCPT TO:<a@[192.0.2.1]>",
            Ok(Command::Rcpt(Rcpt {
                to: RcptPath::Literal(LocalPart::new("a").unwrap(), "192.0.2.1".parse().unwrap()),
                notify: String::new(),
                orcpt: String::new(),
            })),
        );
        reads("MAIL FROM:<a@[192.0.2.1]>", Err(Fault::Sender));
        reads("MAIL FROM:a@b", Err(Fault::Arguments));
        reads("MAIL FROM:<a@b", Err(Fault::Arguments));
        reads("MAIL FROM:<a@b>x", Err(Fault::Arguments));
        reads("MAIL TO:<a@b>", Err(Fault::Arguments));
        reads("MAIL", Err(Fault::Arguments));
        reads("RCPT TO:<>", Err(Fault::Recipient));
        reads("RCPT TO:<a>", Err(Fault::Recipient));
        reads("RCPT TO:<@a>", Err(Fault::Arguments));
        reads("RCPT TO:<a@[x]>", Err(Fault::Recipient));
        reads(
            "MAIL FROM:<\u{fc}@b\u{fc}.example> SMTPUTF8",
            from("\u{fc}@b\u{fc}.example", MailParams { smtputf8: true, ..Default::default() }),
        );
    }

    #[test]
    fn parameters_of_mail() {
        reads(
            "MAIL FROM:<a@b> SIZE=1000 BODY=8bitmime SMTPUTF8 AUTH=e+3Dmc2@example.com RET=HDRS ENVID=QQ+2B1 HOLDFOR=60 REQUIRETLS",
            from(
                "a@b",
                MailParams {
                    size: Some(1000),
                    body: Some(BodyType::EightBit),
                    smtputf8: true,
                    auth: Some("e=mc2@example.com".into()),
                    ret: Some(Ret::Headers),
                    envid: Some("QQ+1".into()),
                    hold: Some(Hold::For(60)),
                    requiretls: true,
                },
            ),
        );
        reads(
            "MAIL FROM:<> AUTH=<>",
            from("", MailParams { auth: Some(String::new()), ..Default::default() }),
        );
        for zone in ["2001-09-09T01:46:40Z", "2001-09-09T03:46:40+02:00", "2001-09-08t20:46:40.5-05:00"] {
            let hold = Some(Hold::Until(Timestamp(1_000_000_000)));
            reads(
                &format!("MAIL FROM:<> HOLDUNTIL={zone}"),
                from("", MailParams { hold, ..Default::default() }),
            );
        }
        reads("MAIL FROM:<> SIZE=1 SIZE=1", Err(Fault::Duplicate));
        reads("MAIL FROM:<> HOLDFOR=1 HOLDUNTIL=2001-09-09T01:46:40Z", Err(Fault::Duplicate));
        reads("MAIL FROM:<> SMTPUTF8 SMTPUTF8", Err(Fault::Duplicate));
        reads("MAIL FROM:<> SMTPUTF8=1", Err(Fault::Value));
        reads("MAIL FROM:<> SIZE=x", Err(Fault::Value));
        reads("MAIL FROM:<> SIZE=99999999999999999999", Err(Fault::Value));
        reads("MAIL FROM:<> SIZE", Err(Fault::Value));
        reads("MAIL FROM:<> BODY=BINARY", Err(Fault::Value));
        reads("MAIL FROM:<> ENVID=+zz", Err(Fault::Value));
        reads("MAIL FROM:<> HOLDUNTIL=tomorrow", Err(Fault::Value));
        reads("MAIL FROM:<> HOLDUNTIL=2001-09-09T01:46:40\u{e9}", Err(Fault::Value));
        reads("MAIL FROM:<> X=1", Err(Fault::Parameter));
        reads("MAIL FROM:<> =1", Err(Fault::Arguments));
    }

    #[test]
    fn parameters_of_rcpt_and_auth() {
        reads(
            "RCPT TO:<a@b> NOTIFY=success,FAILURE ORCPT=rfc822;a+2B@b",
            Ok(Command::Rcpt(Rcpt {
                to: RcptPath::Address("a@b".parse().unwrap()),
                notify: "SUCCESS,FAILURE".into(),
                orcpt: "rfc822;a+2B@b".into(),
            })),
        );
        reads("RCPT TO:<a@b> NOTIFY=NEVER,DELAY", Err(Fault::Value));
        reads("RCPT TO:<a@b> ORCPT=a", Err(Fault::Value));
        reads("RCPT TO:<a@b> SIZE=1", Err(Fault::Parameter));
        let auth = |mechanism, initial: Option<&str>| {
            Ok(Command::Auth { mechanism, initial: initial.map(|i| i.as_bytes().to_vec()) })
        };
        reads("AUTH PLAIN", auth(Some(Mechanism::Plain), None));
        reads("AUTH plain  AGEAYg==", auth(Some(Mechanism::Plain), Some("AGEAYg=="))); // TM-03
        reads("AUTH LOGIN =", auth(Some(Mechanism::Login), Some("=")));
        reads("AUTH NTLM", auth(None, None));
        reads("AUTH", Err(Fault::Arguments));
        reads("AUTH PLAIN a b", Err(Fault::Arguments));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let words = [
            "MAIL FROM:<",
            "RCPT TO:",
            "@",
            ">",
            "\"",
            "\\",
            " SIZE=",
            " HOLDUNTIL=2001-09-09T",
            "[",
            "\u{e9}",
            "EHLO ",
            "+",
            "=",
            ":",
        ];
        for _ in 0..20_000 {
            let mut line = Vec::new();
            for _ in 0..8 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = usize::try_from(seed % 20).unwrap();
                match words.get(at) {
                    Some(word) => line.extend_from_slice(word.as_bytes()),
                    None => line.push(seed.to_be_bytes()[0]),
                }
            }
            let _ = parse(&line);
        }
    }
}
