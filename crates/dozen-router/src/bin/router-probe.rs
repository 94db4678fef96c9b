//! The router alone, for tests and measurements: started like `dozen router`, without the rest.
//!
//! Without arguments it waits for its sockets as any router does. `router-probe ADDRESS FOLDER
//! [HTTPS_ADDRESS]` binds them itself, one listener of a kind and so one thread, and keeps all it
//! writes in FOLDER: the route table it begins with is `FOLDER/state/table.json`, its certificates
//! `FOLDER/state/certificates.json`, its control socket `FOLDER/control`.

#![forbid(unsafe_code)]

use std::{error::Error, fs, os::unix::net::UnixListener, path::Path, process::ExitCode};

use dozen_router::{Limits, ListenerKind, RouterOptions, bind_listeners, router_main};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match words.as_slice() {
        [] => match RouterOptions::from_stdin() {
            Ok(options) => options,
            Err(_) => return Ok(ExitCode::from(2)),
        },
        [address, folder] => alone(address, Path::new(folder), None)?,
        [address, folder, https] => alone(address, Path::new(folder), Some(https))?,
        _ => return Err("expected nothing, or ADDRESS FOLDER [HTTPS_ADDRESS]".into()),
    };
    Ok(router_main(options))
}

fn alone(address: &str, folder: &Path, https: Option<&str>) -> Result<RouterOptions, Box<dyn Error>> {
    let mut listeners = bind_listeners(address.parse()?, ListenerKind::Plain, 1)?;
    if let Some(https) = https {
        listeners.extend(bind_listeners(https.parse()?, ListenerKind::Tls, 1)?);
    }
    let (state_dir, access_dir) = (folder.join("state"), folder.join("access"));
    fs::create_dir_all(&state_dir)?;
    fs::create_dir_all(&access_dir)?;
    Ok(RouterOptions {
        listeners,
        control: UnixListener::bind(folder.join("control"))?.into(),
        state_dir,
        access_dir,
        drop_to: None,
        trusted_proxies: Vec::new(),
        limits: Limits::default(),
    })
}
