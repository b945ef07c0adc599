//! The words that name a form of date and time in settings and reports: `Y-m-d H:M:S[.f6]+hh:mm`.
//!
//! What is always written stands plain, what may be missing in brackets. Every form has one word and every word one form.

use super::form::UnknownForm;
use super::moment_name::ZoneName;
use super::moment_text::{Clock, Gap, Moment, Offset, Separator, Shape, Style, Suffix};
use std::fmt;
use std::str::FromStr;

const DENSE_DATE: &str = "Ymd";

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.separator, self.shape) {
            (Separator::Nothing, Shape::Date) => return out.write_str(DENSE_DATE),
            (Separator::Nothing, _) => return out.write_str(&dense_word(self.clock)),
            (Separator::Space | Separator::T, _) => {}
        }
        out.write_str(match self.shape {
            Shape::Date | Shape::DateClock => "Y-m-d",
            Shape::Clock => "",
            Shape::ClockOn2000 => "2000-01-01",
            Shape::ClockOn1970 => "1970-01-01",
        })?;
        match (self.shape, self.separator) {
            (Shape::Date, _) => return Ok(()),
            (Shape::Clock, _) => {}
            (
                Shape::DateClock | Shape::ClockOn2000 | Shape::ClockOn1970,
                Separator::Space | Separator::Nothing,
            ) => out.write_str(" ")?,
            (Shape::DateClock | Shape::ClockOn2000 | Shape::ClockOn1970, Separator::T) => {
                out.write_str("T")?
            }
        }
        self.clock.fmt(out)?;
        self.suffix.map_or(Ok(()), |suffix| suffix.fmt(out))
    }
}

impl FromStr for Moment {
    type Err = UnknownForm;

    fn from_str(word: &str) -> Result<Moment, UnknownForm> {
        read(word).ok_or_else(|| UnknownForm(word.to_owned()))
    }
}

fn read(word: &str) -> Option<Moment> {
    if word == "Y-m-d" {
        return Some(Moment::DATE);
    }
    if word == DENSE_DATE {
        return Some(Moment::DENSE_DATE);
    }
    if let Some(clock) = clocks().find(|clock| *clock != Clock::Shortest && dense_word(*clock) == word) {
        return Some(Moment::dense(clock));
    }
    let days =
        [("Y-m-d", Shape::DateClock), ("2000-01-01", Shape::ClockOn2000), ("1970-01-01", Shape::ClockOn1970)];
    let day = days.iter().find_map(|(day, shape)| Some((*shape, word.strip_prefix(day)?)));
    let (shape, separator, rest) = match day {
        None => (Shape::Clock, Separator::Space, word),
        Some((shape, rest)) => match rest.strip_prefix('T') {
            Some(rest) => (shape, Separator::T, rest),
            None => (shape, Separator::Space, rest.strip_prefix(' ')?),
        },
    };
    let (clock, rest) = clocks().find_map(|clock| Some((clock, rest.strip_prefix(&clock.to_string())?)))?;
    let suffix = if rest.is_empty() { None } else { Some(suffix(rest)?) };
    Some(Moment { shape, separator, clock, suffix })
}

fn dense_word(clock: Clock) -> String {
    format!("Ymd{}", clock.to_string().replace(':', ""))
}

/// Every clock, those first whose words begin with another's.
fn clocks() -> impl Iterator<Item = Clock> {
    let optional = (1..=9).map(Clock::UnlessZero);
    [Clock::Shortest, Clock::Groups, Clock::Trimmed]
        .into_iter()
        .chain(optional)
        .chain((1..=9).map(Clock::Fixed))
        .chain([Clock::TrimmedToOne, Clock::Fixed(0)])
}

