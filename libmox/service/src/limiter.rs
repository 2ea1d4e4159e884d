//! Counts by address class, against limits for each of three sizes of class, in windows of time.
//!
//! One party may hold one address, its neighbours a network: an IPv4 address counts for itself, its /26 and its /21, an
//! IPv6 address for its /64, /48 and /32; the wider classes may three and nine times as much (rows AU-15, SR-31, SR-32).
//! Memory is bounded: where too many classes are counted the narrow ones are left out, the wide ones go on.
//! A window begins anew for everybody at once; what is gone with the process is gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use tokio::time::{Duration, Instant};

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    size: u8,
    bits: u64,
}

/// How much more than the narrowest class each may.
pub const WIDER: [u64; 3] = [1, 3, 9];

/// The classes of an address, narrowest first.
#[must_use]
pub fn classes(ip: IpAddr) -> [Class; 3] {
    let (bits, first, lengths): (u64, u8, [u32; 3]) = match ip.to_canonical() {
        IpAddr::V4(ip) => (u64::from(u32::from(ip)) << 32, 0, [32, 26, 21]),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 3, [64, 48, 32])
        }
    };
    let mut size = first;
    lengths.map(|length| {
        let class = Class { size, bits: bits & (u64::MAX << (64 - length)) };
        size += 1;
        class
    })
}

/// See the module header. `key` tells apart what is counted for each class: an account, or always 0.
#[derive(Debug)]
pub struct Limiter<const N: usize> {
    spans: [Duration; N],
    most_counted: usize,
    begun: Instant,
    windows: Mutex<[Window; N]>,
}

#[derive(Debug, Default)]
struct Window {
    number: u64,
    counts: HashMap<(u64, Class), u64>,
}

impl<const N: usize> Limiter<N> {
    /// With windows of these lengths; at most `most_counted` classes in each.
    #[must_use]
    pub fn new(spans: [Duration; N], most_counted: usize) -> Self {
        let windows = Mutex::new(std::array::from_fn(|_| Window::default()));
        Self { spans, most_counted, begun: Instant::now(), windows }
    }

    fn with<T>(&self, work: impl FnOnce(&mut [Window; N]) -> T) -> T {
        // Every critical section here leaves whole values.
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let age = self.begun.elapsed().as_millis();
        for (window, span) in windows.iter_mut().zip(self.spans) {
            let number = u64::try_from(age / span.as_millis().max(1)).unwrap_or(u64::MAX);
            if window.number != number {
                *window = Window { number, counts: HashMap::new() };
            }
        }
        work(&mut windows)
    }

    /// Counts `amount`, unless that is too much for any class in any window: then nothing is counted. `most` is what the
    /// narrowest class may in each window.
    pub fn take(&self, key: u64, ip: IpAddr, amount: u64, most: [u64; N]) -> bool {
        self.with(|windows| {
            for (window, most) in windows.iter().zip(most) {
                for (class, wider) in classes(ip).into_iter().zip(WIDER) {
                    let count = window.counts.get(&(key, class)).copied().unwrap_or(0);
                    if count.saturating_add(amount) > most.saturating_mul(wider) {
                        return false;
                    }
                }
            }
            for window in windows {
                // The widest first: they are few, and bound what the narrow ones cannot.
                for class in classes(ip).into_iter().rev() {
                    if window.counts.len() < self.most_counted || window.counts.contains_key(&(key, class)) {
                        *window.counts.entry((key, class)).or_default() += amount;
                    }
                }
            }
            true
        })
    }

    /// Whether nothing more may be counted.
    pub fn is_full(&self, key: u64, ip: IpAddr, most: [u64; N]) -> bool {
        self.with(|windows| {
            windows.iter().zip(most).any(|(window, most)| {
                classes(ip).into_iter().zip(WIDER).any(|(class, wider)| {
                    window.counts.get(&(key, class)).is_some_and(|count| *count >= most.saturating_mul(wider))
                })
            })
        })
    }

