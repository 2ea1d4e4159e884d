//! One delivery: the recipients of one message at one domain.
//!
//! Law: RFC 5321 §4.5.4 (retries), §5.1 (hosts and addresses in order), RFC 3207.

use crate::dial::Link;
use crate::report::News;
use crate::{Shared, here, limits, mx, report, sign};
use libmox_service::clock;
use libmox_service::dns::Asker;
use libmox_smtp::client::{Action, Client, Extensions, Failure, Outcome, RcptReports, TlsWish, Transaction};
use libmox_smtp::data::Encoder;
use libmox_store::{AttemptResult, Content, QueueAttempt, QueueEntry, QueueOpen, QueueResult, TlsSupportSet};
use libmox_types::{Domain, Timestamp};
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Entries that travel together.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// At least one; the same message, domain and number of attempts.
    pub entries: Vec<QueueEntry>,
    /// Where to.
    pub domain: Domain,
}

/// Wait behind the attempt with this number, counted from 1: doubling (row QU-01).
pub fn wait_after(first: Duration, attempt: u32) -> i64 {
    let doubled = first.as_secs_f64() * f64::from(1u32 << attempt.saturating_sub(1).min(20));
    // A year is for ever; and a fraction of a second still is a wait.
    #[expect(clippy::cast_possible_truncation, reason = "bounded on both sides")]
    let seconds = doubled.clamp(1.0, 31_536_000.0) as i64;
    seconds
}

/// What a conversation came to.
struct Talked {
    outcomes: Vec<Outcome>,
    /// The server makes reports itself (RFC 3461 §5.2.1).
    reports: bool,
}

/// Tries once and reports the results to the store.
pub async fn deliver(shared: Arc<Shared>, delivery: Delivery) {
    let config = shared.context.config();
    let attempt = delivery.entries.first().map_or(0, |e| e.attempts) + 1;
    let wait = wait_after(config.queue.first_retry, attempt);
    let next = clock::now().plus(wait);
    let ids = delivery.entries.iter().map(|e| e.id).collect();
    // Recorded before dialing: if we die, the message is tried again then.
    let still_there = match shared.store.ask(QueueAttempt { ids, next_attempt: next }).await {
        Ok(ids) => ids,
        Err(error) => {
            tracing::warn!(mox_reason = %error, "attempt cannot be recorded, not made");
            return;
        }
    };
    let entries: Vec<QueueEntry> =
        delivery.entries.into_iter().filter(|e| still_there.contains(&e.id)).collect();
    if entries.is_empty() {
        return;
    }
    let began = tokio::time::Instant::now();
    // A target named in the configuration gets everything.
    if config.queue.local_target.is_none() {
        // Once it is delivered it is out of the queue, and its header with it.
        let header = report::header_for_success(&shared, &entries).await;
        match here::deliver(&shared, &entries).await {
            Ok(Some(outcomes)) => {
                let (left, outcomes, done) = settled(entries, outcomes, attempt);
                report_delivered(&shared, &done, header).await;
                let talked = Talked { outcomes, reports: false };
                return finish(&shared, &left, talked, attempt, next, since(began)).await;
            }
            Ok(None) => {}
            Err(failure) => {
                let talked =
                    Talked { outcomes: vec![Outcome::Refused(failure); entries.len()], reports: false };
                return finish(&shared, &entries, talked, attempt, next, since(began)).await;
            }
        }
    }
    let talked = tokio::time::timeout(limits::DELIVERY, attempt_all(&shared, &entries, &delivery.domain))
        .await
        .unwrap_or_else(|_| Err(Failure::local(false, "4.4.7", "delivery took too long")));
    let talked = talked.unwrap_or_else(|failure| Talked {
        outcomes: vec![Outcome::Refused(failure); entries.len()],
        reports: false,
    });
    finish(&shared, &entries, talked, attempt, next, since(began)).await;
}

fn since(began: tokio::time::Instant) -> u32 {
    u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX)
}

