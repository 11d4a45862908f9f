//! Times as they travel: one grammar, so that every reader of the stored bytes reads the same instant.

use std::str::FromStr;

use jiff::Timestamp;

/// A time of the form `2026-11-21T10:00:00Z` or `2026-11-21T18:00:00.25+08:00` (RFC 3339 with capital T and Z, seconds up to 59, at most nine decimals).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireTime(pub Timestamp);

impl FromStr for WireTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be a time such as 2026-11-21T10:00:00Z or 2026-11-21T18:00:00.25+08:00";
        if !is_well_formed(text.as_bytes()) {
            return Err(WRONG);
        }
        text.parse().map(Self).map_err(|_| WRONG)
    }
}

/// Whether the bytes have the shape; whether there is such a day and hour is for the calendar to say.
fn is_well_formed(text: &[u8]) -> bool {
    let like = |part: &[u8], pattern: &[u8]| {
        let fits = |(b, p): (&u8, &u8)| if *p == b'0' { b.is_ascii_digit() } else { b == p };
        part.len() == pattern.len() && part.iter().zip(pattern).all(fits)
    };
    let Some((time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let decimals = rest
        .strip_prefix(b".")
        .map_or(0, |rest| 1 + rest.iter().take_while(|b| b.is_ascii_digit()).count());
    let (fraction, offset) = rest.split_at(decimals);
    let seconds_fit = time[17] < b'6';
    let offset_fits = offset == b"Z" || like(offset, b"+00:00") || like(offset, b"-00:00");
    like(time, b"0000-00-00T00:00:00") && seconds_fit && fraction.len() != 1 && fraction.len() <= 10 && offset_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_grammar() {
        for good in [
            "2026-11-21T10:00:00Z",
            "2026-11-21T18:00:00.25+08:00",
            "2024-02-29T23:59:59.123456789-12:00",
        ] {
            assert!(good.parse::<WireTime>().is_ok(), "{good}");
        }
        let bad = [
            "",
            "2026-11-21",
            "2026-11-21 10:00:00Z",
            "2026-11-21t10:00:00z",
            "2026-11-21T10Z",
            "2026-11-21T10:00Z",
            "2026-11-21T10:00:60Z",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00:00.Z",
            "2026-11-21T10:00:00,5Z",
            "2026-11-21T10:00:00.1234567890Z",
            "2026-11-21T10:00:00+0800",
            "2026-11-21T10:00:00Z[Asia/Hong_Kong]",
            "2026-02-30T10:00:00Z",
            "2026-11-21T24:00:00Z",
            "-002026-11-21T10:00:00Z",
            "２026-11-21T10:00:00Z",
        ];
        for bad in bad {
            assert!(bad.parse::<WireTime>().is_err(), "{bad}");
        }
    }
}
