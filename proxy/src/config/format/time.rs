//! How a moment reads: what `strftime` calls a format, and Envoy's `%s` and `%3f`.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

/// A format of a moment, always in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    /// Its pieces in order.
    pub pieces: Vec<TimePiece>,
}

/// A piece of a [`TimeFormat`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimePiece {
    /// As it stands.
    Literal(String),
    /// `%Y` and its like.
    Field(char),
    /// `%3f`: so many digits of the second's fraction.
    Fraction(usize),
}

/// A moment taken apart.
struct Moment {
    /// Since 1970.
    seconds: u64,
    nanos: u32,
    year: u64,
    /// 1 to 12
    month: u64,
    /// 1 to 31
    day: u64,
    /// Of the year, from 1.
    yearday: u64,
    /// 0 is Sunday.
    weekday: usize,
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The fields that a format may have, each of `strftime`.
const FIELDS: &str = "YymdeHIMSpaAbBhjDFTRzZs";

// === impl TimeFormat ===

impl Default for TimeFormat {
    /// RFC 3339 with milliseconds.
    fn default() -> Self {
        let date = TimePiece::Field('F');
        let (t, time) = (TimePiece::Literal("T".to_owned()), TimePiece::Field('T'));
        let dot = TimePiece::Literal(".".to_owned());
        let zone = TimePiece::Literal("Z".to_owned());
        Self {
            pieces: vec![date, t, time, dot, TimePiece::Fraction(3), zone],
        }
    }
}

impl TimeFormat {
    /// None if it has a field that is not supported.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                literal.push(c);
                continue;
            }
            let piece = match rest.next()? {
                '%' => {
                    literal.push('%');
                    continue;
                }
                'f' => TimePiece::Fraction(9),
                digit @ '1'..='9' => {
                    let digits = digit.to_digit(10).filter(|_| rest.next() == Some('f'))?;
                    TimePiece::Fraction(digits as usize)
                }
                field => TimePiece::Field(FIELDS.chars().find(|known| *known == field)?),
            };
            if !literal.is_empty() {
                pieces.push(TimePiece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(TimePiece::Literal(literal));
        }
        Some(Self { pieces })
    }

    /// Appends a moment. What was before 1970 is shown as 1970.
    pub fn render(&self, time: SystemTime, out: &mut String) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let moment = Moment::new(since.unwrap_or_default());
        for piece in &self.pieces {
            match piece {
                TimePiece::Literal(text) => out.push_str(text),
                TimePiece::Field(field) => moment.field(*field, out),
                TimePiece::Fraction(digits) => {
                    let all = format!("{:09}", moment.nanos);
                    out.push_str(&all[..*digits]);
                }
            }
        }
    }
}

// === impl Moment ===

impl Moment {
    fn new(since: Duration) -> Self {
        const DAY: u64 = 86_400;
        let seconds = since.as_secs();
        let days = seconds / DAY;
        // The calendar repeats itself after 400 years, here counted from the 1st of March of year 0, so that
        // a leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = match shifted_month < 10 {
            true => shifted_month + 3,
            false => shifted_month - 9,
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap_day = u64::from(is_leap && month > 2);
        Self {
            seconds,
            nanos: since.subsec_nanos(),
            year,
            month,
            day,
            yearday: before[month as usize - 1] + day + leap_day,
            weekday: ((days + 4) % 7) as usize,
        }
    }

    fn field(&self, field: char, out: &mut String) {
        let (hour, minute) = (self.seconds / 3600 % 24, self.seconds / 60 % 60);
        let second = self.seconds % 60;
        let (day_name, month_name) = (DAYS[self.weekday], MONTHS[self.month as usize - 1]);
        // Writing to a String cannot fail.
        let _ = match field {
            'Y' => write!(out, "{}", self.year),
            'y' => write!(out, "{:02}", self.year % 100),
            'm' => write!(out, "{:02}", self.month),
            'd' => write!(out, "{:02}", self.day),
            'e' => write!(out, "{:2}", self.day),
            'H' => write!(out, "{hour:02}"),
            'I' => write!(out, "{:02}", (hour + 11) % 12 + 1),
            'M' => write!(out, "{minute:02}"),
            'S' => write!(out, "{second:02}"),
            'p' => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            'a' => write!(out, "{}", &day_name[..3]),
            'A' => write!(out, "{day_name}"),
            'b' | 'h' => write!(out, "{}", &month_name[..3]),
            'B' => write!(out, "{month_name}"),
            'j' => write!(out, "{:03}", self.yearday),
            'D' => write!(
                out,
                "{:02}/{:02}/{:02}",
                self.month,
                self.day,
                self.year % 100
            ),
            'F' => write!(out, "{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            'R' => write!(out, "{hour:02}:{minute:02}"),
            'z' => write!(out, "+0000"),
            'Z' => write!(out, "UTC"),
            's' => write!(out, "{}", self.seconds),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str, seconds: u64, nanos: u32) -> String {
        let mut out = String::new();
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        TimeFormat::parse(format)
            .expect(format)
            .render(time, &mut out);
        out
    }

    #[test]
    fn moments_read_as_strftime_has_them() {
        for (format, shows) in [
            ("%Y/%m/%dT%H:%M:%S%z", "2024/02/29T13:04:05+0000"),
            ("%s.%3f %6f %f", "1709211845.000 000007 000007000"),
            (
                "%a %A %b %B %j %p %I %e",
                "Thu Thursday Feb February 060 PM 01 29",
            ),
            (
                "%F %T %D %R %y %Z 100%%",
                "2024-02-29 13:04:05 02/29/24 13:04 24 UTC 100%",
            ),
        ] {
            assert_eq!(shown(format, 1_709_211_845, 7000), shows);
        }
        assert_eq!(shown("%F %j", 0, 0), "1970-01-01 001");
        assert_eq!(shown("%F %j", 4_102_444_799, 0), "2099-12-31 365");
        for wrong in ["%", "%Q", "%3", "%0f", "%Ez"] {
            assert_eq!(TimeFormat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_default_is_rfc_3339() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_211_845_123);
        let mut out = String::new();
        TimeFormat::default().render(time, &mut out);
        assert_eq!(out, "2024-02-29T13:04:05.123Z");
    }
}
