//! What a connection announces, and what a client can switch on.
//!
//! Law: RFC 9051 §6.1.1 and §7.2.2, RFC 5161; row IM-47.

use super::{Session, State};
use crate::response::{Code, Status, Style, put, untagged};

/// What works, beside the revisions and how to sign in.
const CAPABILITIES: [&str; 47] = [
    "LITERAL+",
    "ENABLE",
    "ID",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "CHILDREN",
    "UIDPLUS",
    "MOVE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "BINARY",
    "CONDSTORE",
    "QRESYNC",
    "METADATA",
    "LIST-METADATA",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "OBJECTID",
    "SAVEDATE",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "PARTIAL",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "FILTERS",
    "MULTISEARCH",
    "UIDONLY",
    "NOTIFY",
    "UNAUTHENTICATE",
    "INPROGRESS",
    "PREVIEW",
    "MULTIAPPEND",
    "CATENATE",
    "URLAUTH",
    // RFC 5550 §5.7.1: for both of them.
    "URL-PARTIAL",
    "REPLACE",
    "UTF8=ACCEPT",
];

/// What the client switched on. RFC 5161.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Enabled {
    /// `IMAP4rev2`
    pub rev2: bool,
    /// `UTF8=ACCEPT`
    pub utf8: bool,
    /// `CONDSTORE`, or implied by a command that speaks of modseqs.
    pub condstore: bool,
    /// `QRESYNC`
    pub qresync: bool,
    /// `METADATA`: changes by others are told.
    pub metadata: bool,
    /// `UIDONLY`: there are no numbers. RFC 9586.
    pub uid_only: bool,
}

impl Enabled {
    pub(super) fn style(self) -> Style {
        Style { mod_seq: self.condstore, uid_only: self.uid_only }
    }
}

impl Session {
    /// What this connection can do now.
    #[must_use]
    pub fn capabilities(&self) -> String {
        let rev2 = if self.is_off("IMAP4rev2") { "" } else { "IMAP4rev2 " };
        let mut list = format!("{rev2}IMAP4rev1");
        let mut add = |name: &str| {
            if !self.is_off(name) {
                list.push(' ');
                list.push_str(name);
            }
        };
        if matches!(self.state, State::NotAuthenticated) {
            if self.offers.starttls {
                add("STARTTLS");
            }
            if self.offers.passwords {
                add("SASL-IR");
                self.offers.mechanisms.iter().for_each(|name| add(&format!("AUTH={name}")));
            } else {
                add("LOGINDISABLED");
            }
        }
        CAPABILITIES.iter().for_each(|name| add(name));
        if self.is_signed_in() && !self.compressed {
            add("COMPRESS=DEFLATE");
        }
        add(&format!("APPENDLIMIT={}", self.offers.append_limit));
        list
    }

    /// Row IM-47.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.disabled.iter().any(|off| off.eq_ignore_ascii_case(name))
    }

    pub(super) fn enable(&mut self, names: &[String], out: &mut Vec<u8>) {
        let mut condstore = false;
        put(out, "* ENABLED");
        for name in names {
            let name = match name.as_str() {
                name if self.is_off(name) => continue,
                "IMAP4REV2" => {
                    self.enabled.rev2 = true;
                    "IMAP4rev2"
                }
                "UTF8=ACCEPT" => {
                    self.enabled.utf8 = true;
                    "UTF8=ACCEPT"
                }
                "CONDSTORE" => {
                    condstore = true;
                    "CONDSTORE"
                }
                // RFC 7162 §3.2.3: it brings CONDSTORE along.
                "QRESYNC" => {
                    condstore = true;
                    self.enabled.qresync = true;
                    "QRESYNC"
                }
                // RFC 5464 §4.1.
                "METADATA" => {
                    self.enabled.metadata = true;
                    "METADATA"
                }
                // RFC 9586.
                "UIDONLY" => {
                    self.enabled.uid_only = true;
                    "UIDONLY"
                }
                // RFC 5161 §3.1: what we do not know we leave out.
                _ => continue,
            };
            put(out, " ");
            put(out, name);
        }
        put(out, "\r\n");
        if condstore {
            self.speak_of_mod_seqs(out);
        }
    }

    /// The client speaks of modseqs: from now on it is told them. RFC 7162 §3.1: the first such command in an open
    /// mailbox is answered with what that mailbox has.
    pub(super) fn speak_of_mod_seqs(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.enabled.condstore, true) {
            return;
        }
        if let State::Selected(selected) = &self.state {
            untagged(out, Status::Ok, Some(&Code::HighestModSeq(selected.told_mod_seq())), "highest");
        }
    }
}
