//! What `ps`, `apps`, `releases` and `services` show, put together from the store, the
//! supervisor and the router. Nothing here changes anything.

use std::collections::BTreeMap;

use crate::{
    api::wire::{
        AppSummary, ConfigEntry, DeploySummary, DomainEntry, InstanceStatus, Outcome, Progress,
        ReleaseDetail, ReleaseSummary, ServerInfo, ServiceEntry, StageStatus, StageSummary,
    },
    control::Control,
    error::ControlError,
    launcher::{Loaded, launch_id},
    release_config::{Value, stage_vars, to_base64},
    seal::Secret,
    store::{
        DeployRow, DeployState, LaunchRow, LaunchState, Purpose, ReleaseRow, ServiceRow, StageKey, StageRow,
    },
};
use dozen_model::{names::ConfigVar, release::ReleaseNumber};

impl Control {
    /// About the server.
    pub fn server_info(&self) -> Result<ServerInfo, ControlError> {
        let stages = self.store.stages()?;
        let mut instances = 0;
        for stage in &stages {
            // Those of formations, not what drains or runs once.
            let open = self.store.open_launches(stage.key.id)?;
            let serves = |launch: &&LaunchRow| {
                launch.purpose == Purpose::Service && launch.state == LaunchState::Serving
            };
            instances += open.iter().filter(serves).count();
        }
        Ok(ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            router_pid: self.router.pid(),
            home: self.home.root().display().to_string(),
            listen: self.router.listen(),
            listen_https: self.router.listen_https(),
            domain: self.options.domain.clone(),
            started_at: self.started_at,
            root: self.as_root(),
            apps: self.store.apps()?.len() as u64,
            instances: instances as u64,
            refused: self.router.refused(),
        })
    }

    /// All apps with their stages.
    pub fn app_list(&self) -> Result<Vec<AppSummary>, ControlError> {
        let stages = self.store.stages()?;
        let apps = self.store.apps()?.into_iter().map(|app| {
            let own = stages.iter().filter(|stage| stage.key.app == app.name);
            let stages = own.map(|stage| self.stage_summary(stage)).collect::<Result<_, _>>()?;
            Ok(AppSummary { name: app.name, stages, created_at: app.created_at })
        });
        apps.collect()
    }

    fn stage_summary(&self, stage: &StageRow) -> Result<StageSummary, ControlError> {
        let release = match stage.current {
            Some(number) => self.store.release(stage.key.id, number)?,
            None => None,
        };
        let running = self.store.open_launches(stage.key.id)?;
        let running = running.iter().filter(|launch| is_up(self, launch)).count();
        Ok(StageSummary {
            name: stage.key.stage.clone(),
            release: stage.current,
            commit: release.as_ref().and_then(|row| row.commit.clone()),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            wanted: release.as_ref().map_or(0, |row| self.wanted_in_all(stage, row)),
            stopped: stage.stopped,
            urls: self.urls(&stage.key),
        })
    }

    fn wanted_in_all(&self, stage: &StageRow, release: &ReleaseRow) -> u32 {
        let image = self.image_of(release).ok().filter(|_| !stage.stopped);
        image.map_or(0, |image| {
            image.processes.keys().map(|process| self.wanted(stage, &image, process)).sum()
        })
    }

    /// `dozen ps`.
    pub fn stage_status(&self, stage: &StageRow) -> Result<StageStatus, ControlError> {
        let loaded = match stage.current {
            Some(number) => self.load(&stage.key, number).ok(),
            None => None,
        };
        let processes = loaded.as_ref().map(|loaded| loaded.image.processes.clone()).unwrap_or_default();
        let wanted = |loaded: &Loaded| {
            let keys = loaded.image.processes.keys();
            keys.map(|process| (process.clone(), self.wanted(stage, &loaded.image, process))).collect()
        };
        let launches = self.store.open_launches(stage.key.id)?;
        let loads =
            if launches.is_empty() { BTreeMap::new() } else { self.router.loads().unwrap_or_default() };
        let mut walls = Vec::new();
        let mut instances = Vec::new();
        for launch in &launches {
            if let Ok(state) = self.supervisor.status(&launch_id(launch))
                && walls.is_empty()
            {
                walls = state.reported.walls.clone();
            }
            let in_flight = launch
                .port
                .map(|_| loads.get(&launch.id).map_or(0, |load| (load.requests + load.upgraded) as u64));
            instances.push(self.instance_status(&stage.key, launch, in_flight));
        }
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(StageStatus {
            app: stage.key.app.clone(),
            stage: stage.key.stage.clone(),
            release: stage.current,
            stopped: stage.stopped,
            formation: loaded.as_ref().map(wanted).unwrap_or_default(),
            processes,
            instances,
            walls,
            traffic: self.traffic(&stage.key).ok(),
        })
    }

    fn instance_status(&self, key: &StageKey, launch: &LaunchRow, in_flight: Option<u64>) -> InstanceStatus {
        let id = launch_id(launch);
        let state = self.supervisor.status(&id).ok();
        let reported = state.as_ref().map(|state| &state.reported);
        let word = state.as_ref().map_or("lost", |state| state.word());
        let state_word = match launch.state {
            LaunchState::Draining if word == "up" => "draining",
            LaunchState::Starting if word == "up" && launch.purpose == Purpose::Service => "starting",
            _ => word,
        };
        let reason = state.as_ref().filter(|_| word != "up").and_then(|state| state.last_exit());
        InstanceStatus {
            name: launch.name.clone(),
            state: state_word.to_owned(),
            reason: reason.map(|reason| reason.to_string()),
            starts_again_at: state
                .as_ref()
                .and_then(|state| state.starts_again_at())
                .map(|at| at.div_ceil(1_000_000_000).cast_signed()),
            release: launch.release,
            started_at: reported
                .map_or(launch.created_at, |state| (state.started_at / 1_000_000_000).cast_signed()),
            restarts: reported.map_or(0, |state| state.restarts),
            memory: self.supervisor.memory(&id).map(|memory| memory.bytes),
            pid: reported.and_then(|state| state.main.as_ref()).map(|main| main.pid),
            endpoint: launch.port.map(|port| format!("127.0.0.1:{port}")),
            in_flight,
            command: launch
                .sealed_command
                .as_ref()
                .and_then(|_| Some(self.command_of(key, launch).ok()?.join(" "))),
            who: launch.who.clone(),
        }
    }

    /// `dozen releases`.
    pub fn release_list(&self, stage: &StageRow, limit: u32) -> Result<Vec<ReleaseSummary>, ControlError> {
        let rows = self.store.releases(stage.key.id, limit)?;
        Ok(rows.into_iter().map(|row| release_summary(stage, row)).collect())
    }

    /// `dozen releases info`.
    pub fn release_detail(
        &self,
        stage: &StageRow,
        number: ReleaseNumber,
    ) -> Result<ReleaseDetail, ControlError> {
        let number = self.release_or_current(stage, Some(number))?;
        let loaded = self.load(&stage.key, number)?;
        let image = &loaded.image;
        Ok(ReleaseDetail {
            config: loaded.config.vars.keys().map(ToString::to_string).collect(),
            attachments: loaded
                .config
                .bound
                .iter()
                .map(|one| (one.var.to_string(), one.name.clone()))
                .collect(),
            formation: loaded.row.formation.0.clone(),
            processes: image.processes.clone(),
            language: image.language,
            runtime: image.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version)),
            layers: image.layers.iter().map(|layer| (role_word(layer.role), layer.digest.clone())).collect(),
            summary: release_summary(stage, loaded.row),
        })
    }

    /// `dozen builds`.
    pub fn deploy_list(&self, stage: &StageRow, limit: u32) -> Result<Vec<DeploySummary>, ControlError> {
        Ok(self.store.deploys(stage.key.id, limit)?.into_iter().map(deploy_summary).collect())
    }

    /// How a deploy ended, as its last event says it.
    pub(crate) fn last_event(&self, stage: &StageRow, deploy: &DeployRow) -> Progress {
        let outcome = match deploy.state {
            DeployState::Succeeded => Outcome::Succeeded,
            DeployState::Cancelled => Outcome::Cancelled,
            DeployState::Superseded => Outcome::Superseded,
            DeployState::Queued | DeployState::Running | DeployState::Failed => Outcome::Failed,
        };
        let succeeded = outcome == Outcome::Succeeded;
        Progress::Finished {
            outcome,
            release: deploy.release.filter(|_| succeeded),
            urls: if succeeded { self.urls(&stage.key) } else { Vec::new() },
            error: deploy.error.clone(),
        }
    }

    /// `dozen config`.
    pub fn config_list(&self, stage: &StageRow, reveal: bool) -> Result<Vec<ConfigEntry>, ControlError> {
        let Some(number) = stage.current else { return self.config_to_be(stage, reveal) };
        let loaded = self.load(&stage.key, number)?;
        let declared = &loaded.manifest.config;
        let entry = |(name, value): (ConfigVar, Value)| ConfigEntry {
            description: declared.get(&name).and_then(|declaration| declaration.description.clone()),
            ..config_entry(name, &value, reveal)
        };
        Ok(loaded.config.vars.into_iter().map(entry).collect())
    }

    /// The config that is kept for the first release; the value of an attached service is made with it.
    fn config_to_be(&self, stage: &StageRow, reveal: bool) -> Result<Vec<ConfigEntry>, ControlError> {
        let vars = stage_vars(&self.key, &stage.key, &self.store.config(stage.key.id)?)?;
        let mut entries: BTreeMap<ConfigVar, ConfigEntry> = vars
            .into_iter()
            .map(|(name, value)| (name.clone(), config_entry(name, &value, reveal)))
            .collect();
        for row in self.store.attachments(stage.key.id)? {
            let origin = format!("service {}", self.service_name(&stage.key, row.service)?);
            let name = row.var.clone();
            entries.insert(row.var, ConfigEntry { name, origin, value: None, description: None });
        }
        Ok(entries.into_values().collect())
    }

    /// `dozen domains`.
    pub fn domain_list(&self, stage: &StageRow) -> Result<Vec<DomainEntry>, ControlError> {
        let own = self.automatic_host(&stage.key.app, &stage.key.stage);
        let domains = self.store.domains(stage.key.id)?;
        let others = domains.iter().map(|domain| (domain.to_string(), false));
        let entry = |(domain, automatic): (String, bool)| {
            let (url, certificate) = (self.url_of(&domain), self.certificate_of(&domain)?);
            Ok(DomainEntry { domain, automatic, url, certificate })
        };
        std::iter::once((own, true)).chain(others).map(entry).collect()
    }

    /// `dozen services`.
    pub fn service_list(&self, stage: &StageRow) -> Result<Vec<ServiceEntry>, ControlError> {
        let attachments = self.store.attachments(stage.key.id)?;
        let entry = |row: ServiceRow| ServiceEntry {
            attached: attachments
                .iter()
                .filter(|one| one.service == row.id)
                .map(|one| one.var.clone())
                .collect(),
            detail: self.service_detail(stage, &row),
            name: row.name,
            kind: row.kind,
            created_at: row.created_at,
            warnings: Vec::new(),
        };
        Ok(self.store.services(stage.key.id)?.into_iter().map(entry).collect())
    }

    /// What may be said of a service: never its URL.
    fn service_detail(&self, stage: &StageRow, row: &ServiceRow) -> String {
        if row.sealed_url.is_none() {
            return self.services_folder(stage.key.id).join(row.name.as_str()).display().to_string();
        }
        let opened = row.sealed_url.as_ref().and_then(|sealed| {
            let url = self.key.unseal(&stage.key.owner(Secret::ServiceUrl(&row.name)), sealed).ok()?;
            let url: dozen_services::ServiceUrl = String::from_utf8(url).ok()?.parse().ok()?;
            Some(format!("{} at {}", url.scheme(), url.place()))
        });
        opened.unwrap_or_else(|| "external".to_owned())
    }
}