fn suffix(word: &str) -> Option<Suffix> {
    let (gap, rest) = match word.strip_prefix(' ') {
        Some(rest) => (Gap::Spaced, rest),
        None => (Gap::Tight, word),
    };
    let styles = [Style::ZOrColon, Style::Colon, Style::Basic, Style::Hours, Style::Named(ZoneName::OWN)];
    let mut writable = styles.iter().filter(|style| gap == Gap::Spaced || !matches!(style, Style::Named(_)));
    let local = writable.find(|style| style.local() == rest);
    if let Some(style) = local {
        return Some(Suffix { gap, style: *style, offset: Offset::Local });
    }
    let zoned = super::moment_text::zoned(word.as_bytes())?;
    Some(Suffix { gap, style: zoned.style, offset: Offset::Fixed(zoned.seconds) })
}

impl Style {
    fn local(self) -> &'static str {
        match self {
            Style::Z => "Z",
            Style::Utc => "UTC",
            Style::Colon => "+hh:mm",
            Style::ZOrColon => "Z|+hh:mm",
            Style::Basic => "+hhmm",
            Style::Hours => "+hh",
            Style::Named(_) => "+hhmm zone",
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clock::Fixed(0) => out.write_str("H:M:S"),
            Clock::Fixed(digits) => write!(out, "H:M:S.f{digits}"),
            Clock::UnlessZero(digits) => write!(out, "H:M:S[.f{digits}]"),
            Clock::Trimmed => out.write_str("H:M:S[.f]"),
            Clock::TrimmedToOne => out.write_str("H:M:S.f"),
            Clock::Groups => out.write_str("H:M:S[.f3|.f6]"),
            Clock::Shortest => out.write_str("H:M[:S[.f3|.f6]]"),
        }
    }
}

impl fmt::Display for Suffix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Offset::Local => {
                out.write_str(if self.gap == Gap::Spaced { " " } else { "" })?;
                out.write_str(self.style.local())
            }
            Offset::Fixed(seconds) => {
                let mut text = Vec::new();
                super::moment_text::put_zoned(self.zoned(seconds), &mut text);
                out.write_str(std::str::from_utf8(&text).expect("an offset is written in ASCII"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_moment_names_that_form() {
        for word in [
            "Y-m-d",
            "H:M:S",
            "H:M:S[.f6]",
            "H:M:S.f",
            "Y-m-dTH:M:S.f+hh:mm",
            "Y-m-d H:M:S",
            "Y-m-d H:M:S.f6",
            "Y-m-d H:M:S.f3 +00:00",
            "Y-m-dTH:M:S[.f]Z",
            "Y-m-d H:M:S[.f]+02:00",
            "Y-m-d H:M:S[.f]+hh:mm",
            "Y-m-d H:M:S[.f3|.f6]-0330",
            "Y-m-dTH:M[:S[.f3|.f6]]",
            "Y-m-d H:M:S.f9 +hhmm",
            "Y-m-d H:M:S[.f] UTC",
            "Y-m-dTH:M:S[.f]Z|+hh:mm",
            "Y-m-d H:M:S[.f] +0000 UTC",
            "Y-m-d H:M:S[.f] -0330 -0330",
            "Y-m-d H:M:S[.f] +0800 UTC+8",
            "Y-m-d H:M:S[.f] +hhmm zone",
            "2000-01-01 H:M:S[.f6]",
            "1970-01-01TH:M:S+00",
            "YmdHMS[.f6]",
            "Ymd",
        ] {
            assert_eq!(word.parse::<Moment>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn other_words_name_no_form() {
        for word in [
            "",
            "Y-m-d ",
            "Y-m-d  H:M:S",
            "H:M",
            "H:M:S.f10",
            "H:M:SY",
            "Y-m-d H:M:S-00:00",
            "Y-m-dH:M:S",
            "YmdHM",
            "YmdHM[S[.f3|.f6]]",
            "YmdHMS[.f6]Z",
            "Y-m-d H:M:S+hhmm zone",
            "Y-m-d H:M:S+0000 UTC",
            "Y-m-d H:M:SUTC",
            "Y-m-d H:M:S +0000 ",
            "Y-m-d H:M:S +0000 UTC m=+1",
        ] {
            assert!(word.parse::<Moment>().is_err(), "{word}");
        }
    }
}
