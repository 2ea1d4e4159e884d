//! Every key of both files in words, for `mox config describe` and the man pages. A test compares it with the readers.

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct KeyDoc {
    /// File it stands in.
    pub file: &'static str,
    /// Full name; `*` stands for a name of your choice.
    pub key: &'static str,
    /// Default, as written in the file; empty if there is none.
    pub default: &'static str,
    /// An allowed value other than the default, for examples and tests.
    pub example: &'static str,
    /// What it does, with unit and limits.
    pub what: &'static str,
    /// The option of the reference server, where there is one.
    pub reference: &'static str,
}

const fn key(
    file: &'static str,
    key: &'static str,
    default: &'static str,
    example: &'static str,
    reference: &'static str,
    what: &'static str,
) -> KeyDoc {
    KeyDoc { file, key, default, example, what, reference }
}

const S: &str = "mox.toml";
const D: &str = "domains.toml";

/// All keys in the order of the files.
pub const KEYS: &[KeyDoc] = &[
    key(
        S,
        "hostname",
        "",
        "\"mail.example.org\"",
        "Hostname",
        "Name of this host in greetings, EHLO and Received headers; MX records point here. Default: the machine's name.",
    ),
    key(
        S,
        "postmaster",
        "",
        "\"jane\"",
        "Postmaster.Account",
        "Account that receives mail for postmaster at every domain, and mail of this machine's users such as root.",
    ),
    key(
        S,
        "postmaster-mailbox",
        "",
        "\"Postmaster\"",
        "Postmaster.Mailbox",
        "Mailbox of that account where such mail goes. Default: where mail of the account goes.",
    ),
    key(
        S,
        "listeners.*.addresses",
        "",
        "[\"192.0.2.1\"]",
        "Listeners.IPs",
        "IP addresses of this machine whose clients are served as this group says; which there are, and with which services, is said by the socket units.",
    ),
    key(
        S,
        "listeners.*.hostname",
        "",
        "\"mail.internal.example.org\"",
        "Listeners.Hostname",
        "Name of this host for those who connect there; without it hostname. An own certificate is for this name, too.",
    ),
    key(
        S,
        "listeners.*.max-message-size",
        "",
        "\"25MiB\"",
        "Listeners.SMTPMaxMessageSize",
        "Largest message taken there over SMTP, from servers and from people. 64KiB to 4GiB. Default: those of smtp and submission.",
    ),
    key(
        S,
        "listeners.*.first-time-sender-delay",
        "",
        "\"0s\"",
        "Listeners.SMTP.FirstTimeSenderDelay",
        "smtp.first-time-sender-delay there. 0s to 5m.",
    ),
    key(
        S,
        "listeners.*.tls-session-tickets",
        "",
        "true",
        "Listeners.SMTP.TLSSessionTicketsDisabled",
        "smtp.tls-session-tickets there.",
    ),
    key(
        S,
        "pedantic",
        "false",
        "true",
        "Pedantic",
        "Refuse what clients of SMTP in the wild get wrong: spaces where there are none, tabs, 8-bit content that was not announced, Return-Path in submitted messages.",
    ),
    key(
        S,
        "localserve",
        "false",
        "true",
        "",
        "A test instance, as mox localserve makes it: mail for other domains goes to the sender's account instead, and local parts that end in temperror, permerror, timeout or a code from 400 to 599 fail so, those that begin with mailfrom or rcptto already in that command.",
    ),
    key(
        S,
        "service.idle-exit",
        "\"60s\"",
        "\"5m\"",
        "",
        "A service without connections and work exits after this time; systemd starts it again on the next connection. 50ms to 1d.",
    ),
    key(S, "service.store-idle-exit", "\"10m\"", "\"1h\"", "", "The same for the store. 50ms to 1d."),
    key(
        S,
        "service.stop-grace",
        "\"3s\"",
        "\"30s\"",
        "",
        "Time that connections and work at hand get when a service stops. 0s to 300s.",
    ),
    key(
        S,
        "service.bad-client-delay",
        "\"1s\"",
        "\"0s\"",
        "",
        "Pause before each read and between the octets of replies for a client that failed to sign in three times or sent what was refused, and from the fourth failure on as much more before each answer. 0s to 60s; 0s only to try things out.",
    ),
    key(
        S,
        "dns.servers",
        "[]",
        "[\"127.0.0.1:53\"]",
        "",
        "Name servers instead of those of /etc/resolv.conf; port 53 unless given. DNSSEC is validated here, not there.",
    ),
    key(
        S,
        "dns.trust-anchor",
        "",
        "\"/etc/mox/root.key\"",
        "",
        "File with DNSKEY records to trust instead of the root keys built in; for private DNS trees.",
    ),
    key(S, "dns.timeout", "\"5s\"", "\"2s\"", "", "Time for one query. 100ms to 60s."),
    key(
        S,
        "tls.certificate",
        "",
        "\"/etc/mox/tls/chain.pem\"",
        "TLS.KeyCerts.CertFile",
        "PEM file with the certificate chain, leaf first. Without it mox-keys issues certificates from an authority of its own, which mail servers accept and people's programs do not.",
    ),
    key(
        S,
        "tls.key",
        "",
        "\"/etc/mox/tls/key.pem\"",
        "TLS.KeyCerts.KeyFile",
        "PEM file with its private key (PKCS #8). Read by systemd for mox-keys only (LoadCredential).",
    ),
    key(
        S,
        "smtp.max-message-size",
        "\"100MiB\"",
        "\"25MiB\"",
        "SMTPMaxMessageSize",
        "Largest message accepted from other servers. 64KiB to 4GiB.",
    ),
    key(S, "smtp.starttls", "true", "false", "SMTP.NoSTARTTLS", "Offer STARTTLS on port 25."),
    key(
        S,
        "smtp.require-starttls",
        "false",
        "true",
        "SMTP.RequireSTARTTLS",
        "Take mail from other servers under TLS only (530 5.7.0). Some cannot.",
    ),
    key(
        S,
        "smtp.starttls-exempt",
        "[]",
        "[\"tlsreports@example.org\"]",
        "",
        "Addresses that take mail without TLS even where require-starttls is set, besides those for reports about TLS.",
    ),
    key(
        S,
        "smtp.requiretls",
        "true",
        "false",
        "SMTP.NoRequireTLS",
        "Offer REQUIRETLS (RFC 8689) under TLS on port 25.",
    ),
    key(
        S,
        "smtp.verify",
        "true",
        "false",
        "",
        "Check SPF, DKIM, DMARC and reverse DNS of incoming mail. Switch off only to measure.",
    ),
    key(
        S,
        "smtp.max-connections",
        "1000",
        "500",
        "",
        "Connections at once on port 25; further ones get 421. 1 to 100000.",
    ),
    key(
        S,
        "smtp.max-connections-per-ip",
        "30",
        "100",
        "",
        "Of them from one IPv4 address or IPv6 /64; from an IPv4 /26 or IPv6 /48 three times, from a /21 or /32 nine times as many. 1 to 100000.",
    ),
    key(
        S,
        "smtp.new-connections-per-ip",
        "300",
        "1000",
        "",
        "New connections a minute on port 25 from one IPv4 address or IPv6 /64; from wider networks three and nine times as many. 1 to 10000000.",
    ),
    key(
        S,
        "smtp.max-deliveries-per-ip",
        "500",
        "1000",
        "",
        "Messages a minute that one account takes from one IPv4 address or IPv6 /64, and twenty times as many in a day; from wider networks three and nine times as many. More are told to come again (452 4.2.2). 1 to 10000000.",
    ),
    key(
        S,
        "smtp.max-delivery-size-per-ip",
        "\"1000MiB\"",
        "\"2GiB\"",
        "",
        "Their size together, and three times as much in a day. 1MiB to 1PiB.",
    ),
    key(
        S,
        "smtp.dmarc-reject",
        "true",
        "false",
        "",
        "Refuse mail that fails DMARC where the policy of its domain is reject or quarantine (550 5.7.26).",
    ),
    key(
        S,
        "smtp.dns-lists",
        "[]",
        "[\"zen.example.org\"]",
        "DNSBLs",
        "Zones of DNS block lists, asked in this order about senders of whom nothing is known and whose message looks good. A list that fails its test addresses (RFC 5782), looked at every 4 hours, is not asked. At most 20.",
    ),
    key(
        S,
        "smtp.first-time-sender-delay",
        "\"15s\"",
        "\"1m\"",
        "FirstTimeSenderDelay",
        "A sender of whom nothing is known waits so long for the 250 to its message: those who send in bulk do not. Never on a test instance. 0s to 5m.",
    ),
    key(
        S,
        "smtp.tls-session-tickets",
        "false",
        "true",
        "SMTP.TLSSessionTicketsDisabled",
        "Let other servers resume TLS sessions on port 25. Off, because large senders have failed at it.",
    ),
    key(
        S,
        "submission.max-message-size",
        "\"100MiB\"",
        "\"25MiB\"",
        "SMTPMaxMessageSize",
        "Largest message accepted from people. 64KiB to 4GiB.",
    ),
    key(
        S,
        "submission.max-connections",
        "1000",
        "500",
        "",
        "Connections at once on ports 465 and 587. 1 to 100000.",
    ),
    key(
        S,
        "submission.allow-plaintext-login",
        "false",
        "true",
        "Submission.NoRequireSTARTTLS",
        "Allow AUTH without TLS on port 587. Only for private networks.",
    ),
    key(
        S,
        "submission.requiretls",
        "true",
        "false",
        "Submission.NoRequireTLS",
        "Offer REQUIRETLS (RFC 8689) on ports 465 and 587.",
    ),
    key(
        S,
        "submission.max-connections-per-ip",
        "30",
        "100",
        "",
        "Connections at once on ports 465 and 587 from one IPv4 address or IPv6 /64; from an IPv4 /26 or IPv6 /48 three times, from a /21 or /32 nine times as many. 1 to 100000.",
    ),
    key(
        S,
        "submission.new-connections-per-ip",
        "300",
        "1000",
        "",
        "New ones a minute, counted likewise. 1 to 10000000.",
    ),
    key(
        S,
        "submission.client-certificates",
        "true",
        "false",
        "TLS.ClientAuthDisabled",
        "Ask clients for a TLS certificate: one whose key is known signs in without a password (mox tlspubkey).",
    ),
    key(
        S,
        "imap.max-connections",
        "10000",
        "500",
        "",
        "Connections at once on ports 143 and 993. 1 to 1000000.",
    ),
    key(
        S,
        "imap.allow-plaintext-login",
        "false",
        "true",
        "IMAP.NoRequireSTARTTLS",
        "Allow LOGIN without TLS on port 143. Only for private networks.",
    ),
    key(
        S,
        "imap.max-connections-per-ip",
        "30",
        "100",
        "",
        "Connections at once on ports 143 and 993 from one IPv4 address or IPv6 /64; from an IPv4 /26 or IPv6 /48 three times, from a /21 or /32 nine times as many. Mail programs open several each. 1 to 1000000.",
    ),
    key(
        S,
        "imap.new-connections-per-ip",
        "300",
        "1000",
        "",
        "New ones a minute, counted likewise. 1 to 10000000.",
    ),
    key(
        S,
        "imap.client-certificates",
        "true",
        "false",
        "TLS.ClientAuthDisabled",
        "Ask clients for a TLS certificate: one whose key is known signs in without a password, with PREAUTH on port 993 (mox tlspubkey).",
    ),
    key(
        S,
        "imap.max-message-size",
        "\"100MiB\"",
        "\"1GiB\"",
        "",
        "Largest message of an APPEND. 64KiB to 4GiB.",
    ),
    key(S, "queue.port", "25", "1025", "", "Port of other mail servers; other than 25 only for tests."),
    key(S, "queue.max-attempts", "8", "12", "", "Attempts until a message fails for good. 1 to 100."),
    key(
        S,
        "queue.first-retry",
        "\"450s\"",
        "\"60s\"",
        "",
        "Wait before the second attempt; doubles with each. 100ms to 1d.",
    ),
    key(
        S,
        "queue.max-deliveries",
        "10",
        "50",
        "",
        "Deliveries at once, one for each recipient domain. 1 to 1000.",
    ),
    key(
        S,
        "queue.local-target",
        "",
        "\"127.0.0.1:1025\"",
        "",
        "Deliver everything to this address instead of looking up MX hosts, for tests.",
    ),
    key(
        S,
        "queue.monitor-dns-lists",
        "[]",
        "[\"dnsbl.example.net\"]",
        "MonitorDNSBLs",
        "More zones of DNS block lists that are watched for the addresses of this machine, beside smtp.dns-lists: those of [listeners], and those that hostname has in the DNS, unless private. Looked at after 100 connections to other servers, at most every 5 minutes and at least every 3 hours; told in the journal and by mox service show queue (mox_dnsbl_ips_success). At most 20 in all.",
    ),
    key(S, "store.cache", "\"64MiB\"", "\"256MiB\"", "", "Memory for the index. 1MiB to 16GiB."),
    key(
        S,
        "store.quota",
        "",
        "\"10GiB\"",
        "QuotaMessageSize",
        "Mail an account may hold unless it has a quota of its own. From 1MiB. Default: no limit.",
    ),
    key(
        S,
        "store.initial-mailboxes.sent",
        "",
        "\"Verzonden\"",
        "InitialMailboxes.SpecialUse",
        "Mailbox of a new account with this role. Once one key of the section is given, only what is given is made; Inbox always.",
    ),
    key(
        S,
        "store.initial-mailboxes.archive",
        "",
        "\"Archief\"",
        "InitialMailboxes.SpecialUse",
        "Mailbox of a new account with this role. Once one key of the section is given, only what is given is made; Inbox always.",
    ),
    key(
        S,
        "store.initial-mailboxes.trash",
        "",
        "\"Prullenbak\"",
        "InitialMailboxes.SpecialUse",
        "Mailbox of a new account with this role. Once one key of the section is given, only what is given is made; Inbox always.",
    ),
    key(
        S,
        "store.initial-mailboxes.drafts",
        "",
        "\"Concepten\"",
        "InitialMailboxes.SpecialUse",
        "Mailbox of a new account with this role. Once one key of the section is given, only what is given is made; Inbox always.",
    ),
    key(
        S,
        "store.initial-mailboxes.junk",
        "",
        "\"Rommel\"",
        "InitialMailboxes.SpecialUse",
        "Mailbox of a new account with this role. Once one key of the section is given, only what is given is made; Inbox always.",
    ),
    key(
        S,
        "store.initial-mailboxes.regular",
        "[]",
        "[\"Lists\"]",
        "InitialMailboxes.Regular",
        "Further mailboxes of a new account.",
    ),
    key(
        S,
        "store.default-mailboxes",
        "",
        "[\"Sent\", \"Trash\"]",
        "DefaultMailboxes",
        "The older form of initial-mailboxes: a list of names, where Sent, Archive, Trash, Drafts and Junk have that role. Not both.",
    ),
    key(
        S,
        "store.login-failures-per-minute",
        "10",
        "100",
        "",
        "Failed logins from one IPv4 address or IPv6 /64 a minute, over all protocols, and five times as many a day; from an IPv4 /26 or IPv6 /48 three times, from a /21 or /32 nine times as many. More are refused unseen; a good login forgives. 1 to 1000000.",
    ),
    key(
        D,
        "domains.*.disabled",
        "false",
        "true",
        "Disabled",
        "Refuse mail for the domain and from it with a temporary error, keep everything else.",
    ),
    key(
        D,
        "domains.*.localpart-catchall-separators",
        "[]",
        "[\"+\"]",
        "LocalpartCatchallSeparators",
        "What follows one of these in a local part does not matter for delivery: jane+list is jane.",
    ),
    key(
        D,
        "domains.*.localpart-case-sensitive",
        "false",
        "true",
        "LocalpartCaseSensitive",
        "Tell Jane from jane.",
    ),
    key(
        D,
        "domains.*.dkim.sign",
        "",
        "[\"2026a\"]",
        "DKIM.Sign",
        "Selectors of the keys that sign mail of the domain. Without it those sign that were made to. A key stays published and can sign again later.",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.hash",
        "\"sha256\"",
        "\"sha256\"",
        "DKIM.Selectors.Hash",
        "Hash of the signature; no other is allowed (RFC 8301).",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.header-canonicalization",
        "\"relaxed\"",
        "\"simple\"",
        "DKIM.Selectors.Canonicalization.HeaderRelaxed",
        "\"relaxed\" outlives new folding of header fields on the way, \"simple\" nothing (RFC 6376).",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.body-canonicalization",
        "\"relaxed\"",
        "\"simple\"",
        "DKIM.Selectors.Canonicalization.BodyRelaxed",
        "\"relaxed\" outlives changed spaces in the body, \"simple\" only empty lines at its end.",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.headers",
        "",
        "[\"From\", \"To\", \"Subject\", \"Date\"]",
        "DKIM.Selectors.Headers",
        "Fields that are signed where a message has them; From must be one of them. Without it those that RFC 6376 names.",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.seal-headers",
        "",
        "true",
        "DKIM.Selectors.DontSealHeaders",
        "true: none of the signed fields can be added later without breaking the signature; false: all can. Without it: not those that readers see (From, To, Cc, Subject, Date, Message-ID, Reply-To), while mailing lists can add theirs.",
    ),
    key(
        D,
        "domains.*.dkim.selectors.*.expiration",
        "",
        "\"72h\"",
        "DKIM.Selectors.Expiration",
        "How long a signature holds, against mail that is sent again and again. New domains have 72h. 1h to 366d.",
    ),
    key(
        D,
        "domains.*.dmarc.account",
        "",
        "\"jane\"",
        "DMARC.Account",
        "Who gets aggregate reports of DMARC (RFC 7489) that others send about the domain. Without it there is no address for them, and the DNS records to publish name none. The account needs no address in the domain.",
    ),
    key(
        D,
        "domains.*.dmarc.localpart",
        "\"dmarc-reports\"",
        "\"reports\"",
        "DMARC.Localpart",
        "Local part of the address for them. It belongs to no account and no list.",
    ),
    key(
        D,
        "domains.*.dmarc.domain",
        "",
        "\"example.net\"",
        "DMARC.Domain",
        "Another domain of this server for the address, where this one only has its reports here.",
    ),
    key(
        D,
        "domains.*.dmarc.mailbox",
        "\"DMARC\"",
        "\"Reports\"",
        "DMARC.Mailbox",
        "Mailbox for them. What could be read is kept apart as well (mox dmarc reports, mox tlsrpt reports), so the message is marked as seen.",
    ),
    key(
        D,
        "domains.*.tlsrpt.account",
        "",
        "\"jane\"",
        "TLSRPT.Account",
        "Who gets reports about TLS (RFC 8460) that others send about the domain. Without it there is no address for them, and the DNS records to publish name none. The account needs no address in the domain.",
    ),
    key(
        D,
        "domains.*.tlsrpt.localpart",
        "\"tls-reports\"",
        "\"reports\"",
        "TLSRPT.Localpart",
        "Local part of the address for them. It belongs to no account and no list.",
    ),
    key(
        D,
        "domains.*.tlsrpt.domain",
        "",
        "\"example.net\"",
        "TLSRPT.Domain",
        "Another domain of this server for the address, where this one only has its reports here.",
    ),
    key(
        D,
        "domains.*.tlsrpt.mailbox",
        "\"TLSRPT\"",
        "\"Reports\"",
        "TLSRPT.Mailbox",
        "Mailbox for them. What could be read is kept apart as well (mox dmarc reports, mox tlsrpt reports), so the message is marked as seen.",
    ),
    key(
        D,
        "accounts.*.addresses",
        "[]",
        "[\"jane@example.org\", \"@example.org\"]",
        "Destinations",
        "Addresses that deliver to the account, which may also send from them; \"@domain\" takes what nobody else does. The first is the one it sends as by default.",
    ),
    key(D, "accounts.*.full-name", "\"\"", "\"Jane Doe\"", "FullName", "Name of the person."),
    key(
        D,
        "accounts.*.no-custom-password",
        "false",
        "true",
        "NoCustomPassword",
        "Whoever has the account changes its password (mox own password) for one that is made, of 12 characters, and cannot choose it; so it is used nowhere else. An administrator still can. New accounts have it.",
    ),
    key(
        D,
        "accounts.*.login-disabled",
        "",
        "\"closed, please call\"",
        "LoginDisabled",
        "Nobody may sign in; this text is shown after the right password. Mail is still delivered. Printable ASCII, at most 255 characters.",
    ),
    key(
        D,
        "accounts.*.imap-capabilities-disabled",
        "[]",
        "[\"UIDONLY\", \"NOTIFY\"]",
        "IMAPCapabilitiesDisabled",
        "IMAP capabilities that are not announced to the clients of the account, for those that cannot cope with one.",
    ),
    key(
        D,
        "accounts.*.submission-server",
        "false",
        "true",
        "",
        "The account is that of a submission server, which reads by IMAP what people let it with URLs for \"submit+\" (BURL, RFC 4468). It must make sure for itself who submits.",
    ),
    key(
        D,
        "accounts.*.quota",
        "",
        "\"5GiB\"",
        "QuotaMessageSize",
        "Mail the account may hold, from 1MiB, or \"none\" where others have a limit.",
    ),
    key(
        D,
        "accounts.*.mailbox",
        "\"Inbox\"",
        "\"Archive/New\"",
        "Destinations.Mailbox",
        "Mailbox where mail arrives; created when missing.",
    ),
    key(
        D,
        "accounts.*.rejects-mailbox",
        "",
        "\"Rejects\"",
        "RejectsMailbox",
        "Mailbox where refused mail can be looked at: seen already, at most 1000 messages of the last 14 days, none twice. Moving a message out is a sign for later mail. Default: refused mail is not kept.",
    ),
    key(
        D,
        "accounts.*.keep-rejects",
        "false",
        "true",
        "KeepRejects",
        "Keep refused mail for good instead of 1000 messages of 14 days.",
    ),
    key(
        D,
        "accounts.*.keep-retired-messages",
        "\"0s\"",
        "\"7d\"",
        "KeepRetiredMessagePeriod",
        "How long it is known what became of messages that left the queue. 0s to 366d; 7 days where the account is gone.",
    ),
    key(
        D,
        "accounts.*.max-outgoing-messages-per-day",
        "1000",
        "5000",
        "MaxOutgoingMessagesPerDay",
        "Recipients of all messages that the account may send in 24 hours; more get 451 4.7.1. 1 to 1000000.",
    ),
    key(
        D,
        "accounts.*.max-first-time-recipients-per-day",
        "200",
        "500",
        "MaxFirstTimeRecipientsPerDay",
        "Of them, addresses that the account never wrote to before. 1 to 1000000.",
    ),
    key(
        D,
        "accounts.*.fromid-login-addresses",
        "[]",
        "[\"jane+app@example.org\"]",
        "FromIDLoginAddresses",
        "Whoever signs in with one of these sends each copy of a message with a MAIL FROM of its own, jane+<random>@example.org, so that reports tell what they are about. The domain needs a localpart-catchall-separator; a sender that has one already is taken as it is, once, for one recipient.",
    ),
    key(
        D,
        "accounts.*.introbox",
        "",
        "\"Introductions\"",
        "IntroboxName",
        "Mailbox for the first message of an address nobody here has heard of or written to, instead of Inbox. Moving it to where it belongs marks it as no junk.",
    ),
    key(
        D,
        "accounts.*.junk-filter.enabled",
        "false",
        "true",
        "JunkFilter",
        "Judge the content of mail from senders without a reputation by the words of mail marked as junk and not junk. It says nothing before 50 messages were marked as not junk. New accounts have it.",
    ),
    key(
        D,
        "accounts.*.junk-filter.threshold",
        "0.95",
        "0.9",
        "JunkFilter.Threshold",
        "Probability of junk from which a message is refused, 0.5 to 1.0; each message's is up to 0.05 off, but not above 1, so that it cannot be found by trying. All words together must come to 0.9 as well, or to this where it is lower. Who would rather read junk than miss mail sets twograms = true, max-power = 0.001 and 0.99999 here. 0.25, by the strongest words alone, where the sender is unknown and came without TLS, without matching reverse DNS, or does not name the recipient.",
    ),
    key(
        D,
        "accounts.*.junk-filter.onegrams",
        "true",
        "false",
        "JunkFilter.Onegrams",
        "Count single words. Holds for messages that come after a change.",
    ),
    key(
        D,
        "accounts.*.junk-filter.twograms",
        "false",
        "true",
        "JunkFilter.Twograms",
        "Count two words in a row.",
    ),
    key(
        D,
        "accounts.*.junk-filter.threegrams",
        "false",
        "true",
        "JunkFilter.Threegrams",
        "Count three words in a row.",
    ),
    key(
        D,
        "accounts.*.junk-filter.max-power",
        "0.01",
        "0.02",
        "JunkFilter.MaxPower",
        "No word is surer of anything than one less this. 0.0001 to 0.4.",
    ),
    key(
        D,
        "accounts.*.junk-filter.top-words",
        "10",
        "15",
        "JunkFilter.TopWords",
        "Words that speak loudest for junk, and as many for no junk, that decide. 1 to 1000.",
    ),
    key(
        D,
        "accounts.*.junk-filter.ignore-words",
        "0.1",
        "0.2",
        "JunkFilter.IgnoreWords",
        "Words closer to one half than this say nothing. 0 to 0.49.",
    ),
    key(
        D,
        "accounts.*.junk-filter.rare-words",
        "2",
        "1",
        "JunkFilter.RareWords",
        "Words seen in this many messages or fewer say less. 0 to 9.",
    ),
    key(
        D,
        "accounts.*.arc-trusted-sealers",
        "[]",
        "[\"lists.example.org\"]",
        "",
        "Domains that forward mail to the account, such as mailing lists: where DMARC asks to refuse a message, but one of these sealed it last (RFC 8617), the chain is whole and the seal says that DMARC passed there, the message is judged as if it had.",
    ),
    key(
        D,
        "accounts.*.no-first-time-sender-delay",
        "false",
        "true",
        "NoFirstTimeSenderDelay",
        "Take messages of new senders without letting them wait for smtp.first-time-sender-delay.",
    ),
    key(
        D,
        "accounts.*.subject-pass",
        "\"0s\"",
        "\"12h\"",
        "SubjectPass.Period",
        "A message that looks a little like junk from a new sender with DMARC pass is refused with a token; with the token in its subject it is taken within this time. 0s for never, to 30d. New accounts have 12h.",
    ),
    key(
        D,
        "accounts.*.automatic-junk-flags.enabled",
        "false",
        "true",
        "AutomaticJunkFlags.Enabled",
        "Mark messages that are delivered, moved or copied to a mailbox as junk or not junk by its name. Without patterns those of the reference hold: junk and spam are junk; inbox, introbox, neutral, postmaster, dmarc, tlsrpt and rejects are neither; the rest is not junk. A mailbox with the junk role is always junk. New accounts have it.",
    ),
    key(
        D,
        "accounts.*.automatic-junk-flags.junk-mailbox-regexp",
        "",
        "\"^(junk|spam)\"",
        "AutomaticJunkFlags.JunkMailboxRegexp",
        "Names of mailboxes, in lower case, whose messages are junk. Asked first. Of three patterns the one that is missing takes what the two others leave.",
    ),
    key(
        D,
        "accounts.*.automatic-junk-flags.neutral-mailbox-regexp",
        "",
        "\"^(inbox|rejects)\"",
        "AutomaticJunkFlags.NeutralMailboxRegexp",
        "Names of mailboxes whose messages are neither. Asked second.",
    ),
    key(
        D,
        "accounts.*.automatic-junk-flags.not-junk-mailbox-regexp",
        "",
        "\"^(archive|lists/)\"",
        "AutomaticJunkFlags.NotJunkMailboxRegexp",
        "Names of mailboxes whose messages are not junk. Asked last.",
    ),
    key(
        D,
        "accounts.*.destinations.*.mailbox",
        "",
        "\"Post\"",
        "Destinations.Mailbox",
        "Mailbox for mail to this address of the account that no rule takes. Default: that of the account.",
    ),
    key(
        D,
        "accounts.*.destinations.*.smtp-error",
        "",
        "\"550 no such user here\"",
        "Destinations.SMTPError",
        "Other servers are refused at RCPT TO with this line: 421 (for now) or 550 (for good), and words if you like. For single addresses where a catch-all takes the rest of the domain.",
    ),
    key(
        D,
        "accounts.*.destinations.*.message-auth-required-smtp-error",
        "",
        "\"messages must be authenticated\"",
        "Destinations.MessageAuthRequiredSMTPError",
        "A message is refused with these words (550 5.7.26; 451 4.7.26 where DNS fails) unless SPF or DKIM proves the domain in its From, as strictly as that domain's DMARC policy says. For addresses that answer by themselves.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.mailbox",
        "",
        "\"Lists/rust\"",
        "Rulesets.Mailbox",
        "Mailbox of a rule. Rules stand in a list of tables [[accounts.*.destinations.*.rules]]; everything a rule gives must match, the first that matches decides.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.mail-from",
        "",
        "\"@lists[.]example[.]org$\"",
        "Rulesets.SMTPMailFromRegexp",
        "Regular expression found in MAIL FROM, in lower case.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.from",
        "",
        "\"^jane@\"",
        "Rulesets.MsgFromRegexp",
        "Regular expression found in the address of From, in lower case.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.verified-domain",
        "",
        "\"example.org\"",
        "Rulesets.VerifiedDomain",
        "SPF or DKIM must have passed for this domain or one below it.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.headers",
        "",
        "{ \"^list-id$\" = \"<rust[.]example>\" }",
        "Rulesets.HeadersRegexp",
        "Regular expressions for names and values of header fields, both in lower case; each pair must match a field.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.is-forward",
        "false",
        "true",
        "Rulesets.IsForward",
        "The message comes through a server of your own: that server is neither praised nor blamed for it.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.list-allow-domain",
        "",
        "\"lists.example.org\"",
        "Rulesets.ListAllowDomain",
        "Where SPF or DKIM passed for this domain the message is taken without further judgement, even if DMARC fails.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.accept-rejects-to-mailbox",
        "",
        "\"Junk\"",
        "Rulesets.AcceptRejectsToMailbox",
        "Mailbox for messages that would be refused: they are taken instead.",
    ),
    key(
        D,
        "accounts.*.destinations.*.rules.*.comment",
        "\"\"",
        "\"the list about rust\"",
        "Rulesets.Comment",
        "For people.",
    ),
    key(
        D,
        "aliases.*.addresses",
        "",
        "[\"jane@example.org\"]",
        "Aliases.Addresses",
        "Members of the list: [aliases.\"team@example.org\"]. Each is an address of an account here. A list is not a way to give an account one more address: that goes into addresses of the account. At most 1000.",
    ),
    key(
        D,
        "aliases.*.post-public",
        "true",
        "false",
        "Aliases.PostPublic",
        "Anyone may write to the list; if false, only those whose address in From is a member's.",
    ),
    key(
        D,
        "aliases.*.allow-msg-from",
        "false",
        "true",
        "Aliases.AllowMsgFrom",
        "Members may send with the address of the list in From.",
    ),
    key(
        D,
        "aliases.*.list-members",
        "false",
        "true",
        "Aliases.ListMembers",
        "Members may see the addresses of the other members: mox own lists.",
    ),
];