    /// What the narrowest class has in each window.
    pub fn counted(&self, key: u64, ip: IpAddr) -> [u64; N] {
        let [narrow, ..] = classes(ip);
        self.with(|windows| {
            std::array::from_fn(|at| windows[at].counts.get(&(key, narrow)).copied().unwrap_or(0))
        })
    }

    /// Takes back what was counted.
    pub fn give_back(&self, key: u64, ip: IpAddr, amount: u64) {
        self.with(|windows| {
            for window in windows {
                for class in classes(ip) {
                    if let Some(count) = window.counts.get_mut(&(key, class)) {
                        *count = count.saturating_sub(amount);
                    }
                }
            }
        });
    }

    /// Forgets the narrowest class, and its part in the wider ones.
    pub fn forget(&self, key: u64, ip: IpAddr) {
        let [narrow, wide @ ..] = classes(ip);
        self.with(|windows| {
            for window in windows {
                let Some(count) = window.counts.remove(&(key, narrow)) else { continue };
                for class in wide {
                    if let Some(all) = window.counts.get_mut(&(key, class)) {
                        *all = all.saturating_sub(count);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn address_classes() {
        for (a, b, same) in [
            ("192.0.2.1", "192.0.2.1", [true, true, true]),
            ("192.0.2.1", "192.0.2.2", [false, true, true]),
            ("192.0.2.1", "192.0.2.65", [false, false, true]),
            ("192.0.2.1", "192.0.8.1", [false, false, false]),
            ("192.0.2.1", "::ffff:192.0.2.1", [true, true, true]),
            ("2001:db8::1", "2001:db8::ffff:2", [true, true, true]),
            ("2001:db8::1", "2001:db8:0:1::1", [false, true, true]),
            ("2001:db8::1", "2001:db8:1::1", [false, false, true]),
            ("2001:db8::1", "2001:db9::1", [false, false, false]),
            ("0.0.0.0", "::", [false, false, false]),
        ] {
            let got: Vec<bool> = classes(ip(a)).iter().zip(classes(ip(b))).map(|(a, b)| *a == b).collect();
            assert_eq!(got, same, "{a} {b}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wider_classes_may_more_and_windows_end() {
        let limiter = Limiter::new([Duration::from_secs(60), Duration::from_secs(600)], 1000);
        let most = [2, 5];
        let a = ip("192.0.2.1");
        assert!(limiter.take(0, a, 2, most));
        assert!(!limiter.take(0, a, 1, most));
        assert!(limiter.is_full(0, a, most));
        assert!(limiter.take(7, a, 1, most), "another key");
        // The /26 has room for six.
        assert!(limiter.take(0, ip("192.0.2.2"), 2, most));
        assert!(limiter.take(0, ip("192.0.2.3"), 2, most));
        assert!(!limiter.take(0, ip("192.0.2.4"), 1, most));
        assert!(limiter.take(0, ip("192.0.2.64"), 1, most));
        limiter.forget(0, ip("192.0.2.3"));
        assert!(limiter.take(0, ip("192.0.2.4"), 1, most));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.counted(0, a), [0, 2]);
        assert!(limiter.take(0, a, 2, most));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!limiter.take(0, a, 2, most), "too much for the longer window");
        limiter.give_back(0, a, 1);
        assert!(limiter.take(0, a, 2, most));
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(limiter.counted(0, a), [0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_wide_classes_still_count() {
        let limiter = Limiter::new([Duration::from_secs(60)], 100);
        let mut taken = 0;
        for n in 0..8u8 {
            for host in 0..125 {
                taken += u32::from(limiter.take(0, IpAddr::from([10, 0, n, host]), 1, [10]));
            }
        }
        assert_eq!(taken, 90, "all of one /21");
        assert!(limiter.with(|windows| windows[0].counts.len()) <= 100);
    }
}
