//! What was asked of `cargo xtask bench router`.

use std::path::PathBuf;

use super::{peers::PEERS, workload::WORKLOADS};
use crate::task::TaskError;

/// Arguments of the benchmark, with their defaults.
#[derive(Debug)]
pub(super) struct Options {
    /// Install what is missing.
    pub(super) install: bool,
    /// Names of workloads; all when empty.
    pub(super) only: Vec<String>,
    /// Names of peers.
    pub(super) peers: Vec<String>,
    pub(super) rounds: usize,
    pub(super) seconds: u32,
    /// Requests a second of the constant load.
    pub(super) rate: u32,
    /// Names and binaries to measure as ours, instead of this revision's.
    pub(super) ours: Vec<(String, PathBuf)>,
}

impl Options {
    pub(super) fn parse(words: &[&str]) -> Result<Self, TaskError> {
        let peers = PEERS.iter().map(|peer| peer.name.to_owned()).collect();
        let (only, ours) = (Vec::new(), Vec::new());
        let mut options = Self { install: false, only, peers, rounds: 5, seconds: 4, rate: 3000, ours };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--install" {
                options.install = true;
                continue;
            }
            let value = words.next().ok_or_else(|| TaskError::new(format!("`{word}` needs a value")))?;
            match *word {
                "--only" => options.only = known(value, WORKLOADS.iter().map(|workload| workload.name))?,
                "--peers" => options.peers = known(value, PEERS.iter().map(|peer| peer.name))?,
                "--rounds" => options.rounds = count(value)?,
                "--seconds" => options.seconds = count(value)?,
                "--rate" => options.rate = count(value)?,
                "--ours" => options.ours.push(named(value)?),
                _ => return Err(TaskError::new(format!("`{word}` is no option of `bench router`"))),
            }
        }
        Ok(options)
    }

    /// Whether every workload is run with every peer: only then its figures are worth keeping.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_empty() && self.peers.len() == PEERS.len() && self.ours.is_empty()
    }

    pub(super) fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == workload)
    }
}

/// A list of names with commas, each of which there is; `none` for an empty one.
fn known<'n>(list: &str, names: impl Iterator<Item = &'n str> + Clone) -> Result<Vec<String>, TaskError> {
    let wanted: Vec<String> =
        list.split(',').filter(|name| !matches!(*name, "" | "none")).map(str::to_owned).collect();
    match wanted.iter().find(|name| !names.clone().any(|known| known == **name)) {
        None => Ok(wanted),
        Some(name) => {
            let names = names.collect::<Vec<_>>().join(", ");
            Err(TaskError::new(format!("`{name}` is none of {names}")))
        }
    }
}

fn count<N: std::str::FromStr + PartialOrd + From<u8>>(value: &str) -> Result<N, TaskError> {
    let count = value.parse().ok().filter(|count| *count >= N::from(1));
    count.ok_or_else(|| TaskError::new(format!("`{value}` is no count")))
}

/// `NAME=PATH`, or a path whose file name is the name.
fn named(value: &str) -> Result<(String, PathBuf), TaskError> {
    let (name, path) = match value.split_once('=') {
        Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
        None => ("dozen".to_owned(), PathBuf::from(value)),
    };
    if path.is_file() {
        return Ok((name, path.canonicalize()?));
    }
    Err(TaskError::new(format!("there is no router at `{}`", path.display())))
}
