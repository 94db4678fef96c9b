//! One of the twelve factors, by its Roman number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// A factor, `I` to `XII`; they are ordered as the manifesto numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Factor(u8);

/// A word that is not the number of a factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a factor: write a Roman number from `I` to `XII`")]
pub struct NotAFactor(String);

impl Factor {
    /// The factor's number, 1 to 12.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Factor {
    type Err = NotAFactor;

    /// Reads `IV` and `4`.
    fn from_str(text: &str) -> Result<Self, NotAFactor> {
        let matching = |(number, roman): &(u8, &str)| *roman == text || number.to_string() == text;
        let found = (1..).zip(ROMAN).find(matching);
        found.map(|(number, _)| Self(number)).ok_or_else(|| NotAFactor(excerpt(text)))
    }
}

impl TryFrom<String> for Factor {
    type Error = NotAFactor;

    fn try_from(text: String) -> Result<Self, NotAFactor> {
        text.parse()
    }
}

impl From<Factor> for String {
    fn from(factor: Factor) -> Self {
        factor.to_string()
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROMAN[usize::from(self.0) - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_a_roman_number_up_to_twelve() {
        for (number, roman) in (1..).zip(ROMAN) {
            let factor: Factor = roman.parse().unwrap();
            assert_eq!((factor.number(), factor.to_string().as_str()), (number, roman));
            assert_eq!(number.to_string().parse(), Ok(factor));
        }
        for bad in ["", "XIII", "iv", "0", "13", "IIII", "04"] {
            assert!(bad.parse::<Factor>().is_err(), "{bad}");
        }
    }
}
