//! Just enough of RFC 6455 to end a WebSocket politely: where frames begin, and the close frame.

/// Close code 1001 (going away), from a server.
pub(crate) const CLOSE_TO_CLIENT: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// The same from a client: masked, with a mask of zeros.
pub(crate) const CLOSE_TO_APP: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Follows one direction of a WebSocket.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    /// Bytes of the current frame's header so far.
    seen: usize,
    /// Bytes of its payload still to come.
    payload: u64,
    has_closed: bool,
}

impl Frames {
    /// Whether a frame of ours may be sent here: none is under way and the peer has not closed.
    pub(crate) fn may_insert(&self) -> bool {
        self.seen == 0 && self.payload == 0 && !self.has_closed
    }

    /// Takes note of bytes that were sent.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len() as u64);
                self.payload -= taken;
                // It fits: it is at most the length of a slice.
                bytes = &bytes[taken as usize..];
                continue;
            }
            self.header[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen >= 2 && self.seen == self.header_length() {
                self.has_closed |= self.header[0] & 0x0f == 8;
                self.payload = self.payload_length();
                self.seen = 0;
            }
        }
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn header_length(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + self.length_bytes() + mask
    }

    fn payload_length(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.header[1] & 0x7f),
            more => self.header[2..2 + more].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_may_be_inserted_only_between_frames() {
        let mut stream = vec![0x81, 2, b'h', b'i'];
        stream.extend([0x82, 0x80 | 126, 1, 0, 1, 2, 3, 4]);
        stream.extend([7; 256]);
        stream.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 9]);
        let mut frames = Frames::default();
        let mut places = vec![0];
        for (index, byte) in stream.iter().enumerate() {
            frames.follow(&[*byte]);
            if frames.may_insert() {
                places.push(index + 1);
            }
        }
        assert_eq!(places, [0, 4, 4 + 8 + 256, stream.len()]);
        let mut at_once = Frames::default();
        at_once.follow(&stream);
        assert!(at_once.may_insert());
    }

    #[test]
    fn nothing_is_inserted_after_a_close() {
        let mut frames = Frames::default();
        frames.follow(&CLOSE_TO_CLIENT);
        assert!(!frames.may_insert());
    }
}
