//! Points in time, to the millisecond, in the proleptic Gregorian calendar and UTC.

use crate::digits::fill;
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z. Shown as AWS writes it: `2026-11-21T09:00:00.000Z`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    millis: i64,
}

const DAY: i64 = 86_400_000;
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self { millis: secs.saturating_mul(1000) }
    }

    pub const fn millis(self) -> i64 {
        self.millis
    }

    pub const fn secs(self) -> i64 {
        self.millis.div_euclid(1000)
    }

    /// As in headers of HTTP: `Tue, 29 Apr 2014 18:30:38 GMT`. Milliseconds are cut off.
    pub fn to_http_date(self) -> String {
        let (days, time) = (self.secs().div_euclid(86_400), self.secs().rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        // 1970 began on a Thursday.
        let weekday = WEEKDAYS[(days + 3).rem_euclid(7) as usize];
        let month = MONTHS[(month - 1) as usize];
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// A date of HTTP, in its preferred form; the day of the week is not looked at.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let (weekday, rest) = text.split_once(", ")?;
        if !WEEKDAYS.contains(&weekday) {
            return None;
        }
        let mut rest = Cursor { bytes: rest.as_bytes() };
        let day = rest.digits(2)?;
        rest.expect(b' ')?;
        let (name, after) = rest.bytes.split_at_checked(3)?;
        let month = MONTHS.iter().position(|month| month.as_bytes() == name)? as i64 + 1;
        rest.bytes = after;
        rest.expect(b' ')?;
        let year = rest.digits(4)?;
        rest.expect(b' ')?;
        let hour = rest.digits(2)?;
        rest.expect(b':')?;
        let minute = rest.digits(2)?;
        rest.expect(b':')?;
        let second = rest.digits(2)?;
        if rest.bytes != b" GMT"
            || year == 0
            || day == 0
            || day > days_in_month(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let time = ((hour * 60 + minute) * 60 + second) * 1000;
        Some(Self { millis: days_from_civil(year, month, day) * DAY + time })
    }

    /// ISO 8601 with `Z` or an offset, and up to nine digits of fraction (cut to milliseconds): `2026-11-21T09:00:00Z`,
    /// `2026-11-21T10:00:00.25+01:00`. A date alone is its midnight. Years 0001 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Cursor { bytes: text.as_bytes() };
        let year = rest.digits(4)?;
        rest.expect(b'-')?;
        let month = rest.digits(2)?;
        rest.expect(b'-')?;
        let day = rest.digits(2)?;
        if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        let midnight = days_from_civil(year, month, day) * DAY;
        if rest.bytes.is_empty() {
            return Some(Self { millis: midnight });
        }
        rest.expect(b'T')?;
        let hour = rest.digits(2)?;
        rest.expect(b':')?;
        let minute = rest.digits(2)?;
        rest.expect(b':')?;
        let second = rest.digits(2)?;
        // A leap second is taken as the second after it.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let fraction = if rest.expect(b'.').is_some() { rest.fraction()? } else { 0 };
        let offset = rest.offset()?;
        if !rest.bytes.is_empty() {
            return None;
        }
        let time = ((hour * 60 + minute - offset) * 60 + second) * 1000 + fraction;
        Some(Self { millis: midnight + time })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, time) = (self.millis.div_euclid(DAY), self.millis.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let (secs, millis) = (time / 1000, time % 1000);
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        if !(0..=9999).contains(&year) {
            return write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
        }
        let mut out = *b"0000-00-00T00:00:00.000Z";
        let parts =
            [(0..4, year), (5..7, month), (8..10, day), (11..13, hour), (14..16, minute), (17..19, second)];
        for (range, number) in parts.into_iter().chain([(20..23, millis)]) {
            fill(&mut out[range], number.unsigned_abs());
        }
        f.write_str(std::str::from_utf8(&out).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.bytes = self.bytes.strip_prefix(&[byte])?;
        Some(())
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        digits
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    }

    /// Milliseconds from one to nine digits.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let nanos = self.digits(count)? * 10_i64.pow(9 - count as u32);
        Some(nanos / 1_000_000)
    }

    /// Minutes east of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.expect(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.expect(b'+').is_some() {
            1
        } else {
            self.expect(b'-')?;
            -1
        };
        let hours = self.digits(2)?;
        self.expect(b':');
        let minutes = self.digits(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch. Years begin in March, so that the leap day is the last of a year; 400 years are one era.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn a_timestamp_is_written_with_milliseconds_and_z() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(951_782_400_007).to_string(), "2000-02-29T00:00:00.007Z");
    }

    #[test]
    fn the_forms_that_clients_send_are_read() {
        let millis = |text| Timestamp::parse(text).map(Timestamp::millis);
        assert_eq!(millis("2000-02-29T00:00:00Z"), Some(951_782_400_000));
        assert_eq!(millis("2000-02-29"), Some(951_782_400_000));
        assert_eq!(millis("2000-02-29T00:00:00.123456Z"), Some(951_782_400_123));
        assert_eq!(millis("2000-02-29T01:30:00.5+01:30"), Some(951_782_400_500));
        assert_eq!(millis("2000-02-28T23:00:00-0100"), Some(951_782_400_000));
    }

    #[test]
    fn dates_of_http_are_written_and_read() {
        let at = Timestamp::from_millis(1_398_796_238_000);
        assert_eq!(at.to_http_date(), "Tue, 29 Apr 2014 18:30:38 GMT");
        assert_eq!(Timestamp::parse_http_date("Tue, 29 Apr 2014 18:30:38 GMT"), Some(at));
        for text in [
            "",
            "Tue, 29 Apr 2014",
            "Tue, 31 Apr 2014 18:30:38 GMT",
            "29 Apr 2014 18:30:38 GMT",
            "Tue, 29 Äpr 2014 1",
        ] {
            assert_eq!(Timestamp::parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2001-02-29",
            "2000-13-01",
            "2000-02-29T24:00:00Z",
            "2000-02-29T00:00:00",
            "2000-02-29T00:00:00.Z",
            "2000-02-29T00:00:00Zx",
            "0000-01-01",
            "2000-00-01",
            "２０００-01-01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_reads_back() {
        for day in 0..146_097 {
            let at = Timestamp::from_millis((day - 73_000) * 86_400_000 + 12_345);
            assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        }
    }
}
