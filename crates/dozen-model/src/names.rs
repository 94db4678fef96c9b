//! Names: of apps, stages, services, process types, instances, config vars and domains.
//!
//! Each is parsed once, at the border, into a type that cannot hold a bad one. App and stage
//! names become DNS labels (`STAGE--APP.localhost`), so they keep to those rules and leave `--`
//! to us.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not {what}: {rule}")]
pub struct NameError {
    name: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    // The name is quoted with its control characters escaped and cut short:
                    // it may come from a hostile repository.
                    Err(rule) => Err(NameError {
                        name: text.chars().take(80).flat_map(char::escape_default).collect(),
                        what: $what,
                        rule,
                    }),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of an app: a DNS label of at most 30 characters without `--`.
    AppName,
    "an app name",
    |text| label(text, 30)
);
name!(
    /// The name of a stage, such as `production`: a DNS label of at most 30 characters without `--`.
    StageName,
    "a stage name",
    |text| label(text, 30)
);
name!(
    /// The name of a backing service within its stage.
    ServiceName,
    "a service name",
    |text| label(text, 30)
);
name!(
    /// A process type: the word before the colon of a Procfile line.
    ProcessType,
    "a process type",
    process_type
);
name!(
    /// The name of a config var that a user may set.
    ConfigVar,
    "a config var",
    config_var
);
name!(
    /// A domain name that routes to a stage, in lower case and without a trailing dot.
    Domain,
    "a domain",
    domain
);

impl StageName {
    /// The stage that is meant where none is named.
    pub fn production() -> Self {
        Self("production".to_owned())
    }
}

impl ProcessType {
    /// The type that the router sends requests to.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    /// The type whose command is the release phase.
    pub fn release() -> Self {
        Self("release".to_owned())
    }

    /// Whether the router sends requests to this type.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

/// One instance of a process type, written `web.1`; numbers start at 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName {
    /// The process type.
    pub process: ProcessType,
    /// Its number, from 1.
    pub number: u32,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.number)
    }
}

impl FromStr for InstanceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError {
            name: text.escape_default().take(80).collect(),
            what: "an instance",
            rule: "write it as `web.1`",
        };
        let (process, number) = text.rsplit_once('.').ok_or_else(refused)?;
        let number = number.parse().ok().filter(|n| *n > 0).ok_or_else(refused)?;
        Ok(Self { process: process.parse()?, number })
    }
}

impl TryFrom<String> for InstanceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> Self {
        name.to_string()
    }
}

fn label(text: &str, limit: usize) -> Result<(), &'static str> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > limit {
        Err("use 1 to 30 characters")
    } else if !text.bytes().all(inner) {
        Err("use lower-case letters, digits and `-`")
    } else if text.starts_with('-') || text.ends_with('-') || text.starts_with(|c: char| c.is_ascii_digit()) {
        Err("start with a letter and end with a letter or digit")
    } else if text.contains("--") {
        Err("`--` separates stage and app in host names")
    } else {
        Ok(())
    }
}

fn process_type(text: &str) -> Result<(), &'static str> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(inner) {
        Err("use 1 to 63 letters, digits, `-` and `_`")
    } else {
        Ok(())
    }
}

fn config_var(text: &str) -> Result<(), &'static str> {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let plain =
        text.bytes().next().is_some_and(first) && text.bytes().all(|b| first(b) || b.is_ascii_digit());
    if !plain || text.len() > 255 {
        Err("use letters, digits and `_`, and do not start with a digit")
    } else if text.starts_with("DOZEN_") || text == "PORT" || text == "DYNO" {
        Err("`PORT`, `DYNO` and names that start with `DOZEN_` are set by dozen")
    } else {
        Ok(())
    }
}

fn domain(text: &str) -> Result<(), &'static str> {
    let part = |p: &str| {
        !p.is_empty()
            && p.len() <= 63
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !p.starts_with('-')
            && !p.ends_with('-')
    };
    let numeric_end = text.rsplit('.').next().is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if text.is_empty() || text.len() > 253 || numeric_end || !text.split('.').all(part) {
        Err(
            "write a host name such as `blog.example.org`, in lower case, without scheme, port or trailing dot",
        )
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_name_is_a_dns_label_without_two_dashes() {
        for good in ["a", "blango", "my-app-2", "a23456789012345678901234567890"] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "a--b", "-a", "a-", "A", "2a", "a_b", "a.b", "a/b", "é", &"a".repeat(31)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn reserved_config_vars_are_refused() {
        for good in ["A", "_x", "SECRET_KEY", "lower1"] {
            assert!(good.parse::<ConfigVar>().is_ok(), "{good}");
        }
        for bad in ["", "1A", "A-B", "PORT", "DYNO", "DOZEN_HOME", "A=B", "A\0", "Ä"] {
            assert!(bad.parse::<ConfigVar>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_name_is_quoted_without_its_control_characters() {
        let error = "\x1b[31mred".parse::<AppName>().unwrap_err().to_string();
        assert!(!error.contains('\x1b'), "{error}");
    }

    #[test]
    fn an_instance_is_a_process_type_and_a_number() {
        let name: InstanceName = "web.2".parse().unwrap();
        assert_eq!((name.process.as_str(), name.number), ("web", 2));
        for bad in ["web", "web.0", "web.x", ".1", "web.1.2"] {
            assert!(bad.parse::<InstanceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_domain_has_no_scheme_port_or_address() {
        assert!("blog.example.org".parse::<Domain>().is_ok());
        for bad in ["http://a.b", "a.b:80", "a..b", ".a", "a.", "127.0.0.1", "A.org", "-a.org"] {
            assert!(bad.parse::<Domain>().is_err(), "{bad}");
        }
    }
}
