//! The words between shim and init: small packets over a socket that keeps their borders.
//!
//! The same words serve the shim that forked init and one that adopts it. Only a process that can
//! open the instance's directory can connect, and the kernel tells who it is.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use crate::{streams::KeptEnds, sys::messages};

/// What a shim asks of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send copies of the kept ends.
    TakeOver,
    /// Send a signal to the main process, or to all inside.
    Signal {
        /// 1 to 31.
        number: i32,
        /// To all.
        all: bool,
    },
    /// Ask it to end, by a signal. Done once, however often it is ordered and by whom: some apps take
    /// a second one as an order to drop everything, and a shim may die between order and note.
    Stop {
        /// 1 to 31.
        number: i32,
        /// To all; the instance then ends with its last process.
        all: bool,
    },
    /// Kill everything inside.
    Kill,
    /// All output was taken: do not wait for a reader.
    Drained,
    /// The app's input ends.
    CloseInput,
}

const ORDER_BYTES: usize = 8;
const TAKEN_OVER: u8 = b'T';

impl Order {
    fn encode(self) -> [u8; ORDER_BYTES] {
        let (kind, all, number) = match self {
            Self::TakeOver => (1, false, 0),
            Self::Signal { number, all } => (2, all, number),
            Self::Kill => (3, false, 0),
            Self::Drained => (4, false, 0),
            Self::CloseInput => (5, false, 0),
            Self::Stop { number, all } => (6, all, number),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, u8::from(all), 0, 0, a, b, c, d]
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let &[kind, all, _, _, a, b, c, d] = bytes else { return None };
        let number = i32::from_le_bytes([a, b, c, d]);
        match kind {
            1 => Some(Self::TakeOver),
            2 if (1..=31).contains(&number) => Some(Self::Signal { number, all: all != 0 }),
            3 => Some(Self::Kill),
            4 => Some(Self::Drained),
            5 => Some(Self::CloseInput),
            6 if (1..=31).contains(&number) => Some(Self::Stop { number, all: all != 0 }),
            _ => None,
        }
    }

    /// Sends the order.
    pub(crate) fn send(self, init: impl AsFd) -> io::Result<()> {
        messages::send(init, &self.encode(), &[])
    }

    /// Receives an order. `Ok(None)` when the shim is gone; an unknown word is an error.
    pub(crate) fn receive(shim: impl AsFd) -> io::Result<Option<Self>> {
        let mut bytes = [0; ORDER_BYTES];
        let Some((length, _)) = messages::receive(shim, &mut bytes)? else { return Ok(None) };
        Self::decode(&bytes[..length]).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// What a shim gets from init: what it needs to keep the instance.
pub(crate) struct Takeover {
    /// Means init.
    pub(crate) init: OwnedFd,
    /// Means the app's main process.
    pub(crate) main: OwnedFd,
    /// Copies of the kept ends.
    pub(crate) kept: KeptEnds,
}

/// Answers [`Order::TakeOver`].
pub(crate) fn send_takeover(
    shim: impl AsFd,
    init: &OwnedFd,
    main: &OwnedFd,
    kept: &KeptEnds,
) -> io::Result<()> {
    let ends = [&kept.output, &kept.error, &kept.input, &kept.terminal];
    let which = ends.iter().enumerate().fold(0, |which, (bit, end)| which | u8::from(end.is_some()) << bit);
    let given = ends.into_iter().flatten();
    let descriptors: Vec<_> = [init, main].into_iter().chain(given).map(AsFd::as_fd).collect();
    messages::send(shim, &[TAKEN_OVER, which], &descriptors)
}

/// Receives the answer to [`Order::TakeOver`]. `Ok(None)` when init is gone.
pub(crate) fn receive_takeover(init: impl AsFd) -> io::Result<Option<Takeover>> {
    let mut bytes = [0; 2];
    let Some((2, descriptors)) = messages::receive(init, &mut bytes)? else { return Ok(None) };
    let mut descriptors = descriptors.into_iter();
    let mut next = |wanted: bool| -> io::Result<Option<OwnedFd>> {
        let missing = || io::Error::from(io::ErrorKind::InvalidData);
        if wanted { descriptors.next().map(Some).ok_or_else(missing) } else { Ok(None) }
    };
    let (Some(init), Some(main)) = (next(bytes[0] == TAKEN_OVER)?, next(true)?) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut end = |bit: u8| next(bytes[1] >> bit & 1 == 1);
    let kept = KeptEnds { output: end(0)?, error: end(1)?, input: end(2)?, terminal: end(3)? };
    Ok(Some(Takeover { init, main, kept }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_comes_back_as_it_was_sent() {
        let signal = Order::Signal { number: 15, all: true };
        let stop = Order::Stop { number: 1, all: false };
        for order in [Order::TakeOver, signal, stop, Order::Kill, Order::Drained, Order::CloseInput] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        assert_eq!(Order::decode(b""), None);
        assert_eq!(Order::decode(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Order::decode(&Order::Signal { number: 0, all: true }.encode()), None);
    }
}
