//! Request ids: kept when they are safe to log and forward, else 128 random bits.

use std::{cell::Cell, io};

use rustix::rand::{GetRandomFlags, getrandom};

/// The request ids of one thread. They are unique, not secret: one seed from the kernel, then
/// SplitMix64.
#[derive(Debug)]
pub(crate) struct RequestIds {
    state: Cell<u64>,
    /// Differs between threads and starts, so that equal states do not give equal ids.
    salt: u64,
}

impl RequestIds {
    pub(crate) fn new() -> io::Result<Self> {
        let mut seed = [0_u8; 16];
        getrandom(&mut seed, GetRandomFlags::empty())?;
        let [state, salt] =
            [0, 8].map(|at| seed[at..at + 8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        Ok(Self { state: Cell::new(state), salt })
    }

    /// The client's id if it is 20 to 200 of `[A-Za-z0-9_.-]`, else a new one; then its digits too.
    pub(crate) fn choose(&self, offered: Option<&[u8]>) -> (String, Option<[u8; 32]>) {
        match offered.and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) if is_safe(id.as_bytes()) => (id.to_owned(), None),
            _ => {
                let digits = self.digits();
                (String::from_utf8_lossy(&digits).into_owned(), Some(digits))
            }
        }
    }

    /// 128 bits in hexadecimal digits.
    pub(crate) fn digits(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        digits[..16].copy_from_slice(&self.half());
        digits[16..].copy_from_slice(&hexadecimal(self.next() ^ self.salt));
        digits
    }

    /// 64 bits in hexadecimal digits, never only zeros.
    pub(crate) fn half(&self) -> [u8; 16] {
        hexadecimal(self.next().max(1))
    }

    fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|index| DIGITS[(number >> (index * 4) & 15) as usize])
}

fn is_safe(id: &[u8]) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (20..=200).contains(&id.len()) && id.iter().all(safe)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_safe_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new().unwrap();
        let kept = "01234567-89ab.cdef_XYZ";
        assert_eq!(ids.choose(Some(kept.as_bytes())), (kept.to_owned(), None));
        for bad in ["short", "01234567890123456789 x", "0123456789012345678\"", &"x".repeat(201)] {
            let (chosen, digits) = ids.choose(Some(bad.as_bytes()));
            assert!(chosen != bad && chosen.as_bytes() == digits.unwrap(), "{bad}");
        }
    }

    #[test]
    fn made_ids_differ() {
        let (one, other) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let made: HashSet<_> = (0..1000).flat_map(|_| [one.digits(), other.digits()]).collect();
        assert_eq!(made.len(), 2000);
    }
}
