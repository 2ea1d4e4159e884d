//! The change stream of one account: numbers, and a bounded queue for each watcher.
//!
//! A change gets its number when it is committed, in commit order. Publishing never waits: a watcher that has more
//! than [`WAITING_EVENTS`] events before it is told once that it lost some, and gets nothing more.

use crate::last_changes::Numbers;
use crate::limits::{BULK, PIECE_EVENTS, WAITING_EVENTS};
use libmox_store::{ChangeEvents, Event, SessionId};
use libmox_types::AccountId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// One account's stream.
pub struct Hub {
    account: AccountId,
    state: Mutex<State>,
    numbers: Arc<Numbers>,
}

#[derive(Default)]
struct State {
    change: u64,
    watchers: Vec<Weak<Watcher>>,
}

/// One subscriber.
pub struct Watcher {
    session: SessionId,
    queue: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Arc<ChangeEvents>>,
    /// Events of ordinary changes, and of large ones.
    events: [usize; 2],
    /// Highest change handed to the subscriber.
    taken: u64,
    /// Highest change whose removals it said to have dealt with, if it says so at all.
    acknowledged: Option<u64>,
    lost: bool,
    ended: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here leaves whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// The stream of an account that begins now.
    pub fn new(account: AccountId, numbers: Arc<Numbers>) -> Self {
        Self { account, state: Mutex::default(), numbers }
    }

    /// Numbers a change and hands it to all watchers. Called in commit order.
    pub fn publish(&self, by: Option<SessionId>, events: Vec<Event>) -> u64 {
        let mut state = lock(&self.state);
        state.change += 1;
        let change = state.change;
        let event = Arc::new(ChangeEvents { change, by, events, last: true });
        state.watchers.retain(|watcher| match watcher.upgrade() {
            Some(watcher) => {
                watcher.push(&event);
                true
            }
            None => false,
        });
        // Under the lock, as the last one stays.
        self.numbers.put(self.account, change);
        change
    }

    /// Subscribes to what comes after the returned change.
    pub fn watch(&self, session: SessionId) -> (Arc<Watcher>, u64) {
        let mut state = lock(&self.state);
        let taken = state.change;
        let queue = Mutex::new(Waiting { taken, ..Waiting::default() });
        let watcher = Arc::new(Watcher { session, queue, notify: Notify::new() });
        state.watchers.push(Arc::downgrade(&watcher));
        (watcher, taken)
    }

    /// The number of the last change.
    #[cfg(test)]
    pub fn change(&self) -> u64 {
        lock(&self.state).change
    }

    /// The last change that every watcher has taken.
    pub fn taken_by_all(&self) -> u64 {
        let state = lock(&self.state);
        let taken = state.watchers.iter().filter_map(Weak::upgrade).map(|watcher| {
            let queue = lock(&watcher.queue);
            queue.acknowledged.map_or(queue.taken, |acknowledged| acknowledged.min(queue.taken))
        });
        taken.min().unwrap_or(state.change)
    }

    /// The last change whose removals every watcher said to have dealt with; none if there is no watcher, or one that
    /// never says so.
    pub fn acknowledged_by_all(&self) -> Option<u64> {
        let state = lock(&self.state);
        let mut least = None;
        for watcher in state.watchers.iter().filter_map(Weak::upgrade) {
            let acknowledged = lock(&watcher.queue).acknowledged?;
            least = Some(least.map_or(acknowledged, |least: u64| least.min(acknowledged)));
        }
        least
    }

    /// A session has dealt with all removals up to a change.
    pub fn acknowledge(&self, session: SessionId, change: u64) {
        let state = lock(&self.state);
        let own =
            state.watchers.iter().filter_map(Weak::upgrade).filter(|watcher| watcher.session == session);
        for watcher in own {
            let mut queue = lock(&watcher.queue);
            queue.acknowledged = Some(queue.acknowledged.unwrap_or(0).max(change));
        }
    }

    /// Ends all watches with a last word.
    pub fn end(&self, why: &str) {
        self.end_if(why, |_| true);
    }

    /// Ends the watches of one session.
    pub fn end_one(&self, session: SessionId, why: &str) {
        self.end_if(why, |watcher| watcher.session == session);
    }

    fn end_if(&self, why: &str, which: impl Fn(&Watcher) -> bool) {
        let state = lock(&self.state);
        let last = ChangeEvents {
            change: state.change,
            by: None,
            events: vec![Event::Ended { why: why.into() }],
            last: true,
        };
        let last = Arc::new(last);
        for watcher in state.watchers.iter().filter_map(Weak::upgrade).filter(|watcher| which(watcher)) {
            watcher.push(&last);
            lock(&watcher.queue).ended = true;
            watcher.notify.notify_one();
        }
    }
}

impl Watcher {
    fn push(&self, change: &Arc<ChangeEvents>) {
        let mut queue = lock(&self.queue);
        if queue.lost || queue.ended {
            return;
        }
        // Counted apart, so that a large change does not drown what happens beside it. One of them is always
        // taken: whoever makes it must be able to see it.
        let class = class(change);
        let waiting = queue.events[class];
        let most = [WAITING_EVENTS, BULK][class];
        if waiting > 0 && waiting + change.events.len() > most {
            queue.changes.clear();
            queue.lost = true;
        } else {
            queue.events[class] += change.events.len();
            queue.changes.push_back(change.clone());
        }
        drop(queue);
        self.notify.notify_one();
    }

