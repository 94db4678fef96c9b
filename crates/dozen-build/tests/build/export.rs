//! Exports of Git repositories, and the way back from the stream to a tree.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use dozen_build::{
    BuildError,
    source::{
        SourceLimits,
        export::{ExportedTree, GitRequest, UncommittedChanges, export_git},
        unpack::unpack,
    },
};
use dozen_model::hint::Hint;
use tempfile::TempDir;

use crate::bench::{tree, write_files};

fn git(folder: &Path, arguments: &[&str]) {
    let settings =
        ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"];
    let output = Command::new("git").arg("-C").arg(folder).args(settings).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a `git` command writes when it reads `input`.
fn output_of(folder: &Path, arguments: &[&str], input: &str) -> Vec<u8> {
    let settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(settings).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut git = git.spawn().unwrap();
    git.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    output.stdout
}

fn repository(files: &[(&str, &str)]) -> TempDir {
    let folder = tree(files);
    git(folder.path(), &["init", "-q", "-b", "main"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "first"]);
    folder
}

fn request<'a>(repository: &'a Path, reference: &'a str, changes: UncommittedChanges) -> GitRequest<'a> {
    GitRequest { repository, reference, subfolder: None, changes, limits: SourceLimits::default() }
}

fn export(request: &GitRequest<'_>) -> Result<(ExportedTree, Vec<u8>), BuildError> {
    let mut stream = Vec::new();
    export_git(request, &mut stream).map(|exported| (exported, stream))
}

fn unpacked(stream: &[u8]) -> TempDir {
    let into = TempDir::new().unwrap();
    unpack(stream, into.path(), SourceLimits::default()).unwrap();
    into
}

#[test]
fn a_commit_comes_out_as_it_is_whatever_its_attributes_say() {
    let repository = repository(&[
        ("Procfile", "web: ./run\n"),
        ("run+x", "#!/bin/sh\n"),
        ("a b/ü.txt", "$Format:%H$\n"),
        (".gitattributes", "secret.txt export-ignore\n*.txt export-subst\n"),
        ("secret.txt", "kept\n"),
    ]);
    std::os::unix::fs::symlink("Procfile", repository.path().join("link")).unwrap();
    git(repository.path(), &["add", "-A"]);
    git(repository.path(), &["commit", "-q", "-m", "second"]);

    let (exported, stream) = export(&request(repository.path(), "HEAD", UncommittedChanges::Refuse)).unwrap();
    let (_, again) = export(&request(repository.path(), "main", UncommittedChanges::Ignore)).unwrap();
    let into = unpacked(&stream);

    assert_eq!(stream, again, "equal trees give equal streams");
    assert_eq!(
        (exported.branch.as_deref(), exported.subject.as_str(), exported.dirty),
        (Some("main"), "second", false)
    );
    assert_eq!(exported.commit.len(), 40);
    assert_eq!(fs::read_to_string(into.path().join("a b/ü.txt")).unwrap(), "$Format:%H$\n");
    assert_eq!(fs::read_to_string(into.path().join("secret.txt")).unwrap(), "kept\n");
    assert_eq!(fs::read_link(into.path().join("link")).unwrap(), Path::new("Procfile"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(into.path().join("run")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn a_subfolder_is_exported_alone() {
    let repository = repository(&[("apps/one/Procfile", "web: a\n"), ("other", "x")]);
    let mut wanted = request(repository.path(), "HEAD", UncommittedChanges::Refuse);
    wanted.subfolder = Some("apps/one");
    let (_, stream) = export(&wanted).unwrap();
    assert!(unpacked(&stream).path().join("Procfile").is_file());
    // A change elsewhere is none of this app's.
    write_files(repository.path(), &[("other", "y")]);
    assert!(export(&wanted).is_ok());
    wanted.subfolder = Some("apps/two");
    assert!(matches!(export(&wanted).unwrap_err(), BuildError::NoSuchFolder { .. }));
    wanted.subfolder = Some("../etc");
    assert!(matches!(export(&wanted).unwrap_err(), BuildError::EntryRefused { .. }));
}

#[test]
fn uncommitted_changes_are_named_or_taken() {
    let repository = repository(&[("a", "1"), ("gone", "1"), (".gitignore", "ignored\n")]);
    write_files(repository.path(), &[("a", "2"), ("new", "3"), ("ignored", "x")]);
    fs::remove_file(repository.path().join("gone")).unwrap();

    let error = export(&request(repository.path(), "HEAD", UncommittedChanges::Refuse)).unwrap_err();
    assert_eq!(error.to_string(), "uncommitted changes: a, gone, new");
    let (exported, stream) = export(&request(repository.path(), "HEAD", UncommittedChanges::Take)).unwrap();
    let into = unpacked(&stream);

    assert!(exported.dirty);
    assert_eq!(fs::read_to_string(into.path().join("a")).unwrap(), "2");
    assert!(into.path().join("new").is_file());
    assert!(!into.path().join("gone").exists() && !into.path().join("ignored").exists());
    let (clean, _) = export(&request(repository.path(), "HEAD", UncommittedChanges::Ignore)).unwrap();
    assert!(!clean.dirty);
}

#[test]
fn a_link_of_the_working_tree_is_exported_as_a_link() {
    let repository = repository(&[("a", "1")]);
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("passwd")).unwrap();
    std::os::unix::fs::symlink("/etc", repository.path().join("etc")).unwrap();
    let (_, stream) = export(&request(repository.path(), "HEAD", UncommittedChanges::Take)).unwrap();
    let into = unpacked(&stream);
    assert_eq!(fs::read_link(into.path().join("passwd")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_link(into.path().join("etc")).unwrap(), Path::new("/etc"));
    assert!(!String::from_utf8_lossy(&stream).contains("root:x:"));
}

#[test]
fn what_is_no_commit_is_said_plainly() {
    let empty = TempDir::new().unwrap();
    let error = export(&request(empty.path(), "HEAD", UncommittedChanges::Refuse)).unwrap_err();
    assert!(matches!(error, BuildError::NotARepository { .. }), "{error}");
    git(empty.path(), &["init", "-q"]);
    let error = export(&request(empty.path(), "HEAD", UncommittedChanges::Refuse)).unwrap_err();
    assert!(matches!(error, BuildError::NoCommit), "{error}");
    let repository = repository(&[("a", "1")]);
    let error = export(&request(repository.path(), "mian", UncommittedChanges::Ignore)).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `main`?"));
    let error = export(&request(repository.path(), "--output=x", UncommittedChanges::Ignore)).unwrap_err();
    assert!(matches!(error, BuildError::UnknownReference { .. }), "{error}");
}

#[test]
fn submodules_and_lfs_pointers_are_refused_by_name() {
    let inner = repository(&[("x", "1")]);
    let outer = repository(&[("a", "1")]);
    let url = inner.path().to_str().unwrap();
    git(outer.path(), &["submodule", "add", "-q", url, "libs/inner"]);
    git(outer.path(), &["commit", "-q", "-m", "with a submodule"]);
    for changes in [UncommittedChanges::Ignore, UncommittedChanges::Refuse] {
        let error = export(&request(outer.path(), "HEAD", changes)).unwrap_err();
        assert!(matches!(&error, BuildError::Submodule { path } if path == "libs/inner"), "{error}");
    }
    write_files(outer.path(), &[("new", "1")]);
    let error = export(&request(outer.path(), "HEAD", UncommittedChanges::Take)).unwrap_err();
    assert!(matches!(&error, BuildError::Submodule { path } if path == "libs/inner"), "{error}");

    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n";
    let lfs = repository(&[("media/big.png", pointer)]);
    let error = export(&request(lfs.path(), "HEAD", UncommittedChanges::Refuse)).unwrap_err();
    assert!(matches!(&error, BuildError::LfsPointer { path } if path == "media/big.png"), "{error}");
}

#[test]
fn a_repository_cannot_start_a_program_by_its_configuration() {
    let repository = repository(&[("a", "1")]);
    let marker = repository.path().join(".git/started");
    let program = format!("touch {}; false", marker.display());
    git(repository.path(), &["config", "core.fsmonitor", &program]);
    git(repository.path(), &["config", "core.hooksPath", ".git/evil"]);
    write_files(repository.path(), &[(".git/evil/post-index-change+x", &format!("#!/bin/sh\n{program}\n"))]);
    write_files(repository.path(), &[("a", "1")]);
    export(&request(repository.path(), "HEAD", UncommittedChanges::Refuse)).unwrap();
    assert!(!marker.exists());
}

#[test]
fn neither_a_filter_nor_a_signature_starts_a_program() {
    let repository = repository(&[(".gitattributes", "* filter=evil\n* filter=e=v.il\n"), ("a", "1")]);
    let signed = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n aaaa\n -----END PGP SIGNATURE-----";
    let forge = format!(
        "commit=$(git cat-file commit HEAD | sed 's/^committer.*/&\\n{}/' | git hash-object -t commit -w --stdin) \
         && git update-ref HEAD $commit",
        signed.replace('\n', "\\n")
    );
    let forged = Command::new("sh").args(["-c", &forge]).current_dir(repository.path()).status().unwrap();
    assert!(forged.success());
    let marker = repository.path().join(".git/started");
    let program = format!("touch {}; cat", marker.display());
    let script = format!("#!/bin/sh\n{program}\n");
    write_files(repository.path(), &[(".git/gpg+x", &script)]);
    let gpg = repository.path().join(".git/gpg");
    for (name, value) in [
        ("filter.evil.clean", program.as_str()),
        ("filter.evil.required", "true"),
        ("filter.e=v.il.clean", &program),
        ("filter.e=v.il.process", &program),
        ("log.showSignature", "true"),
        ("gpg.program", gpg.to_str().unwrap()),
    ] {
        git(repository.path(), &["config", name, value]);
    }
    // Written again: Git has to look into them.
    for (path, text) in [("a", "1"), (".gitattributes", "* filter=evil\n* filter=e=v.il\n")] {
        write_files(repository.path(), &[(path, text)]);
        let (exported, _) = export(&request(repository.path(), "HEAD", UncommittedChanges::Refuse)).unwrap();
        assert_eq!(exported.subject, "first");
    }
    write_files(repository.path(), &[("a", "2")]);
    let error = export(&request(repository.path(), "HEAD", UncommittedChanges::Refuse)).unwrap_err();
    assert!(matches!(&error, BuildError::Uncommitted { names, .. } if names == &["a"]), "{error}");
    export(&request(repository.path(), "HEAD", UncommittedChanges::Take)).unwrap();
    assert!(!marker.exists());
}

#[test]
fn a_tree_larger_than_the_limit_is_refused_before_it_is_read() {
    let repository = repository(&[("a", "0123456789"), ("b", "1")]);
    let mut wanted = request(repository.path(), "HEAD", UncommittedChanges::Ignore);
    wanted.limits = SourceLimits { entries: 1, bytes: 1 << 20 };
    assert!(matches!(export(&wanted).unwrap_err(), BuildError::TooBig { .. }));
    wanted.limits = SourceLimits { entries: 10, bytes: 10 };
    assert!(matches!(export(&wanted).unwrap_err(), BuildError::TooBig { .. }));
}

#[test]
fn a_tree_of_trees_that_names_a_file_endlessly_is_refused_at_once() {
    let repository = repository(&[("a", "1")]);
    let said = |arguments: &[&str], input: &str| {
        String::from_utf8(output_of(repository.path(), arguments, input)).unwrap().trim().to_owned()
    };
    let file = said(&["ls-tree", "HEAD"], "") + "\n";
    for innermost in [file.as_str(), ""] {
        let mut tree = said(&["mktree"], innermost);
        // Ten equal folders in each of nine levels: a billion files, or folders.
        for _ in 0..9 {
            let lines: String = (0..10).map(|at| format!("040000 tree {tree}\td{at}\n")).collect();
            tree = said(&["mktree"], &lines);
        }
        let commit = said(&["commit-tree", "-m", "bomb", &tree], "");
        let wanted = request(repository.path(), &commit, UncommittedChanges::Ignore);
        let error = export(&wanted).unwrap_err();
        assert!(matches!(error, BuildError::TooBig { .. }), "{error}");
    }
}

#[test]
fn a_pushed_commit_is_exported_from_quarantine_before_the_push_is_accepted() {
    let repository = repository(&[("a", "pushed")]);
    let bare = TempDir::new().unwrap();
    git(bare.path(), &["init", "-q", "--bare"]);
    let probe = env!("CARGO_BIN_EXE_build-shim-probe");
    // Refuses the push: what the stream holds can only have come from quarantine.
    let hook = format!(
        "#!/bin/sh\nread old new name\ntest -n \"$GIT_QUARANTINE_PATH\" && {probe} export \"$new\" stream && touch done\nexit 1\n"
    );
    write_files(bare.path(), &[("hooks/pre-receive+x", &hook)]);
    let push = Command::new("git")
        .arg("-C")
        .arg(repository.path())
        .arg("push")
        .arg(bare.path())
        .arg("main")
        .output();
    assert!(!push.unwrap().status.success(), "the hook refuses");
    assert!(bare.path().join("done").exists());
    let into = unpacked(&fs::read(bare.path().join("stream")).unwrap());
    assert_eq!(fs::read_to_string(into.path().join("a")).unwrap(), "pushed");
    // The objects went with the refusal.
    let error = export(&request(bare.path(), "main", UncommittedChanges::Refuse)).unwrap_err();
    assert!(matches!(error, BuildError::UnknownReference { .. }), "{error}");
}
