//! From a verb to the code that answers it. Every path answers.

use crate::limits::APPENDED;
use crate::mail::Missing;
use crate::store::Peer;
use libmox_ipc::{Answer, OnceKey};
use libmox_store::{Delivered, Fault, Reply, Request, StoreContract, StoreStatus, Watch, WatchSet};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Outcome = Result<(Reply, Vec<OwnedFd>), Fault>;

/// Work on a request.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers one request. What lasts, a watch, is small: it holds neither the request nor what others need.
pub fn dispatch(
    peer: Arc<Peer>,
    request: Request,
    given: Vec<OwnedFd>,
    answer: Answer<StoreContract>,
) -> Work {
    match request {
        Request::Watch(request) => Box::pin(watch(peer, request, answer)),
        Request::WatchSet(request) => Box::pin(watch_set(peer, request, answer)),
        request => Box::pin(answer_one(peer, request, given, answer)),
    }
}

async fn watch(peer: Arc<Peer>, request: Watch, answer: Answer<StoreContract>) {
    match peer.session(request.session) {
        Ok(session) => peer.store.watch(&session, request, answer).await,
        Err(fault) => Box::pin(answer.reply(Err(fault))).await,
    }
}

async fn watch_set(peer: Arc<Peer>, request: WatchSet, answer: Answer<StoreContract>) {
    match peer.session(request.session) {
        Ok(session) => peer.store.watch_set(&session, request.mailbox, answer).await,
        Err(fault) => Box::pin(answer.reply(Err(fault))).await,
    }
}

async fn answer_one(peer: Arc<Peer>, request: Request, given: Vec<OwnedFd>, answer: Answer<StoreContract>) {
    let store = &peer.store;
    match request {
        Request::MessageList(request) => match peer.session(request.session) {
            Ok(session) => Box::pin(store.message_list(session.account, request, answer)).await,
            Err(fault) => answer.reply(Err(fault)).await,
        },
        Request::MailboxList(request) => match peer.session(request.session) {
            Ok(session) => Box::pin(store.mailbox_list(session.account, answer)).await,
            Err(fault) => answer.reply(Err(fault)).await,
        },
        Request::AnnotationList(request) => match peer.session(request.session) {
            Ok(session) => Box::pin(store.annotation_list(session.account, request, answer)).await,
            Err(fault) => answer.reply(Err(fault)).await,
        },
        Request::ReferenceList(request) => match peer.session(request.session) {
            Ok(session) => Box::pin(store.reference_list(session.account, request, answer)).await,
            Err(fault) => answer.reply(Err(fault)).await,
        },
        Request::QueueWatch(_) => Box::pin(store.queue_watch(answer)).await,
        // Not at hand: it can take long, and a store that is told to stop ends it.
        Request::Backup(_) => answer.reply(Box::pin(store.backup(given)).await.map(Reply::Backup)).await,
        request => {
            let once = answer.once();
            let _at_hand = AtHand::new(&store.at_hand);
            match Box::pin(reply(&peer, request, once)).await {
                Ok((reply, descriptors)) => answer.reply_with(Ok(reply), descriptors).await,
                Err(fault) => answer.reply(Err(fault)).await,
            }
        }
    }
}

/// Counts a request for as long as it is being answered, however that ends.
struct AtHand<'a>(&'a tokio::sync::watch::Sender<usize>);

