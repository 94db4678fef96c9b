//! The route table, as it follows from the store.
//!
//! A table is a pure function of the store and of the holds in memory, so a restarted control
//! gives the router the same one again. An instance is in it when its launch is `serving`;
//! whether it answers this very moment is the router's to find out.

use std::net::{Ipv4Addr, SocketAddr};

use dozen_model::{
    image::Image,
    names::Domain,
    route_table::{Endpoint, EndpointAddress, RouteTable, StageRoute, StaticSite, Target},
};

use crate::{
    control::Control,
    error::ControlError,
    store::{LaunchRow, LaunchState, Purpose, StageRow},
};

impl Control {
    /// Gives the router the table of this moment and waits until it routes by it.
    pub(crate) fn publish(&self) -> Result<(), ControlError> {
        self.router.publish(|generation| self.table(generation))
    }

    fn table(&self, generation: u64) -> Result<RouteTable, ControlError> {
        let stages = self.store.stages()?;
        let routes =
            stages.iter().filter(|stage| !stage.doomed).filter_map(|stage| self.route(stage).transpose());
        Ok(RouteTable {
            generation,
            bare_hosts: vec![self.options.domain.clone()],
            stages: routes.collect::<Result<_, _>>()?,
        })
    }

    fn route(&self, stage: &StageRow) -> Result<Option<StageRoute>, ControlError> {
        let Some(current) = stage.current else { return Ok(None) };
        let Some(release) = self.store.release(stage.key.id, current)? else { return Ok(None) };
        // A stage whose image is gone must not take the table of all others with it.
        let Ok(image) = self.image_of(&release) else { return Ok(None) };
        let target = match &image.static_root {
            Some(_) if stage.stopped => Target::Endpoints(Vec::new()),
            Some(root) => Target::Static(self.static_site(&image, root)),
            None => Target::Endpoints(self.endpoints(stage)?),
        };
        let own: Result<Domain, _> = self.automatic_host(&stage.key.app, &stage.key.stage).parse();
        let mut domains = self.store.domains(stage.key.id)?;
        domains.extend(own);
        let web = image.processes.keys().any(|process| process.is_web());
        let wanted =
            web && !stage.stopped && self.wanted(stage, &image, &dozen_model::names::ProcessType::web()) > 0;
        Ok(Some(StageRoute {
            app: stage.key.app.clone(),
            stage: stage.key.stage.clone(),
            release: Some(current),
            domains,
            target,
            waiting: wanted,
            hold: self.hold_of(stage.key.id),
            hold_limit: StageRoute::HOLD_LIMIT,
        }))
    }

    fn static_site(&self, image: &Image, root: &str) -> StaticSite {
        let app = image.layers.iter().filter(|layer| layer.mounts.is_empty());
        StaticSite {
            layers: app.map(|layer| self.layers.path(&layer.digest)).collect(),
            root: root.into(),
            not_found: None,
        }
    }

    fn endpoints(&self, stage: &StageRow) -> Result<Vec<Endpoint>, ControlError> {
        let launches = self.store.open_launches(stage.key.id)?;
        let serves = |launch: &&LaunchRow| {
            launch.state == LaunchState::Serving
                && launch.purpose == Purpose::Service
                && launch.name.process.is_web()
        };
        let endpoint = |launch: &LaunchRow| {
            Some(Endpoint {
                id: launch.id.clone(),
                instance: launch.name.clone(),
                release: launch.release,
                address: EndpointAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, launch.port?))),
            })
        };
        Ok(launches.iter().filter(serves).filter_map(endpoint).collect())
    }
}
