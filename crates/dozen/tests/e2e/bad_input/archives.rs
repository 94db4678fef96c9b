//! Hostile archives: nothing of them is written outside the tree.

use std::{path::Path, process::Command};

use super::{Page, host};
use crate::host::TestHost;

const FILE: u8 = b'0';
const HARD_LINK: u8 = b'1';
const LINK: u8 = b'2';
const DEVICE: u8 = b'3';
const PIPE: u8 = b'6';

/// Name, type and link target of one entry.
type Entry<'a> = (&'a str, u8, &'a str);

#[test]
fn an_archive_that_reaches_out_of_its_tree_is_refused_by_entry() {
    let host = host();
    host.dozen(["create", "shop"]).succeeds();
    let mut page = Page::of(&host);
    let absolute = host.home().join("evil").display().to_string();
    let cases: [(&str, &[Entry<'_>]); 9] = [
        ("..", &[("../evil", FILE, "")]),
        (".. in the middle", &[("a/../../evil", FILE, "")]),
        ("an absolute path", &[(&absolute, FILE, "")]),
        ("a link out", &[("etc", LINK, "../../etc/passwd")]),
        ("an absolute link", &[("etc", LINK, "/etc/passwd")]),
        ("a file below a link", &[("up", LINK, ".."), ("up/evil", FILE, "")]),
        ("a hard link out", &[("passwd", HARD_LINK, "../../etc/passwd")]),
        ("a device", &[("null", DEVICE, "")]),
        ("a pipe", &[("queue", PIPE, "")]),
    ];
    for (case, entries) in cases {
        page.add(case, &deploy(&host, "app.tar", &tar(entries)));
    }
    page.add("no archive at all", &deploy(&host, "app.tar.gz", b"not an archive"));
    page.add("a kind that is not known", &deploy(&host, "app.rar", b""));
    page.add("a file that is not there", &host.dozen(["deploy", "-a", "shop", "--archive", "none.zip"]));
    insta::assert_snapshot!(page.text);
    assert_eq!(files_named(host.home(), "evil"), 0);
}

#[test]
fn a_zip_file_that_reaches_out_of_its_tree_is_refused_by_entry() {
    let host = host();
    host.dozen(["create", "shop"]).succeeds();
    let mut page = Page::of(&host);
    for (case, entry, mode) in [("..", "../evil", 0o100_644), ("a link out", "etc", 0o120_777)] {
        let archive = host.home().join("app.zip");
        let made = Command::new("/usr/bin/python3")
            .args(["-c", MAKE_ZIP, &archive.display().to_string(), entry, &format!("{mode}")])
            .status();
        assert!(made.unwrap().success());
        page.add(case, &host.dozen(["deploy", "-a", "shop", "--archive", "app.zip"]));
    }
    insta::assert_snapshot!(page.text);
    assert_eq!(files_named(host.home(), "evil"), 0);
}

const MAKE_ZIP: &str = r#"
import sys, zipfile
path, name, mode = sys.argv[1:]
with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("Procfile", "web: ./server\n")
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, int(mode) << 16
    archive.writestr(entry, "../../etc/passwd")
"#;

fn deploy(host: &TestHost, name: &str, bytes: &[u8]) -> crate::host::Ran {
    std::fs::write(host.home().join(name), bytes).unwrap();
    host.dozen(["deploy", "-a", "shop", "--archive", name])
}

/// A tar archive with a Procfile and these entries.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, target) in [("Procfile", FILE, "")].iter().chain(entries) {
        let content: &[u8] = if *kind == FILE { b"web: ./server\n" } else { b"" };
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644");
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(157, target);
        put(257, "ustar\x0000");
        put(329, "0000001");
        put(337, "0000003");
        header[156] = *kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// How many files below a folder have a name; links are not followed.
fn files_named(folder: &Path, name: &str) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let below = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let inner = if below { files_named(&entry.path(), name) } else { 0 };
            inner + usize::from(entry.file_name() == name)
        })
        .sum()
}
