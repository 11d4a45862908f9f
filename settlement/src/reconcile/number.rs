//! Numbers of spreadsheets, which keep 15 digits of each: as plain decimals, and as times. Exact, from the text that the file has.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, ToSpan};

/// The digits that a spreadsheet keeps.
const DIGITS: usize = 15;
/// The largest power of ten that is read.
const MAX_EXPONENT: i32 = 30;

/// A number as a plain decimal of at most 15 digits: what a file has beyond them comes of how a processor writes it. `None` where it is no number, or has more digits before the point: of these a spreadsheet has made zeros.
pub fn plain(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = match text.split_once(['E', 'e']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + decimals.len() == 0 || whole.len() + decimals.len() > 64 || !are_digits(whole) || !are_digits(decimals) {
        return None;
    }
    if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
        return None;
    }
    let all = format!("{whole}{decimals}");
    let digits = all.trim_start_matches('0');
    // Where the point stands, counted from the first digit that isn't zero.
    let mut point = i32::try_from(whole.len()).ok()? + exponent - i32::try_from(all.len() - digits.len()).ok()?;
    let mut digits = digits.trim_end_matches('0').to_owned();
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    if point > i32::try_from(DIGITS).ok()? {
        return None;
    }
    if digits.len() > DIGITS {
        let up = digits.as_bytes()[DIGITS] >= b'5';
        let kept: u64 = digits[..DIGITS].parse().ok()?;
        digits = (kept + u64::from(up)).to_string();
        point += i32::from(digits.len() > DIGITS);
        digits = digits.trim_end_matches('0').to_owned();
    }
    let (length, zeros) = (i32::try_from(digits.len()).ok()?, |n: i32| "0".repeat(n.unsigned_abs() as usize));
    Some(match point {
        _ if point <= 0 => format!("{sign}0.{}{digits}", zeros(point)),
        _ if point >= length => format!("{sign}{digits}{}", zeros(point - length)),
        _ => {
            let (whole, decimals) = digits.split_at(point.unsigned_abs() as usize);
            format!("{sign}{whole}.{decimals}")
        }
    })
}

/// A spreadsheet's time, to the millisecond: days since the end of 1899, or where the workbook says so, since 1904.
pub fn time(text: &str, since_1904: bool) -> Option<DateTime> {
    let plain = plain(text)?;
    let (days, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let days: i32 = days.parse().ok().filter(|days| (0..3_000_000).contains(days))?;
    let part = part.get(..12.min(part.len()))?;
    let (part, whole) = (
        format!("0{part}").parse::<i128>().ok()?,
        10i128.pow(u32::try_from(part.len()).ok()?),
    );
    let millis = (part * 86_400_000 * 2 + whole) / (whole * 2);
    let first = if since_1904 {
        Date::constant(1904, 1, 1)
    } else {
        Date::constant(1899, 12, 30)
    };
    let day = first.checked_add(days.days()).ok()?;
    day.at(0, 0, 0, 0)
        .checked_add(SignedDuration::from_millis(i64::try_from(millis).ok()?))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_they_were_typed() {
        for (file, typed) in [
            ("12.5", "12.5"),
            ("12.300000000000001", "12.3"),
            ("0.1", "0.1"),
            ("1E-3", "0.001"),
            ("1.2500000000000001E-2", "0.0125"),
            ("1.5E+3", "1500"),
            ("4.92910000000123E+14", "492910000000123"),
            ("492910000000120", "492910000000120"),
            ("700", "700"),
            ("0.00", "0"),
            ("-5", "-5"),
            ("999999999999999.96", "1000000000000000"),
            ("0.99999999999999999", "1"),
        ] {
            assert_eq!(plain(file).as_deref(), Some(typed), "{file}");
        }
        for none in [
            "",
            ".",
            "1e",
            "x",
            "1.2.3",
            "1E99",
            "4929100000001234",
            "4929100000001230",
            "4.92910000000123E+15",
            "1E+15",
            "+5",
            "NaN",
            "1E-99999999999",
        ] {
            assert_eq!(plain(none), None, "{none}");
        }
    }

    #[test]
    fn times_are_exact_to_the_millisecond() {
        for (serial, since_1904, at) in [
            ("46346.416666666664", false, "2026-11-20T10:00:00"),
            ("46346", false, "2026-11-20T00:00:00"),
            ("44884.5", true, "2026-11-20T12:00:00"),
            ("46346.000011574077", false, "2026-11-20T00:00:01"),
        ] {
            assert_eq!(time(serial, since_1904), at.parse().ok(), "{serial}");
        }
        assert_eq!(time("-1", false), None);
        assert_eq!(time("99999999", false), None);
    }
}
