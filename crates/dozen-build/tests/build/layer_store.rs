//! The layer store: names, pruning, what it refuses.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use dozen_build::{Adoption, BuildError, store::LayerStore};
use tempfile::TempDir;

use crate::bench::{is_root, nest, tree};

#[test]
fn equal_trees_have_one_name_whatever_their_times_and_modes() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let (one, two) = (tree(&[("a/b", "1"), ("x+x", "2")]), tree(&[("x+x", "2"), ("a/b", "1")]));
    fs::set_permissions(two.path().join("a/b"), fs::Permissions::from_mode(0o4660)).unwrap();
    let other = tree(&[("a/b", "1"), ("x", "2")]);

    let (first, _one) = store.adopt(one.path(), Adoption::default()).unwrap();
    let (second, _two) = store.adopt(two.path(), Adoption::default()).unwrap();
    let (third, _three) = store.adopt(other.path(), Adoption::default()).unwrap();

    assert_eq!(first, second);
    assert_ne!(first, third, "a file that became executable is another tree");
    let mode = fs::metadata(store.path(&first).join("a/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o444);
    store.verify(&first).unwrap();
    assert_eq!(store.layers().unwrap().len(), 2);
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
}

#[test]
fn a_tree_is_copied_where_it_is_new_and_only_named_where_it_is_not() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let adopt = |text: &str| store.adopt_if_new(tree(&[("a", text)]).path(), Adoption::default()).unwrap();
    let (first, _one) = adopt("1");
    let file = store.path(&first).join("a");
    let before = fs::metadata(&file).unwrap().ino();
    // As somebody leaves it who is killed between naming and sealing it.
    fs::set_permissions(store.path(&first), fs::Permissions::from_mode(0o755)).unwrap();
    let (again, _again) = adopt("1");
    assert_eq!((&again, fs::metadata(&file).unwrap().ino()), (&first, before));
    assert_eq!(fs::metadata(store.path(&first)).unwrap().permissions().mode() & 0o7777, 0o555);
    let (other, _other) = adopt("2");
    assert_ne!(other, first);
    assert_eq!(fs::read(store.path(&other).join("a")).unwrap(), b"2");
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
}

#[test]
fn opening_a_store_again_shuts_out_nobody_who_reads_its_layers() {
    let home = TempDir::new().unwrap();
    LayerStore::open(home.path()).unwrap();
    let layers = home.path().join("layers");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&layers), 0o700, "a new one is its owner's alone");
    fs::set_permissions(&layers, fs::Permissions::from_mode(0o710)).unwrap();
    LayerStore::open(home.path()).unwrap();
    assert_eq!(mode(&layers), 0o710);
}

#[test]
fn a_changed_layer_does_not_verify() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let (digest, _lease) = store.adopt(tree(&[("a", "1")]).path(), Adoption::default()).unwrap();
    let file = store.path(&digest).join("a");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "2").unwrap();
    assert!(matches!(store.verify(&digest), Err(BuildError::DamagedLayer { .. })));
}

#[test]
fn sockets_fifos_and_devices_are_refused() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let folder = tree(&[("a", "1")]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let error = store.adopt(folder.path(), Adoption::default()).unwrap_err();
    assert!(matches!(&error, BuildError::EntryRefused { path, .. } if path == "socket"), "{error}");
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0, "nothing half made stays");
}

#[test]
fn whiteouts_are_kept_where_they_are_expected() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let folder = tree(&[("a", "1")]);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("gone"), kind, rustix::fs::Mode::empty(), 0)
        .unwrap();
    assert!(store.adopt(folder.path(), Adoption::default()).is_err());
    let (digest, _lease) =
        store.adopt(folder.path(), Adoption { whiteouts: true, ..Adoption::default() }).unwrap();
    store.verify(&digest).unwrap();
}

#[test]
fn a_link_is_copied_and_never_followed() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let folder = tree(&[("a", "1")]);
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let (digest, _lease) = store.adopt(folder.path(), Adoption::default()).unwrap();
    assert_eq!(fs::read_link(store.path(&digest).join("link")).unwrap().to_str(), Some("/etc/passwd"));
}

#[test]
fn pruning_removes_the_longest_unused_down_to_the_budget() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let layer = |text: &str| store.adopt(tree(&[("folder/a", text)]).path(), Adoption::default()).unwrap();
    let (kept, lease) = layer("0000000000");
    drop(lease);
    let (leased, lease) = layer("1111111111");
    let (old, old_lease) = layer("2222222222");
    let (new, new_lease) = layer("3333333333");
    drop((old_lease, new_lease));
    let facts = home.path().join("layers").join(format!("{}.json", old.hex()));
    fs::File::options()
        .append(true)
        .open(facts)
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let keep = BTreeSet::from([kept.clone()]);

    let pruned = store.prune(&keep, 20).unwrap();
    assert_eq!((pruned.removed, pruned.bytes), (vec![old], 10));
    let pruned = store.prune(&keep, 0).unwrap();
    assert_eq!(pruned.removed, [new]);
    assert!(store.has(&kept) && store.has(&leased), "what is kept or leased stays");
    drop(lease);
    assert_eq!(store.prune(&keep, 0).unwrap().removed, [leased]);
}

#[test]
fn what_a_killed_process_left_is_removed_at_the_next_start() {
    let home = TempDir::new().unwrap();
    let store = LayerStore::open(home.path()).unwrap();
    let left = store.tmp().join("layer-x/a/b");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("c"), "1").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o500)).unwrap();
    nest(&store.tmp(), 5_000);
    fs::write(home.path().join("layers/00ff.json"), "{}").unwrap();
    drop(store);
    let store = LayerStore::open(home.path()).unwrap();
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
    assert!(!home.path().join("layers/00ff.json").exists());
    assert!(is_root() || fs::metadata(home.path().join("layers")).unwrap().permissions().mode() & 0o077 == 0);
}