/// What was delivered here left the queue with that; the rest goes on.
fn settled(
    entries: Vec<QueueEntry>,
    outcomes: Vec<here::Outcome>,
    attempt: u32,
) -> (Vec<QueueEntry>, Vec<Outcome>, Vec<QueueEntry>) {
    let mut left = (Vec::new(), Vec::new(), Vec::new());
    for (entry, outcome) in entries.into_iter().zip(outcomes) {
        match outcome {
            here::Outcome::Done => {
                log(&entry, libmox_store::Outcome::Delivered, "delivered here", attempt);
                left.2.push(entry);
            }
            here::Outcome::Gone => {}
            here::Outcome::Refused(failure) => {
                left.0.push(entry);
                left.1.push(Outcome::Refused(failure));
            }
        }
    }
    left
}

async fn finish(
    shared: &Arc<Shared>,
    entries: &[QueueEntry],
    talked: Talked,
    attempt: u32,
    next: Timestamp,
    took_ms: u32,
) {
    let Talked { outcomes, reports } = talked;
    let config = shared.context.config();
    let last = u64::from(attempt) >= config.queue.max_attempts;
    let mut results = Vec::new();
    let mut news = Vec::new();
    for (entry, outcome) in entries.iter().zip(outcomes) {
        let (result, text) = match &outcome {
            Outcome::Delivered(answer) => (libmox_store::Outcome::Delivered, answer.to_string()),
            Outcome::Refused(failure) if failure.permanent || last => {
                (libmox_store::Outcome::Failed, failure.text.clone())
            }
            Outcome::Refused(failure) => (libmox_store::Outcome::Later(next), failure.text.clone()),
            Outcome::NotTried => {
                (libmox_store::Outcome::Later(clock::now()), "server takes fewer recipients at once".into())
            }
        };
        log(entry, result, &text, attempt);
        match outcome {
            Outcome::Refused(failure) => news.push(News::Bad(entry.clone(), failure, result)),
            // RFC 3461 §5.2.2: where nobody further on can say so, we say how far it came.
            Outcome::Delivered(answer) if !reports => news.push(News::Relayed(entry.clone(), answer)),
            Outcome::Delivered(_) | Outcome::NotTried => {}
        }
        results.push(AttemptResult { id: entry.id, outcome: result, text, took_ms });
    }
    if results.is_empty() {
        return;
    }
    let report = report::about(shared, &news, attempt).await;
    let verb = QueueResult { results, report };
    // The store may be restarting: a result is worth some patience, for without it the message goes out again.
    for pause in [0u64, 1, 2, 4, 8, 16] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        match shared.store.ask(verb.clone()).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(mox_reason = %error, "result cannot be recorded yet"),
        }
    }
    tracing::error!("result was not recorded: the message will be tried again");
}

/// Whoever asked to hear of success hears of it. The message is delivered: a report that is lost now is lost.
async fn report_delivered(shared: &Shared, done: &[QueueEntry], header: Option<Vec<u8>>) {
    let news: Vec<News> = done.iter().map(|entry| News::Delivered(entry.clone())).collect();
    let Some(report) = report::good(shared, &news, &header.unwrap_or_default()) else { return };
    let verb = QueueResult { results: Vec::new(), report: Some(report) };
    if let Err(error) = shared.store.repeat(verb).await {
        tracing::warn!(mox_reason = %error, "report of a delivery is lost");
    }
}

