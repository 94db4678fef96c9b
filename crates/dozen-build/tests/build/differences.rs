//! Two images of equal input are equal; where they are not, this names the layers and files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
};

use dozen_build::BuiltImage;
use dozen_model::image::LayerRole;

use crate::bench::{Bench, tree};

/// As many differing files of a layer are told.
const MOST_FILES: usize = 20;

/// Panics where the images are not the same, with each layer and file that differs and how.
#[track_caller]
pub(crate) fn assert_same(one: (&Bench, &BuiltImage), other: (&Bench, &BuiltImage)) {
    if one.1.digest != other.1.digest {
        panic!("two builds of equal input differ:\n{}", differences(one, other).join("\n"));
    }
}

/// What differs between two images, a line each.
fn differences(one: (&Bench, &BuiltImage), other: (&Bench, &BuiltImage)) -> Vec<String> {
    let mut found = Vec::new();
    let layers = |(_, built): (&Bench, &BuiltImage)| built.image.layers.clone();
    let (left, right) = (layers(one), layers(other));
    for (left, right) in left.iter().zip(&right).filter(|(left, right)| left.digest != right.digest) {
        let trees = [(one.0, left), (other.0, right)].map(|(bench, layer)| bench.store.path(&layer.digest));
        let [left_files, right_files] = trees.each_ref().map(|tree| entries(tree));
        let paths: BTreeSet<&String> = left_files.keys().chain(right_files.keys()).collect();
        let mut files = Vec::new();
        for path in paths {
            match (left_files.get(path), right_files.get(path)) {
                (Some(left), Some(right)) if left == right => {
                    files.extend(content_difference(&trees, path));
                }
                (left, right) => {
                    let told = |entry: Option<&String>| entry.map_or("not there", String::as_str).to_owned();
                    files.push(format!("{path}: {}, and {}", told(left), told(right)));
                }
            }
        }
        let more = files.len().saturating_sub(MOST_FILES);
        found.push(format!("layer {:?}: {} files differ", left.role, files.len()));
        found.extend(files.into_iter().take(MOST_FILES).map(|file| format!("  {file}")));
        found.extend((more > 0).then(|| format!("  and {more} more")));
    }
    if left.len() != right.len() {
        found.push(format!("{} layers, and {}", left.len(), right.len()));
    }
    if found.is_empty() {
        // Not a layer but what the manifest says of them.
        let manifest = |built: &BuiltImage| serde_json::to_string_pretty(&built.image).unwrap();
        let (left, right) = (manifest(one.1), manifest(other.1));
        let lines = left.lines().zip(right.lines()).filter(|(left, right)| left != right);
        found.extend(lines.map(|(left, right)| format!("manifest: {}, and {}", left.trim(), right.trim())));
    }
    found
}

/// Everything below a folder, by its path: its kind and mode, and where a link leads.
fn entries(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, facts) = (entry.path(), entry.metadata().unwrap());
            let link = fs::read_link(&path).map(|to| format!(" to {}", to.display())).unwrap_or_default();
            if facts.is_dir() {
                folders.push(path.clone());
            }
            let name = path.strip_prefix(tree).unwrap().display().to_string();
            found.insert(name, format!("mode {:o}, device {}{link}", facts.mode(), facts.rdev()));
        }
    }
    found
}

/// Where the contents of a file first differ, with what stands there.
fn content_difference(trees: &[std::path::PathBuf; 2], path: &str) -> Option<String> {
    let files = trees.each_ref().map(|tree| tree.join(path));
    if !fs::symlink_metadata(&files[0]).unwrap().is_file() {
        return None;
    }
    let [left, right] = files.map(|file| fs::read(file).unwrap());
    let at = left.iter().zip(&right).position(|(left, right)| left != right);
    if at.is_none() && left.len() == right.len() {
        return None;
    }
    let at = at.unwrap_or(left.len().min(right.len()));
    let around =
        |bytes: &[u8]| bytes[at.saturating_sub(16)..bytes.len().min(at + 32)].escape_ascii().to_string();
    Some(format!("{path}: at byte {at} `{}`, and `{}`", around(&left), around(&right)))
}

#[test]
fn what_differs_between_two_images_is_named_by_layer_and_file() {
    let bench = Bench::new();
    let built = |page: &str, more: &[(&str, &str)]| {
        let folder = tree(&[&[("index.html", "<p>"), ("about/us.html", page)], more].concat());
        let (result, _) = bench.build(folder.path());
        result.unwrap()
    };
    let first = built("Made in 2025.", &[]);
    let told = |other: &BuiltImage| differences((&bench, &first), (&bench, other));
    assert_eq!(told(&first), Vec::<String>::new());
    assert_eq!(first.image.layers[0].role, LayerRole::App);
    assert_eq!(
        told(&built("Made in 2026.", &[("run+x", "")])),
        [
            "layer App: 2 files differ",
            "  about/us.html: at byte 11 `Made in 2025.`, and `Made in 2026.`",
            "  run: not there, and mode 100555, device 0",
        ]
    );
}

#[test]
#[should_panic = "about/us.html: at byte 0 ``, and `x`"]
fn two_images_that_differ_are_a_failure() {
    let bench = Bench::new();
    let [one, other] = ["", "x"].map(|text| {
        let folder = tree(&[("index.html", "<p>"), ("about/us.html", text)]);
        bench.build(folder.path()).0.unwrap()
    });
    assert_same((&bench, &one), (&bench, &other));
}
