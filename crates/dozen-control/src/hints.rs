//! What the reader of a control plane's error can do next.
//!
//! Each part answers for its own errors and leaves the others to the next.

use dozen_model::hint::Hint;

use crate::{advice, error::ControlError, key_file};

impl Hint for ControlError {
    fn hint(&self) -> Option<String> {
        self.server_hint()
            .or_else(|| self.name_hint())
            .or_else(|| self.service_hint())
            .or_else(|| self.certificate_hint())
            .or_else(|| self.change_hint())
    }
}

/// What to do about an address that cannot be had.
fn listen_hint(why: std::io::ErrorKind) -> &'static str {
    match why {
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's: set DOZEN_LISTEN to an address with another port, such as \
             `127.0.0.1:1212`"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set DOZEN_LISTEN to one of its own, such as `127.0.0.1:1212`"
        }
        _ => "stop what listens there, or set DOZEN_LISTEN to another address, such as `127.0.0.1:1313`",
    }
}

impl ControlError {
    /// Of the server, its folders and its secrets.
    fn server_hint(&self) -> Option<String> {
        match self {
            _ if self.is_disk_full() => {
                Some("make room on the disk of DOZEN_HOME; `dozen doctor` says how much is free".into())
            }
            Self::HomeTaken { .. } => Some(
                "see `dozen server status`; another server needs another DOZEN_HOME and DOZEN_RUN".into(),
            ),
            Self::Listen { source, .. } => Some(listen_hint(source.kind()).into()),
            Self::NewerSchema { .. } => Some("run the newer dozen, or restore an older state.db".into()),
            Self::DamagedStore { path, .. } => Some(format!(
                "it was left as it is; move `{}` away and put a backup of it in its place, or what \
                 `sqlite3 FILE .recover` can still read",
                path.display()
            )),
            Self::LostStore { .. } => Some(
                "put a backup of it in its place, or set DOZEN_HOME to a new folder to begin anew".into(),
            ),
            Self::Key { path, fault } => Some(fault.hint(path)),
            Self::Sealed { .. } => Some(key_file::RIGHT_KEY.into()),
            _ => None,
        }
    }

    /// Of names that are unknown or taken.
    fn name_hint(&self) -> Option<String> {
        let meant = |nearest: &Option<String>| nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
        match self {
            Self::NoSuchApp { nearest, .. } => {
                meant(nearest).or(Some("see `dozen apps`, or make it with `dozen create`".into()))
            }
            Self::NoSuchStage { nearest, .. } => {
                meant(nearest).or(Some("`dozen up` with `--stage` makes a stage; see `dozen apps`".into()))
            }
            Self::DomainTaken { domain, owner } => {
                Some(format!("take it away there first: `dozen domains remove -a {owner} {domain}`"))
            }
            Self::ConfigTooLarge { .. } => {
                Some("keep what is large in the repository or in a backing service".into())
            }
            Self::NulInValue { .. } => {
                Some("encode it, for example as base64, and decode it in the app".into())
            }
            Self::AppTaken { app } => Some(format!(
                "choose another name, or add a Git remote for this one with `dozen create {app} --existing`"
            )),
            Self::Doomed { app } => Some(format!(
                "`dozen destroy {app} --confirm {app}` waits for its end; then the name is free"
            )),
            Self::NoSuchRelease { last: Some(last), .. } => {
                Some(format!("the last one is {last}; see `dozen releases`"))
            }
            Self::NoSuchRelease { .. } | Self::NoEarlierRelease { .. } => Some("see `dozen releases`".into()),
            Self::DomainReserved { .. } => {
                Some("choose a domain of your own; the names that dozen gives are in `dozen domains`".into())
            }
            Self::NoRelease { .. } => {
                Some("deploy it first: `dozen deploy`, or `git push dozen main`".into())
            }
            Self::NoSuchProcess { nearest, known, .. } => {
                meant(nearest).or_else(|| Some(format!("this release has: {}", known.join(", "))))
            }
            Self::NoSuchInstance { .. } => Some("see `dozen ps`".into()),
            Self::OfFormation { name } => Some(format!(
                "restart it with `dozen ps restart {name}`, or change the count with `dozen ps scale`"
            )),
            Self::PauseOver { .. } => Some("pause for longer: `dozen pause --wait --limit 2m`".into()),
            Self::NoSuchDeploy { .. } => Some("see `dozen builds`".into()),
            Self::NoSuchDomain { .. } => Some("see `dozen domains`".into()),
            Self::NotSet { nearest, .. } => meant(nearest).or(Some("see `dozen config`".into())),
            _ => None,
        }
    }

