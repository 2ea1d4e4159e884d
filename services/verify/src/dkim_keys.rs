//! The keys of a message's signatures, looked up here and handed to the library: it asks nothing itself, so every lookup
//! is counted, told with its DNSSEC status, and made once.
//!
//! Law: RFC 6376 §3.6.2.

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use libmox_service::dns::{Asker, Dns};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::{DnsError, Error, ResolverCache, Txt};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

/// By name, in lower case with its last dot.
pub struct DkimKeys(HashMap<Box<str>, DkimKey>);

/// What is published under one name.
pub struct DkimKey {
    parsed: Txt,
    /// The records in text.
    pub texts: Vec<String>,
    /// DNSSEC proves them, or that there are none.
    pub authentic: bool,
    /// Why nothing is known.
    pub fault: Option<String>,
}

impl DkimKeys {
    /// Looks them up, each once.
    pub async fn fetch(dns: &Dns, asker: Asker, names: impl Iterator<Item = String>) -> Self {
        let mut keys = HashMap::new();
        for name in names {
            let name = name.to_lowercase().into_boxed_str();
            if let Entry::Vacant(place) = keys.entry(name) {
                let key = DkimKey::fetch(dns, asker, place.key()).await;
                place.insert(key);
            }
        }
        Self(keys)
    }

    /// Of a name, if it was looked up.
    pub fn key(&self, name: &str) -> Option<&DkimKey> {
        self.0.get(name.to_lowercase().as_str())
    }
}

impl DkimKey {
    async fn fetch(dns: &Dns, asker: Asker, name: &str) -> Self {
        let answer = match dns.lookup(asker, name, RecordType::TXT).await {
            Ok(answer) => answer,
            Err(fault) => {
                let fault = format!("key {name} {fault}");
                let parsed = Txt::Error(Error::Dns(DnsError::Resolver(fault.clone())));
                return Self { parsed, texts: Vec::new(), authentic: false, fault: Some(fault) };
            }
        };
        let mut parsed = nothing();
        let mut texts = Vec::new();
        for text in answer.texts() {
            // RFC 6376 §3.6.2.2: of several records any may be taken; the first that can be read is.
            if !matches!(parsed, Txt::DomainKey(_)) {
                parsed = match DomainKey::parse(&text) {
                    Ok(key) => Txt::DomainKey(Arc::new(key)),
                    Err(error) => Txt::Error(error),
                };
            }
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        Self { parsed, texts, authentic: answer.authentic, fault: None }
    }
}

fn nothing() -> Txt {
    Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)))
}

impl ResolverCache<Box<str>, Txt> for DkimKeys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.0.get(name).map_or_else(nothing, |key| key.parsed.clone()))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: std::time::Instant) {}
}
