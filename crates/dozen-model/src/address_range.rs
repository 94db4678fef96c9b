//! Ranges of IP addresses as firewalls and proxies write them: `10.0.0.0/8`, `2001:db8::/32`.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address, in a
//! range and in what is looked for: a socket that serves both families names its peers that way.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

/// The bits that an IPv4 address has before it when it is written as an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// A range of IP addresses: all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    /// How many bits all have in common.
    bits: u8,
}

/// A text that is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a range of addresses: {rule}")]
pub struct NotARange {
    text: String,
    rule: String,
}

impl AddressRange {
    /// Whether `address` is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => masked_v4(address, self.bits) == first,
            (IpAddr::V6(first), IpAddr::V6(address)) => masked_v6(address, self.bits) == first,
            _ => false,
        }
    }
}

fn masked_v4(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl From<IpAddr> for AddressRange {
    /// One address alone.
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, bits: if first.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for AddressRange {
    type Err = NotARange;

    /// Reads an address, or an address and how many of its bits count: `10.0.0.0/8`. Bits behind
    /// those must be zero, for who wrote them meant something else.
    fn from_str(text: &str) -> Result<Self, NotARange> {
        let refused = |rule: &str| NotARange { text: excerpt(text), rule: rule.to_owned() };
        let (address, bits) = text.split_once('/').map_or((text, None), |(one, two)| (one, Some(two)));
        let address: IpAddr = address
            .parse()
            .map_err(|_| refused("write an address such as `10.0.0.1`, or a range such as `10.0.0.0/8`"))?;
        let Some(bits) = bits else { return Ok(address.into()) };
        let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
        let is_number = (1..=3).contains(&bits.len()) && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| is_number && *bits <= longest);
        let bits: u8 = bits.ok_or_else(|| refused(&format!("behind `/` goes a number up to {longest}")))?;
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4(masked_v4(address, bits)),
            IpAddr::V6(address) => IpAddr::V6(masked_v6(address, bits)),
        };
        if first != address {
            return Err(refused(&format!("its first address is `{first}/{bits}`")));
        }
        Ok(match first.to_canonical() {
            mapped @ IpAddr::V4(_) if address.is_ipv6() && bits >= MAPPED_BITS => {
                Self { first: mapped, bits: bits - MAPPED_BITS }
            }
            _ => Self { first, bits },
        })
    }
}

impl fmt::Display for AddressRange {
    /// One address alone is written as such.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.bits) {
            (IpAddr::V4(first), 32) => write!(f, "{first}"),
            (IpAddr::V6(first), 128) => write!(f, "{first}"),
            (first, bits) => write!(f, "{first}/{bits}"),
        }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = NotARange;

    fn try_from(text: String) -> Result<Self, NotARange> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_the_addresses_that_begin_with_its_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "::10.0.0.1"),
        ] {
            assert!(range(text).contains(address(inside)), "{text} {inside}");
            assert!(!range(text).contains(address(outside)), "{text} {outside}");
        }
    }

    #[test]
    fn a_text_that_is_no_range_says_what_is_wrong() {
        for (text, said) in [
            ("", "write an address"),
            ("office", "write an address"),
            ("10.0.0.0/", "a number up to 32"),
            ("10.0.0.0/33", "a number up to 32"),
            ("10.0.0.0/+8", "a number up to 32"),
            ("10.0.0.0/8/8", "a number up to 32"),
            ("::/129", "a number up to 128"),
            ("10.0.0.1/8", "its first address is `10.0.0.0/8`"),
            ("2001:db8::1/32", "its first address is `2001:db8::/32`"),
            ("10.0.0.0-10.0.0.9", "write an address"),
            ("10.0.0.1:80", "write an address"),
            ("fe80::1%eth0", "write an address"),
            ("010.0.0.1", "write an address"),
        ] {
            let error = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_range_is_read_back_as_it_is_written(bits in any::<u128>(), is_v4 in any::<bool>(), length in 0_u8..=128) {
            let first = if is_v4 {
                IpAddr::V4(masked_v4(Ipv4Addr::from_bits((bits >> 96) as u32), length.min(32)))
            } else {
                IpAddr::V6(masked_v6(Ipv6Addr::from_bits(bits), length))
            };
            let length = if is_v4 { length.min(32) } else { length };
            let read: AddressRange = format!("{first}/{length}").parse().unwrap();
            prop_assert_eq!(read.to_string().parse::<AddressRange>(), Ok(read));
            prop_assert!(read.contains(first));
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,40}") {
            let _ = text.parse::<AddressRange>();
        }
    }
}