    /// Of certificates.
    fn certificate_hint(&self) -> Option<String> {
        match self {
            Self::Certificate(fault) => fault.hint(),
            Self::NoSuchCertificate { .. } => Some("see `dozen certs`".into()),
            Self::SeveralCertificates { .. } => Some("say which by its number: see `dozen certs`".into()),
            Self::LocalCertificate { .. } => Some(
                "one of your own for the same name takes its place: add it with `dozen certs add`".into(),
            ),
            Self::AutomaticCertificate { .. } => {
                Some("take the domain away with `dozen domains remove`, or set DOZEN_ACME to `off`".into())
            }
            Self::NotFromAcme { .. } => {
                Some("see `dozen certs`; your own are renewed with `dozen certs add`".into())
            }
            Self::NotPublic { .. } => {
                Some("bring a certificate of your own, also for a wildcard, with `dozen certs add`".into())
            }
            Self::DomainOfNobody { domain } => {
                Some(format!("give it to an app first: `dozen domains add {domain}`"))
            }
            Self::AcmeWaits { .. } => Some("it is tried again by itself then; see `dozen certs`".into()),
            Self::NoAuthority => {
                Some("set DOZEN_LISTEN_HTTPS for the server, such as `127.0.0.1:1443`".into())
            }
            _ => None,
        }
    }

    /// Of backing services and the config vars that they are bound to.
    fn service_hint(&self) -> Option<String> {
        let meant = |nearest: &Option<String>| nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
        match self {
            Self::NotAttached { .. } => Some("see what is attached with `dozen services`".into()),
            Self::ServiceTaken { name } => {
                Some(format!("choose another name, or attach it: `dozen services attach {name}`"))
            }
            Self::NoSuchService { nearest, .. } => {
                meant(nearest).or(Some("see `dozen services list`".into()))
            }
            Self::VarAttached { var, service, wanted } if wanted != service => Some(format!(
                "to swap the two in one release: `dozen services attach {wanted} --as {var} --replace`"
            )),
            Self::VarOfService { service, .. } => {
                Some(format!("run `dozen services detach {service}` first"))
            }
            Self::MountTaken { other, .. } => {
                Some(format!("run `dozen services detach {other}` first, or make one with another `--path`"))
            }
            Self::VarSet { var, service } => Some(format!(
                "name another one: `dozen services attach {service} --as NAME`, or first run \
                 `dozen config unset {var}`"
            )),
            _ => None,
        }
    }

    /// Of changes that a step refused.
    fn change_hint(&self) -> Option<String> {
        match self {
            Self::RequiredConfig { missing } => {
                let pairs: Vec<String> = missing.iter().map(|(name, _)| format!("{name}=…")).collect();
                Some(format!("set it with `dozen config set {}`, then deploy again", pairs.join(" ")))
            }
            Self::PhaseFailed { log_tail, .. } => advice::from_tail(log_tail).or_else(|| {
                Some("what ran before runs on; mend the `release:` process and deploy again".into())
            }),
            Self::PhaseTimeout { .. } => Some("raise `timeout` below `[release]` in dozen.toml".into()),
            Self::PhaseUnknown { .. } => Some("look at the database, then deploy again".into()),
            Self::NotReady { hint, log_tail, .. } => advice::from_tail(log_tail).or_else(|| hint.clone()),
            Self::Build { hint, .. } => hint.clone(),
            Self::UnknownKind { hint, .. } => Some(hint.clone()),
            Self::Service(error) => error.hint(),
            _ => None,
        }
    }
}