    /// What waits, at most one item's worth; waits for something to come. `None`: no more will come.
    pub async fn next(&self) -> Option<Vec<ChangeEvents>> {
        loop {
            {
                let mut queue = lock(&self.queue);
                if queue.lost {
                    if queue.ended {
                        return None;
                    }
                    queue.ended = true;
                    let taken = queue.taken;
                    return Some(vec![ChangeEvents {
                        change: taken,
                        by: None,
                        events: vec![Event::Overflow],
                        last: true,
                    }]);
                }
                if let Some(pieces) = queue.take() {
                    return Some(pieces);
                }
                if queue.ended {
                    return None;
                }
            }
            self.notify.notified().await;
        }
    }
}

impl Waiting {
    /// A change too large for one item is handed out in pieces of the same number.
    fn take(&mut self) -> Option<Vec<ChangeEvents>> {
        let mut pieces: Vec<ChangeEvents> = Vec::new();
        let mut room = PIECE_EVENTS;
        while let Some(next) = self.changes.pop_front() {
            let weight: usize = next.events.iter().map(weight).sum();
            if weight <= room {
                room -= weight;
                self.events[class(&next)] -= next.events.len();
                self.taken = next.change;
                pieces.push(Arc::unwrap_or_clone(next));
                continue;
            }
            if !pieces.is_empty() {
                self.changes.push_front(next);
                break;
            }
            let before = class(&next);
            self.events[before] -= next.events.len();
            let mut whole = Arc::unwrap_or_clone(next);
            let mut at = 0;
            while at < whole.events.len() && weight_fits(&whole.events[at], &mut room) {
                at += 1;
            }
            let rest = whole.events.split_off(at.max(1));
            if rest.is_empty() {
                self.taken = whole.change;
            } else {
                whole.last = false;
                let rest = ChangeEvents { change: whole.change, by: whole.by, events: rest, last: true };
                self.events[class(&rest)] += rest.events.len();
                self.changes.push_front(Arc::new(rest));
            }
            pieces.push(whole);
            break;
        }
        if pieces.is_empty() { None } else { Some(pieces) }
    }
}

fn class(change: &ChangeEvents) -> usize {
    usize::from(change.events.len() > PIECE_EVENTS)
}

fn weight_fits(event: &Event, room: &mut usize) -> bool {
    match room.checked_sub(weight(event)) {
        Some(left) => {
            *room = left;
            true
        }
        None => false,
    }
}

/// In units of a plain event: keywords and uid sets can be long.
fn weight(event: &Event) -> usize {
    match event {
        Event::MessageAdded { keywords, .. }
        | Event::FlagsChanged { keywords, .. }
        | Event::Keywords { keywords, .. } => 1 + keywords.len(),
        Event::MessagesRemoved { uids, .. } | Event::ManyFlagsChanged { uids, .. } => {
            1 + uids.ranges().len() / 4
        }
        Event::MailboxAdded { .. }
        | Event::MailboxRemoved { .. }
        | Event::MailboxRenamed { .. }
        | Event::Subscription { .. } => 16,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmox_types::{Flags, MailboxId, ModSeq, Uid};

    fn flags(uid: u32) -> Event {
        Event::FlagsChanged {
            mailbox: MailboxId(1),
            uid: Uid(uid),
            mod_seq: ModSeq(1),
            flags: Flags::NONE,
            keywords: vec![],
        }
    }

    fn hub() -> Hub {
        Hub::new(AccountId(1), Arc::new(Numbers::new().unwrap()))
    }

    #[tokio::test]
    async fn a_large_change_comes_whole_in_pieces() {
        let hub = hub();
        let (watcher, at) = hub.watch(SessionId(1));
        assert_eq!(at, 0);
        let many = u32::try_from(WAITING_EVENTS * 2).unwrap();
        hub.publish(None, (0..many).map(flags).collect());
        hub.publish(None, vec![]);
        let mut seen = 0;
        while seen < many as usize {
            assert_eq!(hub.taken_by_all(), 0);
            for piece in watcher.next().await.unwrap() {
                assert_eq!(piece.change == 1, !piece.events.is_empty());
                assert!(piece.events.len() <= PIECE_EVENTS);
                seen += piece.events.len();
                assert_eq!(piece.last, seen == many as usize, "the last piece says so");
            }
        }
        assert_eq!(seen, many as usize);
    }

    #[tokio::test]
    async fn one_who_does_not_read_is_told_and_forgotten() {
        let hub = hub();
        let (slow, _) = hub.watch(SessionId(1));
        for _ in 0..=WAITING_EVENTS {
            hub.publish(None, vec![flags(1)]);
        }
        let (quick, at) = hub.watch(SessionId(1));
        assert_eq!(at, WAITING_EVENTS as u64 + 1);
        assert_eq!(slow.next().await.unwrap()[0].events, [Event::Overflow]);
        assert!(slow.next().await.is_none());
        hub.publish(None, vec![flags(2)]);
        assert_eq!(quick.next().await.unwrap()[0].change, at + 1);
        hub.end("gone");
        assert_eq!(quick.next().await.unwrap()[0].events, [Event::Ended { why: "gone".into() }]);
        assert!(quick.next().await.is_none());
        drop(slow);
        drop(quick);
        assert_eq!(hub.taken_by_all(), hub.change());
    }
}