impl<'a> AtHand<'a> {
    fn new(count: &'a tokio::sync::watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for AtHand<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn reply(peer: &Arc<Peer>, request: Request, once: Option<OnceKey>) -> Outcome {
    use Request as R;
    let store = &peer.store;
    let plain = |reply| Ok((reply, Vec::new()));
    match request {
        R::Stage(_) => {
            let (id, descriptor) = peer.stage()?;
            Ok((Reply::Stage(id), vec![descriptor]))
        }
        R::LastChangesOpen(_) => {
            let descriptor =
                store.accounts.numbers.open().map_err(|error| Fault::Unavailable(error.to_string()))?;
            Ok((Reply::LastChangesOpen(()), vec![descriptor]))
        }
        R::MessageOpen(request) => {
            let session = peer.session(request.session)?;
            let (content, descriptors) = store.message_open(session.account, request.id)?;
            Ok((Reply::MessageOpen(content), descriptors))
        }
        R::MessagesOpen(request) => {
            let session = peer.session(request.session)?;
            let store = Arc::clone(store);
            // Many files: the threads that serve everybody must not wait for the disk.
            let read =
                tokio::task::spawn_blocking(move || store.messages_open(session.account, &request.ids));
            plain(Reply::MessagesOpen(read.await.map_err(|_| Fault::Internal)?))
        }
        R::UrlOpen(request) => {
            let session = peer.session(request.session)?;
            let (content, descriptors) = store.url_open(&session, &request)?;
            Ok((Reply::UrlOpen(content), descriptors))
        }
        R::UrlSign(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::UrlSign(store.url_sign(&session, &request.claims).await?))
        }
        R::UrlReset(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::UrlReset(store.url_reset(&session, request.mailbox.as_ref()).await?))
        }
        R::QueueOpen(id) => {
            let (content, descriptors) = store.queue_open(id.0)?;
            Ok((Reply::QueueOpen(content), descriptors))
        }
        R::Ping(_) => plain(Reply::Ping(())),
        R::Unstage(id) => plain(Reply::Unstage(peer.unstage(id.0)?)),
        R::CheckRecipient(request) => {
            plain(Reply::CheckRecipient(store.check_recipient(&request.recipient)?))
        }
        R::Analyze(request) => plain(Reply::Analyze(store.analyze(&request).await?)),
        R::Deliver(request) => plain(Reply::Deliver(store.deliver(peer, request, once).await?)),
        R::DeliverNoting(request) => {
            let outcomes = store.deliver(peer, request.deliver, once).await?;
            if outcomes.iter().all(|outcome| matches!(outcome, Delivered::Stored(_))) {
                store.note_decision(request.decided);
            }
            plain(Reply::DeliverNoting(outcomes))
        }
        R::DeliverTogether(request) => {
            plain(Reply::DeliverTogether(store.deliver_together(peer, request, once).await?))
        }
        R::SignIn(request) => plain(Reply::SignIn(store.sign_in(peer, request).await?)),
        R::NoteFailure(request) => {
            store.note_failure(&request);
            plain(Reply::NoteFailure(()))
        }
        // The next four are those of services that do not say which address of ours the client came to.
        R::LoginPassword(request) => {
            plain(Reply::LoginPassword(store.login_password(peer, request, None).await?))
        }
        R::ScramStart(request) => plain(Reply::ScramStart(store.scram_start(&request)?)),
        R::ScramFinish(request) => plain(Reply::ScramFinish(store.scram_finish(peer, &request, None)?)),
        R::CramStart(_) => plain(Reply::CramStart(store.cram_start()?)),
        R::CramFinish(request) => plain(Reply::CramFinish(store.cram_finish(peer, &request, None)?)),
        R::LoginKey(request) => plain(Reply::LoginKey(store.login_key(peer, &request, None)?)),
        R::AskStanding(request) => plain(Reply::AskStanding(store.standing(request.remote_ip))),
        R::NoteAgent(request) => {
            store.note_agent(request.cid, &request.user_agent);
            plain(Reply::NoteAgent(()))
        }
        R::TlsKeyList(request) => plain(Reply::TlsKeyList(store.tls_key_list(&request)?)),
        R::TlsKeyAdd(request) => plain(Reply::TlsKeyAdd(store.tls_key_add(request).await?)),
        R::TlsKeyRemove(request) => {
            plain(Reply::TlsKeyRemove(store.tls_key_remove(&request.fingerprint).await?))
        }
        R::AppPasswordAdd(request) => plain(Reply::AppPasswordAdd(store.app_password_add(request).await?)),
        R::AppPasswordList(request) => {
            plain(Reply::AppPasswordList(store.app_password_list(&request.account)?))
        }
        R::SharedAnnotationSet(request) => {
            plain(Reply::SharedAnnotationSet(store.shared_annotation_set(request).await?))
        }
        R::SharedAnnotationList(request) => {
            plain(Reply::SharedAnnotationList(store.shared_annotation_list(&request)?))
        }
        R::AppPasswordRemove(request) => {
            plain(Reply::AppPasswordRemove(store.app_password_remove(&request).await?))
        }
        R::LoginLocal(request) => plain(Reply::LoginLocal(store.login_local(peer, &request)?)),
        R::SignOut(request) => plain(Reply::SignOut(peer.sign_out(request.0)?)),
        R::CheckSender(request) => {
            let session = peer.session(request.session)?;
            let answer = match store.check_sender(&session, &request.address) {
                Err(fault @ Fault::SenderDisabled) => return Err(fault),
                answer => answer.is_ok(),
            };
            plain(Reply::CheckSender(answer))
        }
        R::QueueAdd(request) => {
            // Before the session: after a restart only the reply is there.
            if let Some(reply) = store.replied(once)? {
                return plain(Reply::QueueAdd(reply));
            }
            let session = peer.session(request.session)?;
            plain(Reply::QueueAdd(store.queue_add(peer, &session, request, once).await?))
        }
        R::MailboxCreate(_)
        | R::MailboxDelete(_)
        | R::MailboxRename(_)
        | R::MailboxSubscribe(_)
        | R::MailboxStatus(_)
        | R::FlagsChange(_)
        | R::Append(_)
        | R::Copy(_)
        | R::CopyAll(_)
        | R::AppendListed(_)
        | R::Expunge(_)
        | R::Quota(_)
        | R::ThreadChange(_)
        | R::ThreadOf(_)
        | R::AnnotationSet(_) => plain(mail(peer, request).await?),
        R::QueueDue(request) => plain(Reply::QueueDue(store.queue_due(&request)?)),
        R::QueueAttempt(request) => plain(Reply::QueueAttempt(store.queue_attempt(request).await?)),
        R::QueueResult(request) => plain(Reply::QueueResult(store.queue_result(peer, request).await?)),
        R::QueueDeliver(request) => plain(Reply::QueueDeliver(store.queue_deliver(request).await?)),
        R::QueueList(request) => plain(Reply::QueueList(store.queue_list(request.after, request.most)?)),
        R::QueueKick(request) => plain(Reply::QueueKick(store.queue_kick(request.ids).await?)),
        R::QueueDrop(request) => plain(Reply::QueueDrop(store.queue_drop(request.ids).await?)),
        R::HoldRuleAdd(request) => plain(Reply::HoldRuleAdd(store.hold_rule_add(&request.0).await?)),
        R::HoldRuleRemove(request) => plain(Reply::HoldRuleRemove(store.hold_rule_remove(request.id).await?)),
        R::HoldRuleList(_) => plain(Reply::HoldRuleList(store.hold_rules()?)),
        R::QueueHold(request) => plain(Reply::QueueHold(store.queue_hold(request.ids, request.held).await?)),
        R::Status(_) => plain(Reply::Status(status(peer)?)),
        R::Reload(request) => plain(Reply::Reload(crate::config::reload(store, request.generation).await?)),
        R::AccountList(_) => plain(Reply::AccountList(store.account_list()?)),
        R::AccountSetPassword(request) => {
            store.set_password(&request.account, &request.password).await?;
            plain(Reply::AccountSetPassword(()))
        }
        R::AccountRemove(request) => {
            plain(Reply::AccountRemove(store.remove_account(&request.account).await?))
        }
        R::Check(request) => plain(Reply::Check(store.check(request.account.as_deref()).await?)),
        R::LoginAttempts(request) => plain(Reply::LoginAttempts(store.login_attempts(&request).await?)),
        R::CacheGet(request) => plain(Reply::CacheGet(store.cache_get(&request)?)),
        R::CacheSet(request) => plain(Reply::CacheSet(store.cache_set(request).await?)),
        R::CacheList(request) => plain(Reply::CacheList(store.cache_list(&request)?)),
        R::TlsSupportSet(request) => plain(Reply::TlsSupportSet(store.tls_support_set(&request).await?)),
        R::TlsSupportOf(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::TlsSupportOf(store.tls_support_of(&session, &request.domains)?))
        }
        R::WroteTo(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::WroteTo(store.wrote_to(session.account, &request.address)?))
        }
        R::SentSince(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::SentSince(store.sent_since(session.account, request.since)?))
        }
        R::RetiredList(request) => plain(Reply::RetiredList(store.retired_list(&request)?)),
        R::SuppressionList(request) => plain(Reply::SuppressionList(store.suppression_list(&request)?)),
        R::SuppressionAdd(request) => plain(Reply::SuppressionAdd(store.suppression_add(&request).await?)),
        R::SuppressionRemove(request) => {
            let there = store.suppression_remove(&request.account, &request.address).await?;
            plain(Reply::SuppressionRemove(there))
        }
        R::ThreadsReassign(request) => {
            plain(Reply::ThreadsReassign(store.threads_reassign(&request.account).await?))
        }
        R::Checkpoint(_) => {
            store.engine.snapshot().await.map_err(Fault::Unavailable)?;
            plain(Reply::Checkpoint(()))
        }
        R::BackupProgress(_) => {
            let (done, total) = store.engine.backup_progress().read();
            plain(Reply::BackupProgress(libmox_store::Progress { done, total }))
        }
        R::Decided(decided) => {
            store.note_decision(decided);
            plain(Reply::Decided(()))
        }
        R::Feedback(feedback) => {
            store.note_feedback(feedback).await?;
            plain(Reply::Feedback(()))
        }
        R::ReportList(request) => plain(Reply::ReportList(store.report_list(&request).await?)),
        R::EvaluationList(request) => plain(Reply::EvaluationList(store.evaluation_list(&request).await?)),
        R::DecisionsOf(request) => plain(Reply::DecisionsOf(store.decisions_of(&request).await?)),
        R::Repair(request) => plain(Reply::Repair(store.repair(&request).await?)),
        R::Acknowledge(request) => {
            let session = peer.session(request.session)?;
            store.accounts.live(session.account).hub.acknowledge(session.id, request.change);
            plain(Reply::Acknowledge(()))
        }
        R::Replace(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::Replace(store.replace(peer, &session, request).await?))
        }
        R::ReaderGrant(request) => plain(Reply::ReaderGrant(store.reader_grant(&request)?)),
        R::LoginGrant(request) => plain(Reply::LoginGrant(store.login_grant(peer, &request)?)),
        R::FlaggedSet(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::FlaggedSet(store.flagged_set(&session, &request)?))
        }
        R::ReaderConfig(request) => {
            let session = peer.session(request.session)?;
            let disabled_capabilities = store.directory().disabled_capabilities(&session.name);
            plain(Reply::ReaderConfig(libmox_store::ReaderSettings { disabled_capabilities }))
        }
        R::VanishedSince(request) => {
            let session = peer.session(request.session)?;
            plain(Reply::VanishedSince(store.vanished_since(&session, &request)?))
        }
        // These are answered by the caller of this function.
        R::Backup(_)
        | R::Watch(_)
        | R::WatchSet(_)
        | R::MessageList(_)
        | R::ReferenceList(_)
        | R::QueueWatch(_)
        | R::AnnotationList(_)
        | R::MailboxList(_) => Err(Fault::Internal),
    }
}