fn log(entry: &QueueEntry, result: libmox_store::Outcome, text: &str, attempt: u32) {
    let (cid, id, to) = (entry.cid, entry.id, entry.recipient.address.for_log());
    match result {
        libmox_store::Outcome::Delivered => tracing::info!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0a021", mox_cid = %cid, mox_queue_id = %id, mox_recipient = %to,
            mox_attempt = attempt, mox_reason = text, "delivered to {to}"
        ),
        libmox_store::Outcome::Later(_) => tracing::warn!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0a022", mox_cid = %cid, mox_queue_id = %id, mox_recipient = %to,
            mox_attempt = attempt, mox_reason = text, "not delivered to {to} yet: {text}"
        ),
        libmox_store::Outcome::Failed => tracing::warn!(
            message_id = "5e1f7e0c1d0b4c3c9a1de1a5c0f0a023", mox_cid = %cid, mox_queue_id = %id, mox_recipient = %to,
            mox_attempt = attempt, mox_reason = text, "given up for {to}: {text}"
        ),
    }
}

/// All hosts and addresses in order until one gives a verdict.
async fn attempt_all(shared: &Shared, entries: &[QueueEntry], domain: &Domain) -> Result<Talked, Failure> {
    let config = shared.context.config();
    if let Some(target) = config.queue.local_target {
        return talk(shared, entries, "localhost.", target).await;
    }
    let mut last = Failure::local(false, "4.4.1", &format!("{domain}: no host could be tried"));
    let mut tried = 0;
    for host in mx::hosts(&shared.dns, domain).await? {
        let addresses: Vec<SocketAddr> = match shared.dns.addresses(Asker::Queue, &host).await {
            Ok(found) if found.records.is_empty() => {
                last = Failure::local(false, "4.4.3", &format!("{host} has no address"));
                continue;
            }
            Ok(found) => found.addresses().map(|ip| SocketAddr::new(ip, config.queue.port)).collect(),
            Err(error) => {
                last = Failure::local(false, "4.4.3", &format!("address of {host}: {error}"));
                continue;
            }
        };
        for address in addresses {
            tried += 1;
            if tried > limits::ADDRESSES {
                return Err(last);
            }
            match talk(shared, entries, &host, address).await {
                Ok(talked) => return Ok(talked),
                Err(failure) if failure.permanent => return Err(failure),
                Err(failure) => last = failure,
            }
        }
    }
    Err(last)
}

/// One host; in plain text where its TLS is broken (row TP-07).
async fn talk(
    shared: &Shared,
    entries: &[QueueEntry],
    host: &str,
    address: SocketAddr,
) -> Result<Talked, Failure> {
    match converse(shared, entries, host, address, TlsWish::Opportunistic).await {
        Err(failure) if failure.status == "4.7.5" => {
            tracing::info!(mox_remote_ip = %address.ip(), mox_reason = failure.text, "TLS failed, trying without");
            converse(shared, entries, host, address, TlsWish::Never).await
        }
        other => other,
    }
}

async fn converse(
    shared: &Shared,
    entries: &[QueueEntry],
    host: &str,
    address: SocketAddr,
    tls: TlsWish,
) -> Result<Talked, Failure> {
    let config = shared.context.config();
    let first = entries.first().ok_or_else(|| Failure::local(false, "4.3.0", "nothing to deliver"))?;
    let signature = sign::signature(shared, first).await?;
    let mut link = Link::connect(address).await?;
    let mut client = Client::new(&config.hostname, tls);
    let transaction = Transaction {
        from: first.mail_from.clone(),
        recipients: entries.iter().map(|e| e.recipient.address.clone()).collect(),
        reports: entries
            .iter()
            .map(|e| RcptReports { notify: e.recipient.notify.clone(), orcpt: e.recipient.orcpt.clone() })
            .collect(),
        ret: first.wishes.ret.clone(),
        envelope_id: first.wishes.envelope_id.clone(),
        size: first.size.0 + signature.len() as u64,
        smtputf8: first.needs.smtputf8,
        eight_bit: first.needs.eight_bit,
        binary: first.needs.binary,
        requiretls: first.needs.require_tls == Some(true),
    };
    // The server speaks first.
    let mut action = Action::Exchange(Vec::new());
    let mut support = None;
    let mut wait = limits::REPLY;
    loop {
        action = match action {
            Action::Exchange(bytes) => {
                if !bytes.is_empty() {
                    link.send(&bytes).await?;
                }
                let answer = link.reply(wait).await?;
                wait = limits::REPLY;
                client.on_reply(&answer)
            }
            Action::StartTls => {
                link = link.start_tls(&shared.tls, host).await?;
                client.on_tls()
            }
            Action::Ready => {
                support = Some(support_of(first, link.tls.is_some(), client.extensions()));
                client.begin(&transaction)
            }
            Action::Body => {
                send_body(shared, first, signature.as_bytes(), &mut link).await?;
                wait = limits::END_OF_DATA;
                client.on_sent()
            }
            Action::Chunk => {
                send_chunk(shared, first, signature.as_bytes(), &mut link).await?;
                wait = limits::END_OF_DATA;
                client.on_sent()
            }
            Action::Finished(outcomes) => {
                let bye = client.quit();
                if link.send(&bye).await.is_ok() {
                    let _ = link.reply(Duration::from_secs(2)).await;
                }
                tracing::debug!(mox_remote_ip = %address.ip(), tls = link.tls, "conversation over");
                remember(shared, support).await;
                return Ok(Talked { outcomes, reports: client.extensions().dsn });
            }
            Action::Failed(failure) => {
                let bye = client.quit();
                let _ = link.send(&bye).await;
                remember(shared, support).await;
                return Err(failure);
            }
        }
    }
}

