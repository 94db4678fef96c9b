//! Build-secret files: `.netrc`, `pip.conf`, `.npmrc`, `uv.toml`, with which private packages are reached.
//!
//! A step with network sees copies that its user can read; they end with the build and are in no
//! layer. Their content is part of the key of packages, and what in them is a password is taken
//! out of log lines. Code that an install runs can read them: that is what they are given for.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{error::BuildError, step::Bind, steps::read_only};

/// The files that are known, and the variable that names each to the tool that reads it.
const VARIABLES: [(&str, &str); 4] = [
    (".netrc", "NETRC"),
    (".npmrc", "npm_config_userconfig"),
    ("pip.conf", "PIP_CONFIG_FILE"),
    ("uv.toml", "UV_CONFIG_FILE"),
];

/// Names of files that a build takes as secrets.
pub fn secret_file_names() -> impl Iterator<Item = &'static str> {
    VARIABLES.into_iter().map(|(name, _)| name)
}

/// Where the files are inside walls.
const INSIDE: &str = "/dozen/secrets";

/// The content of a build's secret files.
#[derive(Default)]
pub(crate) struct BuildSecrets(BTreeMap<String, Vec<u8>>);

impl BuildSecrets {
    pub(crate) fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, BuildError> {
        let read = |(name, path): (&String, &PathBuf)| {
            let doing = format!("read the build secret `{name}`");
            Ok((name.clone(), std::fs::read(path).map_err(BuildError::io(doing))?))
        };
        files.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Names and contents.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }

    /// A file's content as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|content| String::from_utf8_lossy(content).into_owned())
    }

    /// Writes the files to an empty `folder`, for its owner alone.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), BuildError> {
        for (name, content) in self.iter() {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(folder.join(name)).map_err(BuildError::io("copy a build secret"))?;
            file.write_all(content).map_err(BuildError::io("copy a build secret"))?;
        }
        Ok(())
    }

    /// Shows the files of `folder` to a step and names them to its tools.
    pub(crate) fn show(&self, folder: &Path, env: &mut BTreeMap<String, String>, binds: &mut Vec<Bind>) {
        for (name, variable) in VARIABLES.iter().filter(|(name, _)| self.0.contains_key(*name)) {
            let inside = format!("{INSIDE}/{name}");
            env.insert((*variable).to_owned(), inside.clone());
            binds.push(read_only(folder.join(name), inside));
        }
    }

    /// What in the files must not be in a log.
    pub(crate) fn words(&self) -> Vec<Vec<u8>> {
        self.iter().flat_map(|(_, content)| secret_words(&String::from_utf8_lossy(content))).collect()
    }
}

/// Words of a file or setting that are passwords or tokens: in a URL, after `password`, or the value
/// of a key that is called so.
pub(crate) fn secret_words(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=')
            && is_called_secret(key)
        {
            found.push(value.trim().trim_matches(['"', '\'']).as_bytes().to_vec());
        }
        let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || "\"'=,".contains(c)).collect();
        for word in &words {
            let Some((_, rest)) = word.split_once("://") else { continue };
            let Some((login, _)) = rest.split('/').next().and_then(|host| host.rsplit_once('@')) else {
                continue;
            };
            let secret = login.split_once(':').map_or(login, |(_, password)| password);
            found.push(secret.as_bytes().to_vec());
            found.push(percent_decoded(secret));
        }
    }
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word == "password"
            && let Some(password) = words.next()
        {
            found.push(password.as_bytes().to_vec());
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

/// Whether a name says that its value is a password.
pub(crate) fn is_called_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["password", "token", "secret", "_auth"].iter().any(|word| lower.contains(word))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (value, length) = hex.filter(|_| byte == b'%').map_or((byte, 1), |value| (value, 3));
        decoded.push(value);
        at += length;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_found_and_hosts_are_not() {
        for (text, words) in [
            ("machine i.example.org login me password s3cret-word\n", &["s3cret-word"][..]),
            ("machine i.example.org\n  login me\n  password s3cret-word\n", &["s3cret-word"]),
            (
                "//r.example.org/:_authToken=npm_abcdefgh\nregistry=https://r.example.org/\n",
                &["npm_abcdefgh"],
            ),
            (
                "[global]\nindex-url = https://me:p%40ssword@i.example.org/simple\n",
                &["p%40ssword", "p@ssword"],
            ),
            ("url = \"https://token-alone@i.example.org/simple\"", &["token-alone", "token-alone"]),
            ("https://i.example.org/a@b", &[]),
        ] {
            let found: Vec<String> =
                secret_words(text).into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
            assert_eq!(found, words, "{text}");
        }
    }
}