/// Verbs of a signed-in reader.
async fn mail(peer: &Arc<Peer>, request: Request) -> Result<Reply, Fault> {
    use Request as R;
    let store = &peer.store;
    Ok(match request {
        R::MailboxStatus(request) => {
            let session = peer.session(request.session)?;
            Reply::MailboxStatus(store.mailbox(session.account, &request.name)?)
        }
        R::MailboxCreate(request) => {
            let session = peer.session(request.session)?;
            Reply::MailboxCreate(store.mailbox_create(&session, &request.name, &request.special_use).await?)
        }
        R::MailboxDelete(request) => {
            let session = peer.session(request.session)?;
            Reply::MailboxDelete(store.mailbox_delete(&session, &request.name).await?)
        }
        R::MailboxRename(request) => {
            let session = peer.session(request.session)?;
            Reply::MailboxRename(store.mailbox_rename(&session, &request.from, &request.to).await?)
        }
        R::MailboxSubscribe(request) => {
            let session = peer.session(request.session)?;
            let changed = store.mailbox_subscribe(&session, &request.name, request.subscribed).await?;
            Reply::MailboxSubscribe(changed)
        }
        R::FlagsChange(request) => {
            let session = peer.session(request.session)?;
            Reply::FlagsChange(store.flags_change(&session, request).await?)
        }
        R::Append(request) => {
            let session = peer.session(request.session)?;
            if request.messages.len() > APPENDED {
                return Err(Fault::Limit("messages appended at once".into()));
            }
            Reply::Append(store.append(peer, &session, request).await?)
        }
        R::AppendListed(libmox_store::AppendListed { session, mailbox, list }) => {
            let list = peer.list(list)?;
            let live = peer.session(session)?;
            let _one_of_few = store.listing.acquire().await.map_err(|_| Fault::Internal)?;
            let messages = list.messages().await?;
            let append = libmox_store::Append { session, mailbox, messages };
            Reply::AppendListed(store.append(peer, &live, append).await?)
        }
        R::Copy(request) => {
            let session = peer.session(request.session)?;
            Reply::Copy(store.copy(&session, request, Missing::PassedOver).await?)
        }
        R::CopyAll(libmox_store::CopyAll(request)) => {
            let session = peer.session(request.session)?;
            Reply::CopyAll(store.copy(&session, request, Missing::Refused).await?)
        }
        R::Expunge(request) => {
            let session = peer.session(request.session)?;
            Reply::Expunge(store.expunge(&session, request).await?)
        }
        R::Quota(request) => {
            let session = peer.session(request.session)?;
            Reply::Quota(store.quota(&session)?)
        }
        R::ThreadChange(request) => {
            let session = peer.session(request.session)?;
            Reply::ThreadChange(store.thread_change(&session, request).await?)
        }
        R::AnnotationSet(request) => {
            let session = peer.session(request.session)?;
            Reply::AnnotationSet(store.annotation_set(&session, request).await?)
        }
        R::ThreadOf(request) => {
            let session = peer.session(request.session)?;
            Reply::ThreadOf(store.thread_of(session.account, request.message)?)
        }
        _ => return Err(Fault::Internal),
    })
}

fn status(peer: &Peer) -> Result<StoreStatus, Fault> {
    let store = &peer.store;
    let health = store.engine.health().borrow().clone();
    let state = match health.problem() {
        None => "running".into(),
        Some(why) => format!("degraded: {why}"),
    };
    let queue = store.queue_state()?;
    let directory = store.directory();
    Ok(StoreStatus {
        state,
        generation: directory.generation,
        queued: queue.entries,
        held: queue.held,
        accounts: u32::try_from(directory.ids.len()).unwrap_or(u32::MAX),
        connections: store.connections.load(Ordering::Relaxed),
        sessions: store.session_count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_small() {
        fn size<V, F>(_: fn(Arc<Peer>, V, Answer<StoreContract>) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let sizes = [size(watch), size(watch_set)];
        assert!(sizes.iter().all(|size| *size < 1_024), "{sizes:?}");
    }
}