/// Row ST-38: what the server of the recipient can do. Under TLS nobody offers STARTTLS again (RFC 3207 §4.2).
fn support_of(entry: &QueueEntry, tls: bool, extensions: &Extensions) -> TlsSupportSet {
    TlsSupportSet {
        account: entry.account,
        domain: entry.recipient.address.domain.clone(),
        starttls: tls || extensions.starttls,
        require_tls: extensions.requiretls,
    }
}

/// For whoever writes there next; not knowing it costs nobody a delivery.
async fn remember(shared: &Shared, support: Option<TlsSupportSet>) {
    let Some(support) = support.filter(|_| shared.context.config().queue.local_target.is_none()) else {
        return;
    };
    if let Err(error) = shared.store.ask(support).await {
        tracing::debug!(%error, "what the server can do is not recorded");
    }
}

fn unreadable(what: &str) -> Failure {
    Failure::local(false, "4.3.0", &format!("message cannot be read: {what}"))
}

/// Prefix and file of a message, for whoever sends it.
async fn open_body(shared: &Shared, entry: &QueueEntry) -> Result<Pieces, Failure> {
    let (content, descriptors) = shared
        .store
        .ask_with(QueueOpen(entry.id), Vec::new())
        .await
        .map_err(|error| unreadable(&error.to_string()))?;
    Pieces::new(content, descriptors).map_err(|error| unreadable(&error.to_string()))
}

/// A signature, prefix and file, with dots stuffed, in pieces.
async fn send_body(
    shared: &Shared,
    entry: &QueueEntry,
    signature: &[u8],
    link: &mut Link,
) -> Result<(), Failure> {
    let mut pieces = open_body(shared, entry).await?;
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    encoder.feed(signature, &mut out);
    let mut left = entry.size.0;
    while let Some(piece) = pieces.next().await.map_err(|error| unreadable(&error.to_string()))? {
        left = left.saturating_sub(piece.len() as u64);
        encoder.feed(&piece, &mut out);
        link.send(&out).await?;
        out.clear();
    }
    if left > 0 {
        // The end of data must not be sent for half a message.
        return Err(unreadable("it is shorter than its record says"));
    }
    encoder.finish(&mut out);
    link.send(&out).await
}