/// All keys as a commented text for people.
#[must_use]
pub fn describe() -> String {
    let mut text = String::new();
    for doc in KEYS {
        text.push_str(&format!("# {}: {}\n", doc.file, doc.key));
        text.push_str(&format!("#   {}\n", doc.what));
        if !doc.default.is_empty() {
            text.push_str(&format!("#   Default: {}\n", doc.default));
        }
        text.push_str(&format!("#   Example: {}\n", doc.example));
        if !doc.reference.is_empty() {
            text.push_str(&format!("#   In mox (Go): {}\n", doc.reference));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Domains, Static};

    /// Each documented key is accepted with its example, and nothing is documented that is not read.
    #[test]
    fn every_documented_key_is_read() {
        for doc in KEYS {
            let name = match doc.key.split('.').next() {
                Some("domains") => "\"example.org\"",
                Some("aliases") => "\"team@example.org\"",
                _ => "jane",
            };
            let second = if doc.key.contains(".dkim.") { "2026a" } else { "\"jane@example.org\"" };
            let full = doc.key.replacen('*', name, 1).replacen('*', second, 1);
            let domain = match doc.key {
                key if key.contains("destinations") => {
                    "[domains.\"example.org\"]\n[accounts.jane]\naddresses = [\"jane@example.org\"]\n"
                }
                key if key.starts_with("accounts") => "[domains.\"example.org\"]\n",
                key if key.contains(".dmarc.") || key.contains(".tlsrpt.") => {
                    "[domains.\"example.net\"]\n[accounts.jane]\n"
                }
                key if key.starts_with("aliases") => {
                    "[domains.\"example.org\"]\n[accounts.jane]\naddresses = [\"jane@example.org\"]\n"
                }
                _ => "",
            };
            for value in [doc.example, doc.default] {
                if value.is_empty() {
                    continue;
                }
                let pair = match full.as_str() {
                    key if key.starts_with("listeners") && !key.ends_with("addresses") => {
                        "listeners.jane.addresses = [\"192.0.2.1\"]\n"
                    }
                    "tls.key" => "tls.certificate = \"/c\"\n",
                    "tls.certificate" => "tls.key = \"/k\"\n",
                    _ => "",
                };
                let text = format!("{pair}{full} = {value}\n");
                let outcome = if doc.file == S {
                    Static::parse(&text).map(|_| ())
                } else {
                    let (table, last) = full.rsplit_once('.').unwrap();
                    // Of a list of tables, with what each of its tables needs.
                    let text = match table.strip_suffix(".*") {
                        Some(list) => {
                            let more = match last {
                                "mailbox" => "from = \"x\"\n",
                                "mail-from" | "from" | "verified-domain" | "headers" => "mailbox = \"x\"\n",
                                _ => "mailbox = \"x\"\nfrom = \"x\"\n",
                            };
                            format!("{domain}[[{list}]]\n{more}{last} = {value}\n")
                        }
                        None if table.starts_with("aliases") && last != "addresses" => {
                            format!(
                                "{domain}[{table}]\naddresses = [\"jane@example.org\"]\n{last} = {value}\n"
                            )
                        }
                        None if [".dmarc", ".tlsrpt"].iter().any(|kind| table.ends_with(kind))
                            && last != "account" =>
                        {
                            format!("{domain}[{table}]\naccount = \"jane\"\n{last} = {value}\n")
                        }
                        None => format!("{domain}[{table}]\n{last} = {value}\n"),
                    };
                    Domains::parse(&text).map(|_| ())
                };
                assert_eq!(outcome.map_err(|m| m.lines()), Ok(()), "{text}");
            }
        }
    }

    /// Each key the readers take is documented: the names in their sources are compared with the table.
    #[test]
    fn every_key_that_is_read_is_documented() {
        for (file, source) in [
            (S, include_str!("statics.rs")),
            (S, include_str!("listeners.rs")),
            (D, include_str!("dkim.rs")),
            (D, include_str!("domains.rs")),
            (D, include_str!("rules.rs")),
            (D, include_str!("junk.rs")),
            (D, include_str!("reports.rs")),
        ] {
            let source = source.split("#[cfg(test)]").next().unwrap();
            for call in [
                "s.text(",
                "s.texts(",
                "s.yes_no(",
                "s.optional_yes_no(",
                "s.number(",
                "s.duration(",
                "s.bytes(",
                "s.optional_bytes(",
                ".optional_duration(",
                "s.pairs(",
                "s.fraction(",
                "root.text(",
            ] {
                for at in source.match_indices(call) {
                    let name = source[at.0 + call.len()..].split('"').nth(1).unwrap();
                    let known =
                        KEYS.iter().any(|doc| doc.file == file && doc.key.rsplit('.').next() == Some(name));
                    assert!(known, "{name} of {file} is not documented");
                }
            }
        }
    }
}
