//! The dates that a signed request carries, as Unix seconds.

use crate::digits::fill;

/// `YYYYMMDDTHHMMSSZ`.
pub fn amz_date(unix: i64) -> String {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    if !(0..=9999).contains(&year) {
        return format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
    }
    let mut out = *b"00000000T000000Z";
    let parts = [(0..4, year), (4..6, month), (6..8, day), (9..11, hour), (11..13, minute), (13..15, second)];
    for (range, number) in parts {
        fill(&mut out[range], number.unsigned_abs());
    }
    std::str::from_utf8(&out).expect("digits are ASCII").to_owned()
}

/// Reads `YYYYMMDDTHHMMSSZ`.
pub fn parse_amz_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| digits(&bytes[range]);
    unix(number(0..4)?, number(4..6)?, number(6..8)?, number(9..11)?, number(11..13)?, number(13..15)?)
}

/// A `Date` header: `Sun, 30 Aug 2015 12:36:00 GMT`, or ISO 8601 in either form.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    if let Some(unix) = parse_amz_date(text) {
        return Some(unix);
    }
    let bytes = text.as_bytes();
    if bytes.len() == 20 && bytes[19] == b'Z' && bytes[10] == b'T' {
        let compact: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        return parse_amz_date(&compact);
    }
    let (_, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str| digits(text.as_bytes());
    unix(number(year)?, month, number(day)?, number(hour)?, number(minute)?, number(second)?)
}

fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn unix(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // Days past a month's end would come back as another date.
    (civil(days) == (year, month, day)).then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a proleptic Gregorian date, counting years from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_they_are_written() {
        for (unix, text) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_709_164_800, "20240229T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(amz_date(unix), text);
            assert_eq!(parse_amz_date(text), Some(unix));
        }
    }

    #[test]
    fn a_date_header_may_be_of_either_form() {
        assert_eq!(parse_http_date("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160));
        assert_eq!(parse_http_date("2015-08-30T12:36:00Z"), Some(1_440_938_160));
        assert_eq!(parse_http_date("20150830T123600Z"), Some(1_440_938_160));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "20150230T000000Z", "20151301T000000Z", "20150101T240000Z", "2015-01-01", "20150101T0000+0Z"]
        {
            assert_eq!(parse_amz_date(text), None, "{text}");
        }
        for text in
            ["yesterday", "Sun, 30 Aug 2015 12:36:00 CET", "Sun, 31 Sep 2015 12:36:00 GMT", "é, 1 2 3 4 5"]
        {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