/// The same as it is, all of it in one chunk. RFC 3030 §2.
async fn send_chunk(
    shared: &Shared,
    entry: &QueueEntry,
    signature: &[u8],
    link: &mut Link,
) -> Result<(), Failure> {
    let mut pieces = open_body(shared, entry).await?;
    let mut left = entry.size.0;
    link.send(format!("BDAT {} LAST\r\n", left + signature.len() as u64).as_bytes()).await?;
    link.send(signature).await?;
    while let Some(piece) = pieces.next().await.map_err(|error| unreadable(&error.to_string()))? {
        // Not one octet more than was promised: it would be a command.
        left = left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| unreadable("it is longer than its record says"))?;
        link.send(&piece).await?;
    }
    if left > 0 { Err(unreadable("it is shorter than its record says")) } else { Ok(()) }
}

/// The bytes of a message in pieces: prefix, then file.
pub struct Pieces {
    prefix: Option<Vec<u8>>,
    inline: Option<Vec<u8>>,
    file: Option<std::fs::File>,
}

impl Pieces {
    /// Of what the store gave.
    pub fn new(content: Content, descriptors: Vec<OwnedFd>) -> std::io::Result<Self> {
        let inline = content.inline.map(serde_bytes::ByteBuf::into_vec);
        let file = descriptors.into_iter().next().map(std::fs::File::from);
        if inline.is_none() && file.is_none() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        Ok(Self { prefix: Some(content.prefix), inline, file })
    }

    /// The same, of the file only.
    pub fn without_prefix(mut content: Content, descriptors: Vec<OwnedFd>) -> std::io::Result<Self> {
        content.prefix.clear();
        let mut pieces = Self::new(content, descriptors)?;
        pieces.prefix = None;
        Ok(pieces)
    }

    /// The next piece; none at the end.
    pub async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if let Some(piece) = self.prefix.take().or_else(|| self.inline.take()) {
            return Ok(Some(piece));
        }
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let (file, read) = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; 64 * 1024];
            let read = file.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            (file, read)
        })
        .await
        .map_err(std::io::Error::other)?;
        let piece = read?;
        self.file = Some(file);
        Ok((!piece.is_empty()).then_some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_seven_and_a_half_minutes() {
        // Row QU-01.
        let first = Duration::from_secs(450);
        let minutes: Vec<i64> = (1..=7).map(|n| wait_after(first, n) / 60).collect();
        assert_eq!(minutes, [7, 15, 30, 60, 120, 240, 480]);
        assert_eq!(wait_after(Duration::from_millis(100), 1), 1);
        assert_eq!(wait_after(Duration::from_secs(86_400), 100), 31_536_000);
    }

    #[test]
    fn recipients_in_the_journal_are_quoted_once() {
        // Row TR-40.
        static SHOWN: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());
        struct Sink;
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                SHOWN.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Sink).finish();
        tracing::subscriber::with_default(subscriber, || {
            for to in ["\"a b\"@far.example", "jan\u{e9}@b\u{fc}cher.example"] {
                let entry = crate::schedule::tests::entry(1, 1, to, 0);
                log(&entry, libmox_store::Outcome::Delivered, "250 fine", 1);
            }
        });
        let shown = String::from_utf8(SHOWN.lock().unwrap().clone()).unwrap();
        assert!(shown.contains("mox_recipient=\"a b\"@far.example "), "{shown}");
        assert!(
            shown.contains("mox_recipient=jan\u{e9}@b\u{fc}cher.example/xn--bcher-kva.example "),
            "{shown}"
        );
    }

    #[test]
    fn what_a_server_can_do_is_noted() {
        // Row ST-38.
        let entry = crate::schedule::tests::entry(1, 1, "a@far.example", 0);
        let offers = |starttls, requiretls| Extensions { starttls, requiretls, ..Extensions::default() };
        let noted = |tls, extensions| {
            let support = support_of(&entry, tls, &extensions);
            assert_eq!((support.account, support.domain.ascii()), (entry.account, "far.example"));
            (support.starttls, support.require_tls)
        };
        assert_eq!(noted(true, offers(false, true)), (true, true));
        assert_eq!(noted(false, offers(true, false)), (true, false));
        assert_eq!(noted(false, offers(false, false)), (false, false));
    }
}
