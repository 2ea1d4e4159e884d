//! Dates of header fields.
//!
//! Law: RFC 5322 §3.3, read with §4.3 (obsolete forms) and what senders write besides.
//! Does not know: what time it is.
//! Fails with: `None`.

use libmox_types::Timestamp;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes `Sun, 22 Nov 2026 02:31:12 +0000`, always in UTC: the zone of a server is nobody's business.
#[must_use]
pub fn format(time: Timestamp) -> String {
    let days = time.0.div_euclid(86_400);
    let second = time.0.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day} {name} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

/// Reads a Date field. The weekday is not checked; a missing or unknown zone is UTC.
#[must_use]
pub fn parse(field: &[u8]) -> Option<Timestamp> {
    let text = without_comments(field.get(..field.len().min(200))?);
    let mut list = Vec::with_capacity(8);
    for word in text.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty()) {
        // `22-Nov-2026`, but not `-0600`.
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            list.extend(word.split('-').filter(|piece| !piece.is_empty()));
        } else {
            list.push(word);
        }
    }
    let mut words = list.into_iter().peekable();
    // An optional day name.
    if words.peek()?.starts_with(|c: char| c.is_ascii_alphabetic()) && month_named(words.peek()?).is_none() {
        words.next();
    }
    let first = words.next()?;
    let second = words.next()?;
    let (day, month) = match month_named(second) {
        Some(month) => (first, month),
        // `Nov 22 02:31:12 2026`, as ctime(3) writes it.
        None => (second, month_named(first)?),
    };
    let day: i64 = day.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
    let third = words.next()?;
    let (year, clock) = if third.contains(':') { (words.next()?, third) } else { (third, words.next()?) };
    let year_digits = year.len();
    let mut year: i64 = year.parse().ok()?;
    // RFC 5322 §4.3.
    if year_digits == 2 {
        year += if year < 50 { 2000 } else { 1900 };
    } else if year_digits == 3 {
        year += 1900;
    }
    let mut parts = clock.split([':', '.']);
    let hour: i64 = parts.next()?.parse().ok()?;
    let minute: i64 = parts.next()?.parse().ok()?;
    let second: i64 = parts.next().map_or(Some(0), |second| second.parse().ok())?;
    if !(1..=31).contains(&day) || !(0..24).contains(&hour) || !(0..60).contains(&minute) {
        return None;
    }
    if !(0..=60).contains(&second) || !(1900..=9999).contains(&year) {
        return None;
    }
    let offset = words.next().map_or(0, zone);
    let days = days_from_civil(year, month, day);
    Some(Timestamp(days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60))
}

fn month_named(word: &str) -> Option<i64> {
    let start = word.get(..3)?;
    let at = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(start))?;
    i64::try_from(at + 1).ok()
}

/// Minutes east of UTC.
fn zone(word: &str) -> i64 {
    let (sign, digits) = match word.as_bytes() {
        [b'+', ..] => (1, &word[1..]),
        [b'-', ..] => (-1, &word[1..]),
        _ => {
            // RFC 5322 §4.3 obs-zone; military letters are worth nothing, so UTC.
            return 60
                * match word.to_ascii_uppercase().as_str() {
                    "EDT" => -4,
                    "EST" | "CDT" => -5,
                    "CST" | "MDT" => -6,
                    "MST" | "PDT" => -7,
                    "PST" => -8,
                    _ => 0,
                };
        }
    };
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<i64>() else { return 0 };
    let (hours, minutes) = if digits.len() <= 2 { (number, 0) } else { (number / 100, number % 100) };
    if hours > 24 || minutes > 59 { 0 } else { sign * (hours * 60 + minutes) }
}

fn without_comments(field: &[u8]) -> String {
    let mut depth = 0u32;
    let mut out = String::with_capacity(field.len());
    for &byte in field {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                out.push(' ');
            }
            byte if depth == 0 => out.push(if byte.is_ascii() { char::from(byte) } else { ' ' }),
            _ => {}
        }
    }
    out
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day of a day number; the inverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Year, month, day, hour, minute, second in UTC, for whoever writes another format.
#[must_use]
pub fn utc(time: Timestamp) -> (i64, i64, i64, i64, i64, i64) {
    let (year, month, day) = civil(time.0.div_euclid(86_400));
    let second = time.0.rem_euclid(86_400);
    (year, month, day, second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of a date and time in UTC. The caller has checked the ranges.
#[must_use]
pub fn from_utc(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Timestamp {
    Timestamp(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, want: Option<i64>) {
        assert_eq!(parse(text.as_bytes()), want.map(Timestamp), "{text:?}");
    }

    #[test]
    fn dates_in_the_wild() {
        reads("Fri, 21 Nov 1997 09:55:06 -0600", Some(880_127_706));
        reads("21 Nov 97 09:55:06 CST", Some(880_127_706));
        reads("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", None);
        reads("Fri, 21 Nov 1997 15:55 GMT (now)", Some(880_127_700));
        reads("Fri Nov 21 15:55:06 1997", Some(880_127_706));
        reads("21-Nov-1997 15:55:06 +0000", Some(880_127_706));
        reads("Fri, 21 November 1997 15:55:06.123 Z", Some(880_127_706));
        reads("Thu, 1 Jan 1970 00:00:00 +0000", Some(0));
        reads("Tue, 29 Feb 2000 23:59:60 +1400", Some(951_868_800 - 14 * 3600));
        reads("32 Nov 1997 00:00", None);
        reads("", None);
        reads("now", None);
        reads("(((", None);
        reads("\u{fc} \u{fc} \u{fc}", None);
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(format(Timestamp(880_127_706)), "Fri, 21 Nov 1997 15:55:06 +0000");
        assert_eq!(format(Timestamp(0)), "Thu, 1 Jan 1970 00:00:00 +0000");
        let mut time = -2_000_000_000;
        while time < 20_000_000_000 {
            reads(&format(Timestamp(time)), Some(time));
            time += 7_654_321;
        }
    }
}
