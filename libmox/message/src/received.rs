//! Trace fields of a message we take in.
//!
//! Law: RFC 5321 §4.4, RFC 3848 and RFC 6531 §4.3 (`with`), RFC 8689 §4.2.1 (comment), RFC 8601; row SR-24.
//! Fails with: nothing; the EHLO name comes from a stranger and is written as a comment where it is no host.

use crate::date;
use crate::write::{Field, comment};
use libmox_types::{Address, Cid, Domain, Host, ReversePath, Timestamp};
use std::net::IpAddr;

/// One `Received` field.
#[derive(Debug)]
pub struct Received<'a> {
    /// Whom it came from; None for submission, where the client's whereabouts are nobody's business (SU-12).
    pub from: Option<From<'a>>,
    /// Our name.
    pub by: &'a Domain,
    /// The kind of transport.
    pub with: With,
    /// `TLSv1.3 TLS_AES_128_GCM_SHA256`.
    pub tls: Option<&'a str>,
    /// RFC 8689: it asked for TLS all the way.
    pub requiretls: bool,
    /// The connection, as the journal names it.
    pub id: Cid,
    /// Only with a single recipient, so that no blind copy shows.
    pub recipient: Option<&'a Address>,
    /// When.
    pub time: Timestamp,
}

/// The peer.
#[derive(Debug)]
pub struct From<'a> {
    /// The EHLO argument.
    pub hello: &'a str,
    /// The address of the connection.
    pub ip: IpAddr,
    /// The name found for the address, and confirmed.
    pub name: Option<&'a Domain>,
}

/// The `with` clause: `[UTF8]SMTP`, `ESMTP`, `ESMTPS`, ...
#[derive(Debug, Clone, Copy, Default)]
pub struct With {
    /// The message needs SMTPUTF8, by its content (SR-21).
    pub utf8: bool,
    /// EHLO was used.
    pub extended: bool,
    /// TLS was on.
    pub tls: bool,
    /// The peer logged in.
    pub authenticated: bool,
}

impl With {
    /// RFC 3848 and RFC 6531 §4.3.
    #[must_use]
    pub fn keyword(self) -> String {
        let mut out = String::from(match (self.utf8, self.extended) {
            (true, _) => "UTF8SMTP",
            (false, true) => "ESMTP",
            (false, false) => return "SMTP".into(),
        });
        if self.tls {
            out.push('S');
        }
        if self.authenticated {
            out.push('A');
        }
        out
    }
}

impl Received<'_> {
    /// The field with its line end.
    #[must_use]
    pub fn write(&self) -> String {
        let mut field = Field::new("Received");
        if let Some(from) = &self.from {
            let literal = Host::Literal(from.ip).to_string();
            let known = match from.name {
                Some(name) => format!("({} {literal})", name.ascii()),
                None => format!("({literal})"),
            };
            field.word("from");
            match Host::parse(from.hello) {
                Ok(Host::Name(name)) => field.word(name.ascii()),
                Ok(literal) => field.word(&literal.to_string()),
                Err(_) => field.word("unknown").word(&comment(from.hello)),
            };
            field.word(&known);
        }
        field.word("by");
        match self.by.unicode() {
            // RFC 6531 §3.7.3; row I8-03: for those who cannot read the other.
            name if self.with.utf8 && name != self.by.ascii() => {
                field.word(name).word(&comment(self.by.ascii()))
            }
            _ => field.word(self.by.ascii()),
        };
        field.word("via tcp with").word(&self.with.keyword());
        if let Some(tls) = self.tls {
            field.word(&comment(tls));
        }
        if self.requiretls {
            field.word("(requiretls)");
        }
        field.word("id").word(&self.id.to_string());
        if let Some(recipient) = self.recipient {
            field.word("for").word(&format!("<{}>", recipient.for_wire(self.with.utf8)));
        }
        field.glue(";").word(&date::format(self.time));
        field.finish()
    }
}

/// `Return-Path: <...>`. RFC 5321 §4.4: by whoever makes the final delivery.
#[must_use]
pub fn return_path(path: &ReversePath) -> String {
    let mut field = Field::new("Return-Path");
    field.word(&format!("<{path}>"));
    field.finish()
}

/// `Delivered-To: ...`. RFC 9228.
#[must_use]
pub fn delivered_to(recipient: &Address) -> String {
    let mut field = Field::new("Delivered-To");
    field.word(&recipient.to_string());
    field.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<'a>(by: &'a Domain, hello: &'a str, to: &'a Address) -> Received<'a> {
        Received {
            from: Some(From { hello, ip: "192.0.2.1".parse().unwrap(), name: None }),
            by,
            with: With { extended: true, tls: true, ..With::default() },
            tls: Some("TLSv1.3 TLS_AES_128_GCM_SHA256"),
            requiretls: true,
            id: Cid(255),
            recipient: Some(to),
            time: Timestamp(880_127_706),
        }
    }

    #[test]
    fn the_field_says_who_how_and_when() {
        let (by, to) = (Domain::parse("mx.example.org").unwrap(), Address::parse("a@example.org").unwrap());
        assert_eq!(
            received(&by, "client.example", &to).write().replace("\r\n\t", " "),
            "Received: from client.example ([192.0.2.1]) by mx.example.org via tcp with ESMTPS (TLSv1.3 TLS_AES_128_GCM_SHA256) \
             (requiretls) id 00000000000000ff for <a@example.org>; Fri, 21 Nov 1997 15:55:06 +0000\r\n"
        );
        let hostile = received(&by, "x\r\nInjected: (y", &to).write();
        assert!(
            hostile.contains("unknown (x  Injected: \\(y)")
                && hostile.lines().skip(1).all(|l| l.starts_with('\t')),
            "{hostile}"
        );
    }

    #[test]
    fn names_of_hosts_are_in_unicode_where_the_message_is() {
        // Row I8-03, RFC 6531 §3.7.3.
        let (by, to) =
            (Domain::parse("mx.b\u{fc}cher.example").unwrap(), Address::parse("a@example.org").unwrap());
        let mut field = received(&by, "client.example", &to);
        let text = field.write().replace("\r\n\t", " ");
        assert!(text.contains(" by mx.xn--bcher-kva.example via "), "{text}");
        field.with.utf8 = true;
        let text = field.write().replace("\r\n\t", " ");
        assert!(text.contains(" by mx.b\u{fc}cher.example (mx.xn--bcher-kva.example) via "), "{text}");
    }

    #[test]
    fn with_keywords() {
        let with = |utf8, extended, tls, authenticated| With { utf8, extended, tls, authenticated }.keyword();
        assert_eq!(with(false, false, false, false), "SMTP");
        assert_eq!(with(false, true, true, true), "ESMTPSA");
        assert_eq!(with(true, true, false, true), "UTF8SMTPA");
    }
}
