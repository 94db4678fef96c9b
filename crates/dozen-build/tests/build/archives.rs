//! Archives of users, good and hostile.

use std::{
    fs::{self, File},
    io::{Cursor, Seek, Write},
    path::Path,
};

use dozen_build::{
    BuildError,
    source::{
        SourceLimits,
        archive::{ArchiveFormat, ImportedArchive, import_archive},
    },
};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

struct Imported {
    folder: TempDir,
    result: Result<ImportedArchive, BuildError>,
}

impl Imported {
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join("tree").join(name)).ok()
    }
}

fn import(bytes: &[u8], format: ArchiveFormat, limits: SourceLimits) -> Imported {
    let folder = TempDir::new().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let result = import_archive(file, format, &folder.path().join("tree"), limits);
    // Nothing is left beside the tree, whatever happened.
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), usize::from(result.is_ok()), "{left:?}");
    Imported { folder, result }
}

fn import_tar(bytes: &[u8]) -> Imported {
    import(bytes, ArchiveFormat::Tar, SourceLimits::default())
}

/// A tar stream of entries: name, kind, content or link target. Names are written as they are.
fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o6755);
        let is_file = matches!(kind, EntryType::Regular);
        header.set_size(if is_file { text.len() as u64 } else { 0 });
        if !is_file {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, if is_file { text.as_bytes() } else { b"" }).unwrap();
    }
    tar.into_inner().unwrap()
}

