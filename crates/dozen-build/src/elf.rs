//! Reads what the loader would read of a program or shared library: names it needs, its own name.
//!
//! Files come from builds, so every offset and count is checked and bounded; a file that does not
//! hold together is `None`, as one that the loader would not take either.

use std::io;

use serde::{Deserialize, Serialize};

/// How an ELF file begins.
pub(crate) const MAGIC: &[u8] = b"\x7fELF";

/// One program or shared library of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFile {
    /// Its path in the layer.
    pub path: String,
    /// The machine it is for, as ELF numbers them.
    pub machine: u16,
    /// The name it gives itself.
    pub soname: Option<String>,
    /// The libraries it needs.
    pub needed: Vec<String>,
}

impl ElfFile {
    /// Bytes of memory that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        let names = [&self.path].into_iter().chain(&self.soname).chain(&self.needed);
        size_of::<Self>() + names.map(|name| size_of::<String>() + name.len()).sum::<usize>()
    }
}

/// Reads bytes at an offset.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

const LARGEST_TABLE: u64 = 1 << 20;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;

/// Reads a 64-bit little-endian ELF file of `size` bytes; other kinds and static ones are `None`.
pub(crate) fn read_elf(path: &str, size: u64, read_at: ReadAt<'_>) -> Option<ElfFile> {
    let file = Bytes { size, read_at };
    let header = file.get(0, 64)?;
    // Class 64-bit, little-endian.
    if !header.starts_with(MAGIC) || header[4] != 2 || header[5] != 1 {
        return None;
    }
    let machine = u16_at(&header, 18)?;
    let (table, entry, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    if entry != 56 {
        return None;
    }
    let segments = file.get(table, u64::from(entry) * u64::from(count))?;
    let mut loads = Vec::new();
    let mut dynamic = None;
    for segment in segments.chunks_exact(56) {
        let (offset, address, length) = (u64_at(segment, 8)?, u64_at(segment, 16)?, u64_at(segment, 32)?);
        match u32_at(segment, 0)? {
            PT_LOAD => loads.push((address, offset, length)),
            PT_DYNAMIC => dynamic = Some((offset, length)),
            _ => {}
        }
    }
    let (offset, length) = dynamic?;
    let dynamic = file.get(offset, length)?;
    let entries = || dynamic.chunks_exact(16).filter_map(|pair| Some((u64_at(pair, 0)?, u64_at(pair, 8)?)));
    let entries = || entries().take_while(|(tag, _)| *tag != 0);
    let value_of = |wanted: u64| entries().find(|(tag, _)| *tag == wanted).map(|(_, value)| value);
    let strings_address = value_of(DT_STRTAB)?;
    let (address, offset, _) = *loads
        .iter()
        .find(|(address, _, length)| strings_address.checked_sub(*address).is_some_and(|at| at < *length))?;
    let strings = file.get(offset.checked_add(strings_address - address)?, value_of(DT_STRSZ)?)?;
    let needed = entries().filter(|(tag, _)| *tag == DT_NEEDED).take(500);
    Some(ElfFile {
        path: path.to_owned(),
        machine,
        soname: value_of(DT_SONAME).and_then(|at| text_at(&strings, at)),
        needed: needed.filter_map(|(_, at)| text_at(&strings, at)).collect(),
    })
}

struct Bytes<'a> {
    size: u64,
    read_at: ReadAt<'a>,
}

impl Bytes<'_> {
    fn get(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        if length > LARGEST_TABLE.max(16 << 20) || at.checked_add(length)? > self.size {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        (self.read_at)(at, &mut bytes).ok()?;
        Some(bytes)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// A name in the string table: printable and not longer than a file name.
fn text_at(strings: &[u8], at: u64) -> Option<String> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().take(256).position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&rest[..end]).ok()?;
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<ElfFile> {
        let read_at = |at: u64, buffer: &mut [u8]| {
            let at = at as usize;
            buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
            Ok(())
        };
        read_elf("x", bytes.len() as u64, &read_at)
    }

    #[test]
    fn a_real_program_names_the_c_library() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let file = read(&own).unwrap();
        assert!(file.needed.iter().any(|name| name.starts_with("libc.so")), "{:?}", file.needed);
    }

    #[test]
    fn a_damaged_file_is_nothing_and_no_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let mut head = own[..own.len().min(4096)].to_vec();
        assert_eq!(read(&head), None);
        for at in 0..64 {
            head[at] ^= 0xff;
            let _ = read(&head);
            head[at] ^= 0xff;
        }
        assert_eq!(read(MAGIC), None);
    }
}
