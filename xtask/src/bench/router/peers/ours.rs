//! Our router alone, with one listener and so one thread, and a route table that lies ready.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::task::TaskError;

pub(in super::super) const OURS: Peer =
    Peer { name: "dozen", comes_from: ComesFrom::Us, version: &[], speaks_tls: true, set_up };

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let state = site.folder.join("state");
    fs::create_dir_all(&state)?;
    fs::write(state.join("table.json"), table(site))?;
    let mut command = proxy(program);
    command.arg(format!("127.0.0.1:{}", site.plain)).arg(&site.folder);
    if OURS.speaks_tls {
        fs::write(state.join("certificates.json"), certificates(site)?)?;
        command.arg(format!("127.0.0.1:{}", site.tls));
    }
    Ok(command)
}

/// The set of the one certificate.
fn certificates(site: &Site) -> Result<String, TaskError> {
    let text = |name| fs::read_to_string(site.certificates.join(name)).map(|text| text.replace('\n', "\\n"));
    let (chain, key) = (text("certificate.pem")?, text("key.pem")?);
    Ok(format!(
        r#"{{"generation":1,"certificates":[{{"names":["{HOST}"],"chain":"{chain}","key":"{key}"}}]}}"#
    ))
}

/// A route table in which each host is an app with one instance, in the clear and over TLS alike.
fn table(site: &Site) -> String {
    let mut text = String::from(r#"{"generation":1,"bare_hosts":["server.test"],"stages":["#);
    for number in 1..=site.hosts {
        let is_last = number == site.hosts;
        let (host, comma) = if is_last { (HOST.to_owned(), "") } else { (format!("a{number}.test"), ",") };
        // Writing to a string cannot go wrong.
        let _ = write!(
            text,
            r#"{{"app":"a{number}","stage":"production","release":1,"domains":["{host}"],"policy":{{"declared":{{"https":"off"}}}},"target":{{"endpoints":[{{"id":"a{number}-1","instance":"web.1","release":1,"address":{{"tcp":"127.0.0.1:{}"}}}}]}}}}{comma}"#,
            site.upstream,
        );
    }
    text.push_str("]}");
    text
}