fn is_up(control: &Control, launch: &LaunchRow) -> bool {
    launch.purpose == Purpose::Service
        && launch.state == LaunchState::Serving
        && control.supervisor.status(&launch_id(launch)).is_ok_and(|state| state.is_running())
}

fn config_entry(name: ConfigVar, value: &Value, reveal: bool) -> ConfigEntry {
    let origin = value.origin.clone();
    ConfigEntry { name, origin, value: reveal.then(|| to_base64(&value.bytes)), description: None }
}

fn release_summary(stage: &StageRow, row: ReleaseRow) -> ReleaseSummary {
    ReleaseSummary {
        current: stage.current == Some(row.number),
        number: row.number,
        change: row.change,
        state: row.state.as_str().to_owned(),
        who: row.who,
        created_at: row.created_at,
        commit: row.commit,
        image: row.image,
    }
}

/// One deploy in the API's words.
pub(crate) fn deploy_summary(row: DeployRow) -> DeploySummary {
    let took = row.started_ms.zip(row.ended_ms).map(|(start, end)| (end - start).max(0).unsigned_abs());
    DeploySummary {
        number: row.number,
        kind: row.kind.as_str().to_owned(),
        state: row.state.as_str().to_owned(),
        step: row.step,
        source: row.source,
        who: row.who,
        created_at: row.created_at,
        took_ms: took,
        release: row.release,
        image: row.image,
        error: row.error,
    }
}

fn role_word(role: dozen_model::image::LayerRole) -> String {
    use dozen_model::image::LayerRole;
    match role {
        LayerRole::Runtime => "runtime",
        LayerRole::App => "app",
        LayerRole::Dependencies => "dependencies",
        LayerRole::Assets => "assets",
    }
    .to_owned()
}
