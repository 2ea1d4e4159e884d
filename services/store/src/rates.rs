//! How much mail an account takes of one class of addresses (row SR-32): messages and octets, in a minute and a day.
//!
//! Counted when a message is judged, whatever is thought of it then; what is too much is not counted, so that whoever
//! comes again later finds the same. In memory only: a store that starts anew counts anew.

use crate::limits::{DELIVERY_CLASSES, DELIVERY_DAY_MESSAGES, DELIVERY_DAY_OCTETS};
use libmox_service::limiter::Limiter;
use libmox_types::AccountId;
use std::net::IpAddr;
use std::time::Duration;

/// What the narrowest class may in a minute; wider ones three and nine times as much.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryLimits {
    /// Messages.
    pub messages: u64,
    /// Octets.
    pub octets: u64,
}

/// Row SR-32.
impl Default for DeliveryLimits {
    fn default() -> Self {
        Self { messages: 500, octets: 1000 << 20 }
    }
}

const WINDOWS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

/// The counts of all accounts.
pub struct Rates {
    messages: Limiter<2>,
    octets: Limiter<2>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            messages: Limiter::new(WINDOWS, DELIVERY_CLASSES),
            octets: Limiter::new(WINDOWS, DELIVERY_CLASSES),
        }
    }
}

impl Rates {
    /// Counts a message; what there is too much of, if there is.
    pub fn take(
        &self,
        account: AccountId,
        ip: IpAddr,
        size: u64,
        most: DeliveryLimits,
    ) -> Result<(), &'static str> {
        let key = u64::from(account.0);
        let messages = [most.messages, most.messages.saturating_mul(DELIVERY_DAY_MESSAGES)];
        if !self.messages.take(key, ip, 1, messages) {
            return Err("messages");
        }
        let octets = [most.octets, most.octets.saturating_mul(DELIVERY_DAY_OCTETS)];
        if !self.octets.take(key, ip, size, octets) {
            self.messages.give_back(key, ip, 1);
            return Err("octets");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row SR-32, with its numbers.
    #[tokio::test(start_paused = true)]
    async fn messages_and_octets_of_a_class_are_counted_by_minute_and_day() {
        const MIB: u64 = 1 << 20;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let most = DeliveryLimits { messages: 500, octets: 1000 * MIB };
        let (rates, jane, bob) = (Rates::default(), AccountId(1), AccountId(2));
        let take = |account, from: &str, size| rates.take(account, ip(from), size, most);
        for _ in 0..500 {
            take(jane, "192.0.2.1", 1).unwrap();
        }
        assert_eq!(take(jane, "192.0.2.1", 1), Err("messages"));
        take(bob, "192.0.2.1", 1).unwrap();
        // The /26 has three times as much, the /21 nine times.
        for host in 2..=3 {
            for _ in 0..500 {
                take(jane, &format!("192.0.2.{host}"), 1).unwrap();
            }
        }
        assert_eq!(take(jane, "192.0.2.4", 1), Err("messages"));
        take(jane, "192.0.2.200", 1).unwrap();
        // Octets by themselves.
        take(bob, "2001:db8::1", 1000 * MIB).unwrap();
        assert_eq!(take(bob, "2001:db8::2", 1), Err("octets"));
        // Twenty minutes of messages, three of octets, are a day's.
        for minute in 1..20u64 {
            tokio::time::advance(Duration::from_secs(60)).await;
            for _ in 0..500 {
                take(jane, "192.0.2.1", 1).unwrap();
            }
            let want = if minute < 3 { Ok(()) } else { Err("octets") };
            assert_eq!(take(bob, "2001:db8::1", 1000 * MIB), want, "minute {minute}");
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(take(jane, "192.0.2.1", 1), Err("messages"), "10000 in a day");
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        take(jane, "192.0.2.1", 1).unwrap();
    }
}
