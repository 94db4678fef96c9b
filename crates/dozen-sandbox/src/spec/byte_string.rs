//! Bytes that may be secret and need not be text.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An argument, or a name or value of the environment: bytes, base64 in JSON, hidden by `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ByteString(Vec<u8>);

impl ByteString {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Overwrites the bytes with zeros before they are freed.
    pub(crate) fn wipe(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites a secret in memory.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without a reader the compiler may leave the writes out.
    std::hint::black_box(bytes);
}

impl From<Vec<u8>> for ByteString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64)
    }
}

/// Reads without a copy of the text in between: a copy would stay in freed memory.
struct Base64;

impl de::Visitor<'_> for Base64 {
    type Value = ByteString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteString, E> {
        // The decoder's own message quotes a byte of what may be a secret.
        STANDARD.decode(text).map(ByteString).map_err(|_| E::custom("a byte string is not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_survive_json() {
        let bytes = ByteString::from(vec![0xff, b'\n', 0x80]);
        let json = serde_json::to_string(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<ByteString>(&json).unwrap(), bytes);
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", ByteString::from("hunter2")), "<7 bytes>");
    }
}