fn zip_of(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, text) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o777);
        if *mode & 0o170_000 == 0o120_000 {
            zip.add_symlink(*name, *text, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

use EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn a_single_top_folder_is_left_out() {
    let archive = import_tar(&tar_of(&[
        ("app-1.0/", Directory, ""),
        ("app-1.0/Procfile", Regular, "web: a\n"),
        ("app-1.0/link", Symlink, "Procfile"),
        ("app-1.0/copy", Link, "app-1.0/Procfile"),
    ]));
    assert_eq!(archive.result.as_ref().unwrap().stripped.as_deref(), Some("app-1.0"));
    assert_eq!(archive.read("Procfile").as_deref(), Some("web: a\n"));
    assert_eq!(archive.read("copy").as_deref(), Some("web: a\n"));
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(archive.folder.path().join("tree/Procfile")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "set-user-id is gone");
}

#[test]
fn a_flat_archive_stays_flat_in_every_format() {
    let tar = tar_of(&[("./Procfile", Regular, "web: a\n"), ("b/c", Regular, "1")]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    let zip =
        zip_of(&[("Procfile", 0o100_644, "web: a\n"), ("b/c", 0o100_755, "1"), ("l", 0o120_777, "b/c")]);
    for (bytes, format) in
        [(tar, ArchiveFormat::Tar), (gz.finish().unwrap(), ArchiveFormat::TarGz), (zip, ArchiveFormat::Zip)]
    {
        let archive = import(&bytes, format, SourceLimits::default());
        assert_eq!(archive.result.as_ref().unwrap().stripped, None, "{format:?}");
        assert_eq!(archive.read("Procfile").as_deref(), Some("web: a\n"), "{format:?}");
        assert_eq!(archive.read("b/c").as_deref(), Some("1"), "{format:?}");
    }
}

#[test]
fn hostile_tar_entries_are_refused() {
    let cases: &[(&str, &[(&str, EntryType, &str)])] = &[
        ("parent", &[("../evil", Regular, "x")]),
        ("parent inside", &[("a/../../evil", Regular, "x")]),
        ("absolute", &[("/tmp/evil", Regular, "x")]),
        ("link out", &[("a", Symlink, "../evil"), ("b", Regular, "")]),
        ("absolute link", &[("a", Symlink, "/etc/passwd"), ("b", Regular, "")]),
        ("link out of the stripped folder", &[("top/a", Symlink, "../b"), ("top/c", Regular, "")]),
        ("through a link", &[("a", Symlink, "b"), ("b/", Directory, ""), ("a/evil", Regular, "x")]),
        ("over a link", &[("a", Symlink, "b"), ("a", Regular, "x")]),
        ("hard link out", &[("a", Link, "../../etc/passwd")]),
        ("absolute hard link", &[("a", Link, "/etc/passwd")]),
        ("hard link through a link", &[("l", Symlink, "/etc"), ("a", Link, "l/passwd")]),
        ("hard link to nothing", &[("a", Link, "b")]),
        ("device", &[("a", EntryType::Char, "")]),
        ("block device", &[("a", EntryType::Block, "")]),
        ("fifo", &[("a", EntryType::Fifo, "")]),
        ("twice", &[("a", Regular, "1"), ("a", Regular, "2")]),
        ("twice, spelt differently", &[("a/b", Regular, "1"), ("./a/b", Regular, "2")]),
        ("file as folder", &[("a", Regular, "1"), ("a/b", Regular, "2")]),
        ("sparse", &[("a", EntryType::GNUSparse, "")]),
    ];
    for (what, entries) in cases {
        let archive = import_tar(&tar_of(entries));
        let error = archive.result.as_ref().expect_err(what);
        assert!(
            matches!(error, BuildError::EntryRefused { .. } | BuildError::BadArchive { .. }),
            "{what}: {error}"
        );
        assert!(!Path::new("/tmp/evil").exists(), "{what}");
    }
}

#[test]
fn hostile_zip_entries_are_refused() {
    let mut twice = zip_of(&[("a1", 0o100_644, "1"), ("a2", 0o100_644, "2")]);
    // Both names become one, in the entries and in the directory.
    while let Some(at) = twice.windows(2).position(|pair| pair == b"a2") {
        twice[at + 1] = b'1';
    }
    for (what, bytes) in [
        ("parent", zip_of(&[("../evil", 0o100_644, "x")])),
        ("absolute", zip_of(&[("/tmp/evil", 0o100_644, "x")])),
        ("backslash", zip_of(&[("a\\..\\evil", 0o100_644, "x")])),
        ("link out", zip_of(&[("a", 0o120_777, "../../etc/passwd"), ("b", 0o100_644, "")])),
        ("through a link", zip_of(&[("a", 0o120_777, "b"), ("a/c", 0o100_644, "x")])),
        ("twice", twice),
        ("no archive", b"this is text".to_vec()),
        ("empty", Vec::new()),
    ] {
        assert!(import(&bytes, ArchiveFormat::Zip, SourceLimits::default()).result.is_err(), "{what}");
    }
}

#[test]
fn sizes_are_bounded_while_unpacking() {
    // 64 MiB of zeros in a few KiB.
    let zeros = vec![0; 64 << 20];
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(zeros.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "zeros", &zeros[..]).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar.into_inner().unwrap()).unwrap();
    let small = SourceLimits { entries: 100, bytes: 1 << 20 };
    let archive = import(&gz.finish().unwrap(), ArchiveFormat::TarGz, small);
    assert!(matches!(archive.result, Err(BuildError::TooBig { .. })));

    let names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, EntryType, &str)> = names.iter().map(|name| (name.as_str(), Regular, "")).collect();
    let archive = import(&tar_of(&many), ArchiveFormat::Tar, small);
    assert!(matches!(archive.result, Err(BuildError::TooBig { .. })));
}

#[test]
fn folders_that_only_a_path_names_count_as_well() {
    let name = format!("{}f", "d/".repeat(150));
    let small = SourceLimits { entries: 100, bytes: 1 << 20 };
    let short = "d/".repeat(40) + "f";
    assert!(import(&tar_of(&[(&short, Regular, "")]), ArchiveFormat::Tar, small).result.is_ok());
    let zip = zip_of(&[(&name, 0o100_644, "")]);
    let archive = import(&zip, ArchiveFormat::Zip, small);
    assert!(matches!(archive.result, Err(BuildError::TooBig { .. })), "{:?}", archive.result);
}

#[test]
fn a_zip_that_declares_too_many_entries_is_refused_before_they_are_read() {
    let zip = zip_of(&[("a", 0o100_644, "")]);
    let small = SourceLimits { entries: 100, bytes: 1 << 20 };
    // The end record is the last 22 bytes; its count of entries stands 10 bytes in.
    let mut many = zip.clone();
    let at = many.len() - 22 + 10;
    many[at..at + 2].copy_from_slice(&101_u16.to_le_bytes());
    assert!(matches!(import(&many, ArchiveFormat::Zip, small).result, Err(BuildError::TooBig { .. })));

    // A 64-bit record, its locator, and an end record that points there.
    let mut many = zip[..zip.len() - 22].to_vec();
    let record = many.len() as u64;
    let mut wide = [0_u8; 56];
    wide[..4].copy_from_slice(b"PK\x06\x06");
    wide[32..40].copy_from_slice(&5_000_000_u64.to_le_bytes());
    many.extend(wide);
    many.extend(b"PK\x06\x07\0\0\0\0");
    many.extend(record.to_le_bytes());
    many.extend(1_u32.to_le_bytes());
    many.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    many.extend([0xff; 8]);
    many.extend([0, 0]);
    assert!(matches!(import(&many, ArchiveFormat::Zip, small).result, Err(BuildError::TooBig { .. })));
}

#[test]
fn a_long_name_record_cannot_fill_the_memory() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(vec![b'a'; 1 << 20]);
    assert!(matches!(import_tar(&bytes).result, Err(BuildError::TooBig { .. })));
}

#[test]
fn headers_without_end_are_refused_as_entries_would_be() {
    for kind in [EntryType::XGlobalHeader, EntryType::XHeader, EntryType::GNULongName] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let small = SourceLimits { entries: 50, bytes: 1 << 20 };
        let bytes = header.as_bytes().repeat(51);
        assert!(matches!(import(&bytes, ArchiveFormat::Tar, small).result, Err(BuildError::TooBig { .. })));
    }
}

#[test]
fn what_git_and_tar_write_is_read() {
    let folder = TempDir::new().unwrap();
    let long = format!("{}/{}", "d".repeat(80), "e".repeat(60));
    fs::create_dir_all(folder.path().join(&long)).unwrap();
    fs::write(folder.path().join(&long).join("ü.txt"), "1").unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let output = std::process::Command::new("tar")
            .args(["--format", format, "-c", "-C"])
            .arg(folder.path())
            .arg(".")
            .output()
            .unwrap();
        let archive = import_tar(&output.stdout);
        assert!(archive.result.is_ok(), "{format}: {:?}", archive.result);
        assert_eq!(archive.read(&format!("{}/ü.txt", "e".repeat(60))).as_deref(), Some("1"), "{format}");
    }
    let _ = File::open(folder.path());
}
