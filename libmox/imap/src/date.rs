//! Dates and date-times as IMAP writes them.
//!
//! Law: RFC 9051 §9 `date`, `date-time`; the calendar is the proleptic Gregorian one.
//! Does not know: which day it is.
//! Fails with: `None`.

use libmox_types::Timestamp;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A day without a time zone: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);

impl Date {
    /// Reads `1-Feb-1994`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|&b| b == b'-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || day.is_empty() || day.len() > 2 || year.len() != 4 {
            return None;
        }
        Self::of(number(year)?, month_number(month)?, number(day)?)
    }

    /// The day a point in time falls on in UTC.
    #[must_use]
    pub fn of_time(time: Timestamp) -> Self {
        Self(i32::try_from(time.0.div_euclid(86_400)).unwrap_or(i32::MAX))
    }

    /// The first second of the day in UTC.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * 86_400)
    }

    fn of(year: u32, month: u32, day: u32) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let length = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if year == 0 || !(1..=12).contains(&month) || day == 0 || day > length {
            return None;
        }
        // Years counted from March, so that the leap day is the last one.
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
        // 719 468 days lie between 0000-03-01 and 1970-01-01.
        i32::try_from(i64::from(days) - 719_468).ok().map(Self)
    }
}

/// Reads `" 1-Feb-1994 21:52:25 -0800"`, without the quotes.
#[must_use]
pub fn parse_date_time(text: &[u8]) -> Option<Timestamp> {
    // One digit without the space before it is what many write.
    let padded: Vec<u8>;
    let text = if text.len() == 25 {
        padded = [b" ", text].concat();
        &padded
    } else {
        text
    };
    if text.len() != 26 || text[11] != b' ' || text[20] != b' ' || text[14] != b':' || text[17] != b':' {
        return None;
    }
    let day = if text[0] == b' ' { &text[1..11] } else { &text[..11] };
    let date = Date::parse(day)?;
    let (hour, minute, second) = (number(&text[12..14])?, number(&text[15..17])?, number(&text[18..20])?);
    let (zone_hour, zone_minute) = (number(&text[22..24])?, number(&text[24..26])?);
    // RFC 5322 §3.3 lets a leap second be written.
    if hour > 23 || minute > 59 || second > 60 || zone_minute > 59 {
        return None;
    }
    let zone = i64::from(zone_hour * 3600 + zone_minute * 60);
    let east = match text[21] {
        b'+' => zone,
        b'-' => -zone,
        _ => return None,
    };
    Some(date.start().plus(i64::from(hour * 3600 + minute * 60 + second) - east))
}

/// Reads `1994-02-01T21:52:25-08:00`. RFC 3339 §5.6; parts of a second are dropped.
#[must_use]
pub fn parse_internet_time(text: &[u8]) -> Option<Timestamp> {
    let (time, rest) = text.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| time[*at] != *mark) || !matches!(time[10], b'T' | b't') {
        return None;
    }
    let date = Date::of(number(&time[..4])?, number(&time[5..7])?, number(&time[8..10])?)?;
    let (hour, minute, second) = (number(&time[11..13])?, number(&time[14..16])?, number(&time[17..])?);
    let zone = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    let east = match zone {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), a, b, b':', c, d] => {
            let (hours, minutes) = (number(&[*a, *b])?, number(&[*c, *d])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = i64::from(hours * 3600 + minutes * 60);
            if *sign == b'+' { east } else { -east }
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(date.start().plus(i64::from(hour * 3600 + minute * 60 + second) - east))
}

/// Writes `" 1-Feb-1994 05:52:25 +0000"` without the quotes.
pub fn encode_date_time(time: Timestamp, out: &mut Vec<u8>) {
    // Outside these years the form has no digits for it; a stored date that wrong is not worth a fault.
    let time = time.0.clamp(-62_135_596_800, 253_402_300_799);
    let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let (month, carry) = if m < 10 { (m + 2, 0) } else { (m - 10, 1) };
    let year = year_of_era + era * 400 + carry;
    let two = |n: i64, pad: u8, out: &mut Vec<u8>| {
        out.push(if n < 10 { pad } else { digit(n / 10) });
        out.push(digit(n % 10));
    };
    two(day, b' ', out);
    out.push(b'-');
    out.extend_from_slice(MONTHS[usize::try_from(month).unwrap_or(0) % 12]);
    out.push(b'-');
    two(year / 100, b'0', out);
    two(year % 100, b'0', out);
    out.push(b' ');
    two(second / 3600, b'0', out);
    out.push(b':');
    two(second / 60 % 60, b'0', out);
    out.push(b':');
    two(second % 60, b'0', out);
    out.extend_from_slice(b" +0000");
}

fn digit(n: i64) -> u8 {
    b'0' + u8::try_from(n.rem_euclid(10)).unwrap_or(0)
}

fn month_number(text: &[u8]) -> Option<u32> {
    let at = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    u32::try_from(at + 1).ok()
}

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 4 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |sum, b| sum * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_times() {
        for (text, want) in [
            ("1994-02-01T21:52:25-08:00", Some(760_168_345)),
            ("1994-02-02t05:52:25.125z", Some(760_168_345)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00", None),
            ("1970-01-01T00:00:00.Z", None),
            ("1970-01-01T24:00:00Z", None),
            ("1970-13-01T00:00:00Z", None),
            ("1970-01-01 00:00:00Z", None),
            ("1970-01-01T00:00:00+1:00", None),
            ("", None),
        ] {
            assert_eq!(parse_internet_time(text.as_bytes()), want.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn days_are_counted_and_checked() {
        for (text, want) in [
            ("1-Jan-1970", Some(0)),
            ("01-jan-1970", Some(0)),
            ("1-Feb-1994", Some(8797)),
            ("29-Feb-2024", Some(19782)),
            ("31-Dec-1969", Some(-1)),
            ("29-Feb-2023", None),
            ("29-Feb-1900", None),
            ("31-Apr-2020", None),
            ("0-Jan-2020", None),
            ("1-Foo-2020", None),
            ("1-Jan-20", None),
            ("1-Jan-2020-", None),
            ("+1-Jan-2020", None),
            ("", None),
        ] {
            assert_eq!(Date::parse(text.as_bytes()).map(|d| d.0), want, "{text:?}");
        }
    }

    #[test]
    fn a_date_time_reads_back_in_utc() {
        for (text, want) in [
            (" 1-Jan-1970 00:00:00 +0000", Some(" 1-Jan-1970 00:00:00 +0000")),
            ("17-Jul-1996 02:44:25 -0700", Some("17-Jul-1996 09:44:25 +0000")), // RFC 9051 §6.4.5
            ("01-Mar-2024 00:30:00 +0130", Some("29-Feb-2024 23:00:00 +0000")),
            ("31-Dec-9999 23:59:60 +0000", Some("31-Dec-9999 23:59:59 +0000")),
            ("1-Feb-2020 00:00:00 +0000", Some(" 1-Feb-2020 00:00:00 +0000")),
            ("31-Dec-2020 24:00:00 +0000", None),
            ("31-Dec-2020 00:00:00 0000", None),
            ("31-Dec-2020 00:00:00 +00:0", None),
        ] {
            let mut out = Vec::new();
            let got = parse_date_time(text.as_bytes()).map(|t| {
                encode_date_time(t, &mut out);
                std::str::from_utf8(&out).unwrap()
            });
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn every_day_of_800_years_reads_back() {
        for day in (-200_000..100_000).map(Date) {
            let mut out = Vec::new();
            encode_date_time(day.start(), &mut out);
            assert_eq!(parse_date_time(&out), Some(day.start()), "{day:?}");
        }
    }
}
