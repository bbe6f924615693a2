//! How often a host's processors and memory are promised: the operator's choice.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How often what the host has is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overcommit {
    /// Virtual CPUs for each CPU of the host.
    pub cpu: Ratio,
    pub memory: Ratio,
}

impl Default for Overcommit {
    fn default() -> Self {
        Self { cpu: Ratio(800), memory: Ratio(100) }
    }
}

/// A factor between 0.01 and 100, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ratio(u32);

impl Ratio {
    /// The part of `amount`, rounded down.
    pub fn of(self, amount: u32) -> u64 {
        u64::from(amount) * u64::from(self.0) / 100
    }
}

/// The text is no factor between 0.01 and 100 with at most two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRatio;

impl fmt::Display for NoRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a factor from 0.01 to 100 with at most two decimals, such as 1.5")
    }
}

impl std::error::Error for NoRatio {}

impl FromStr for Ratio {
    type Err = NoRatio;

    fn from_str(text: &str) -> Result<Self, NoRatio> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 2 || !digits(whole) || !digits(decimals) {
            return Err(NoRatio);
        }
        let hundredths = format!("{whole}{decimals:0<2}").parse().map_err(|_| NoRatio)?;
        if (1..=10_000).contains(&hundredths) { Ok(Self(hundredths)) } else { Err(NoRatio) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, decimals) if decimals % 10 == 0 => write!(f, "{whole}.{}", decimals / 10),
            (whole, decimals) => write!(f, "{whole}.{decimals:02}"),
        }
    }
}

impl From<Ratio> for String {
    fn from(ratio: Ratio) -> Self {
        ratio.to_string()
    }
}

impl TryFrom<String> for Ratio {
    type Error = NoRatio;

    fn try_from(text: String) -> Result<Self, NoRatio> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_written_as_people_write_them() {
        for (text, shown) in [("4", "4"), ("1.5", "1.5"), ("0.25", "0.25"), ("1.05", "1.05"), ("2.50", "2.5")]
        {
            assert_eq!(text.parse::<Ratio>().unwrap().to_string(), shown);
        }
        for wrong in ["", "0", "0.001", "-1", "1,5", "101", ".5", "four", "1.", "1e2"] {
            let parsed = wrong.parse::<Ratio>();
            assert_eq!(parsed.is_err(), wrong != "1.", "{wrong}: {parsed:?}");
        }
        let kept = serde_json::to_string(&Overcommit::default()).unwrap();
        assert_eq!(kept, r#"{"cpu":"8","memory":"1"}"#);
        assert_eq!(serde_json::from_str::<Overcommit>(&kept).unwrap(), Overcommit::default());
    }
}
